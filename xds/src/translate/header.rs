//! Header names and values as HTTP allows them (RFC 9110 §5.1, §5.5).

/// Why a header cannot be sent or matched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("{name:?} is not an HTTP header name: expected letters, digits and !#$%&'*+-.^_`|~ only")]
    Name { name: String },
    #[error("the value of header {name:?} is not an HTTP header value: it holds a control character or ends in blanks")]
    Value { name: String },
    #[error("header {name:?} belongs to the connection and cannot be set")]
    Connection { name: String },
}

/// Headers that frame the message or belong to one hop (RFC 9110 §7.6.1, RFC 9112 §6).
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A header name, in lower case.
pub(super) fn name(written: &str) -> Result<String, HeaderError> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if written.is_empty() || !written.bytes().all(token) {
        return Err(HeaderError::Name { name: written.to_owned() });
    }
    Ok(written.to_ascii_lowercase())
}

/// The name, in lower case, of a header that may be set to this value.
pub(super) fn to_set(written: &str, value: &str) -> Result<String, HeaderError> {
    let name = name(written)?;
    if OF_THE_CONNECTION.contains(&name.as_str()) {
        return Err(HeaderError::Connection { name });
    }
    let visible = |b: u8| b == b'\t' || (b >= b' ' && b != 0x7f);
    if !value.bytes().all(visible) || value.trim_matches([' ', '\t']) != value {
        return Err(HeaderError::Value { name });
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_in_lower_case() {
        assert_eq!(name("Knative-Serving-Tag").as_deref(), Ok("knative-serving-tag"));
        for bad in ["", "a b", "a:b", "a\n", "ä", "(a)"] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_cannot_split_a_request() {
        assert!(to_set("a", "b c\td").is_ok());
        assert!(to_set("a", "").is_ok());
        for bad in ["a\r\nb: c", "a\0", " a", "a ", "\u{7f}"] {
            assert!(matches!(to_set("a", bad), Err(HeaderError::Value { .. })), "{bad:?}");
        }
    }

    #[test]
    fn framing_cannot_be_set() {
        assert!(matches!(to_set("Transfer-Encoding", "chunked"), Err(HeaderError::Connection { .. })));
    }
}
