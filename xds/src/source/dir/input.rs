//! Text to values: YAML, JSON, or an item of a list, through one function that says where an error is.

use serde::de::DeserializeOwned;
use serde_saphyr::{Error as YamlError, MessageFormatter, UserMessageFormatter};

/// The most that one document may make the YAML parser hold, in nodes. A list of ten thousand Ingresses has about as
/// many as this; the parser's own limits keep aliases from multiplying them.
const MAX_NODES: usize = 1_000_000;

/// The most events of aliased nodes that are played back in one document. Manifests hardly use aliases.
const MAX_REPLAYED_EVENTS: usize = 100_000;

/// How far a document may be larger when read than when written, through aliases.
const SCALAR_GROWTH: usize = 4;

/// The longest message that is kept, in characters.
const MAX_MESSAGE: usize = 300;

/// Something that an object can be read from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input<'a> {
    /// A document of a YAML file.
    Yaml(&'a str),
    /// A JSON file.
    Json(&'a str),
    /// An item of a list.
    Value(&'a serde_json::Value),
}

/// Why a value could not be read.
#[derive(Clone, Debug)]
pub(super) struct ParseError {
    /// The field, where one can be named.
    pub(super) field: Option<String>,
    /// Line within the input and column, counted from 1.
    pub(super) position: Option<(u32, u32)>,
    /// What is wrong.
    pub(super) message: String,
    /// The message can repeat what stands in the document.
    pub(super) quotes_content: bool,
}

impl Input<'_> {
    /// Reads a value.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        match self {
            Self::Yaml(text) => parse_yaml(text, yaml_options(text.len())),
            Self::Json(text) => parse_json(text),
            Self::Value(value) => serde_path_to_error::deserialize(*value).map_err(|error| ParseError {
                field: field(error.path()),
                position: None,
                message: printable(&error.inner().to_string()),
                quotes_content: true,
            }),
        }
    }

    /// Reads something with values whose types are not known yet. A plain `y` or `no` is a text in it, as it is where
    /// a text is expected, and not the truth value of YAML 1.1.
    pub(super) fn parse_untyped<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        match self {
            Self::Yaml(text) => {
                let mut options = yaml_options(text.len());
                options.strict_booleans = true;
                parse_yaml(text, options)
            }
            Self::Json(_) | Self::Value(_) => self.parse(),
        }
    }
}

/// Paths of fields are followed in a second pass, only when there is an error to report: they cost about as much as
/// the parsing.
fn parse_yaml<T: DeserializeOwned>(text: &str, options: serde_saphyr::Options) -> Result<T, ParseError> {
    if let Ok(value) = serde_saphyr::from_str_with_options(text, options.clone()) {
        return Ok(value);
    }
    let mut path = None;
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            path = field(error.path());
            error.into_inner()
        })
    });
    parsed.map_err(|error| yaml_error(&error, path))
}

fn yaml_options(length: usize) -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_documents: 1,
            max_inclusion_depth: 0,
            max_total_scalar_bytes: length.saturating_mul(SCALAR_GROWTH),
            max_recorded_anchor_bytes: length.saturating_mul(SCALAR_GROWTH),
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED_EVENTS },
        with_snippet: false,
        emit_comments: false,
    }
}

fn yaml_error(error: &YamlError, field: Option<String>) -> ParseError {
    let error = error.without_snippet();
    let at_most = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    ParseError {
        position: error.location().map(|at| (at_most(at.line()), at_most(at.column()))),
        message: printable(&UserMessageFormatter.format_message(error)),
        quotes_content: !matches!(
            error,
            YamlError::ExternalMessage { .. } | YamlError::Eof { .. } | YamlError::Budget { .. }
        ),
        field,
    }
}

fn parse_json<T: DeserializeOwned>(text: &str) -> Result<T, ParseError> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| (field(error.path()), error.into_inner()))
        .and_then(|value| json.end().map(|()| value).map_err(|error| (None, error)));
    parsed.map_err(|(field, error)| {
        let at_most = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let position = (error.line() > 0).then(|| (at_most(error.line()), at_most(error.column())));
        let suffix = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        ParseError {
            field,
            position,
            quotes_content: error.is_data(),
            message: printable(message.strip_suffix(&suffix).unwrap_or(&message)),
        }
    })
}

/// The path of a field as text; `None` at the top.
fn field(path: &serde_path_to_error::Path) -> Option<String> {
    path.iter().next().is_some().then(|| path.to_string())
}

impl ParseError {
    /// An error that is not the parser's.
    pub(super) fn new(field: Option<String>, message: impl std::fmt::Display) -> Self {
        Self { field, position: None, message: printable(&message.to_string()), quotes_content: false }
    }
}

impl ParseError {
    /// The error without words that may come from the document.
    pub(super) fn without_content(self) -> Self {
        if self.quotes_content {
            let message = "has the wrong shape".to_owned();
            Self { message, quotes_content: false, ..self }
        } else {
            self
        }
    }

    /// The error of something that stands in the field `outer`.
    pub(super) fn within(mut self, outer: &str) -> Self {
        self.field = Some(self.field.map_or_else(|| outer.to_owned(), |field| format!("{outer}.{field}")));
        self
    }
}

/// A parser may repeat what it found, of any length and with control characters.
fn printable(message: &str) -> String {
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text: String = message.chars().take(MAX_MESSAGE).map(safe).collect();
    if message.chars().nth(MAX_MESSAGE).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_wrong_type_is_reported_with_its_field_and_place() {
        let text = "apiVersion: v1\nkind: Service\nspec:\n  ports:\n    - port: abc\n";
        let error = Input::Yaml(text).parse::<Service>().unwrap_err();
        assert_eq!(error.field.as_deref(), Some("spec.ports[0].port"));
        assert_eq!(error.position, Some((5, 13)));

        let json = r#"{"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": "abc"}]}}"#;
        let error = Input::Json(json).parse::<Service>().unwrap_err();
        assert_eq!(error.field.as_deref(), Some("spec.ports[0].port"));
        assert_eq!(error.position.map(|at| at.0), Some(1));
        assert!(!error.message.contains("line"), "{error:?}");

        let value: Value = serde_json::from_str(json).unwrap();
        let error = Input::Value(&value).parse::<Service>().unwrap_err();
        assert_eq!(error.field.as_deref(), Some("spec.ports[0].port"));
    }

    #[test]
    fn a_syntax_error_is_reported_with_its_place() {
        let error = Input::Yaml("a: 1\nb: [1,\nc: }\n").parse::<Value>().unwrap_err();
        assert!(error.position.is_some() && !error.quotes_content, "{error:?}");
        let error = Input::Json("{\"a\": 1,\n \"b\": }").parse::<Value>().unwrap_err();
        assert_eq!(error.position.map(|at| at.0), Some(2));
    }

    #[test]
    fn aliases_that_multiply_are_refused() {
        let mut bomb = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for n in 1..12 {
            let list = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb += &["a", &n.to_string(), ": &a", &n.to_string(), " [", &list, "]\n"].concat();
        }
        assert!(Input::Yaml(&bomb).parse::<Value>().is_err());
    }

    #[test]
    fn one_long_text_cannot_be_multiplied_by_aliases() {
        let mut bomb = format!("a: &a {}\nb:\n", "x".repeat(100_000));
        (0..1000).for_each(|_| bomb.push_str("- *a\n"));
        assert!(Input::Yaml(&bomb).parse::<Value>().is_err());
    }

    #[test]
    fn texts_that_look_like_other_types_stay_texts() {
        let text = "metadata:\n  name: a\n  annotations: {a: no, b: 1.10}\n";
        let service: Service = Input::Yaml(text).parse().unwrap();
        let annotations = service.metadata.annotations.unwrap();
        assert_eq!(annotations["a"], "no");
        assert_eq!(annotations["b"], "1.10");
    }
}
