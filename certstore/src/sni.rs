//! Server names that certificates are offered for.

use std::fmt;
use std::sync::Arc;

/// The longest name DNS allows, in the text form without a trailing dot (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
/// The longest label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A name, or a one-label wildcard, that a certificate is offered for.
///
/// Always lower case and without a trailing dot. A wildcard stands for exactly one label (RFC 6125 §6.4.3), so
/// `*.shop.test` covers `eu.shop.test` but neither `shop.test` nor `a.eu.shop.test`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SniPattern {
    /// The name, or what follows `*.`.
    name: Arc<str>,
    wildcard: bool,
}

/// Why a text is no [`SniPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SniError {
    /// Empty, or longer than DNS allows.
    #[error("server name {name:?}: has {length} characters, 1 to {MAX_NAME} are possible")]
    Length {
        /// The beginning of the text.
        name: String,
        /// Its length.
        length: usize,
    },
    /// A label is empty, too long, or has a character that no host name has.
    #[error(
        "server name {name:?}: label {label:?} is none of 1 to {MAX_LABEL} letters, digits, '-' and '_' that neither begins nor ends with '-'"
    )]
    Label {
        /// The text.
        name: String,
        /// The label.
        label: String,
    },
    /// `*` stands anywhere but alone in the first of three or more labels.
    #[error("server name {name:?}: '*' may only be the whole first label, with at least two labels after it")]
    Wildcard {
        /// The text.
        name: String,
    },
    /// An IP address: clients do not send these as a server name (RFC 6066 §3).
    #[error("server name {name:?}: is an IP address, only host names are sent as SNI")]
    Address {
        /// The text.
        name: String,
    },
}

impl SniPattern {
    /// True for `*.suffix`.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Does a certificate for this pattern answer for `server_name` (lower case, no trailing dot)?
    pub fn matches(&self, server_name: &str) -> bool {
        if self.wildcard { suffix(server_name) == Some(&self.name) } else { *self.name == *server_name }
    }

    /// The exact name, or what follows `*.`.
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.name
    }

    /// The pattern of such a key.
    pub(crate) fn from_key(key: &Arc<str>, wildcard: bool) -> Self {
        Self { name: Arc::clone(key), wildcard }
    }

    /// As [`key`](Self::key), without a copy.
    pub(crate) fn into_key(self) -> Arc<str> {
        self.name
    }
}

/// What follows the first label, if a first label is there.
pub(crate) fn suffix(server_name: &str) -> Option<&str> {
    match server_name.split_once('.') {
        Some((label, suffix)) if !label.is_empty() => Some(suffix),
        _ => None,
    }
}

impl fmt::Display for SniPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.name)
    }
}

impl TryFrom<&str> for SniPattern {
    type Error = SniError;

    fn try_from(text: &str) -> Result<Self, SniError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        check_length(name)?;
        let (name, wildcard) = match name.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (name, false),
        };
        if wildcard && !name.contains('.') || name.contains('*') {
            return Err(SniError::Wildcard { name: text.to_owned() });
        }
        check_labels(name)?;
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name.to_ascii_lowercase().into()
        } else {
            name.into()
        };
        Ok(Self { name, wildcard })
    }
}

impl TryFrom<Arc<str>> for SniPattern {
    type Error = SniError;

    /// Keeps the allocation of an exact name that is lower case already.
    fn try_from(text: Arc<str>) -> Result<Self, SniError> {
        let pattern = Self::try_from(&*text)?;
        if *pattern.name == *text { Ok(Self { name: text, ..pattern }) } else { Ok(pattern) }
    }
}

impl std::str::FromStr for SniPattern {
    type Err = SniError;

    fn from_str(text: &str) -> Result<Self, SniError> {
        Self::try_from(text)
    }
}

fn check_length(name: &str) -> Result<(), SniError> {
    if name.is_empty() || name.len() > MAX_NAME {
        let beginning = name.chars().take(MAX_LABEL).collect();
        return Err(SniError::Length { name: beginning, length: name.len() });
    }
    Ok(())
}

fn check_labels(name: &str) -> Result<(), SniError> {
    for label in name.split('.') {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let sound = (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-');
        if !sound {
            return Err(SniError::Label { name: name.to_owned(), label: label.to_owned() });
        }
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Err(SniError::Address { name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_lower_case_and_has_no_trailing_dot() {
        for (text, shown) in
            [("Shop.Test", "shop.test"), ("shop.test.", "shop.test"), ("*.EU.shop.test", "*.eu.shop.test")]
        {
            assert_eq!(SniPattern::try_from(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let pattern = SniPattern::try_from("*.shop.test").unwrap();
        for (name, covered) in
            [("eu.shop.test", true), ("shop.test", false), ("a.eu.shop.test", false), (".shop.test", false)]
        {
            assert_eq!(pattern.matches(name), covered, "{name}");
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        let long = "a.".repeat(128);
        for text in [
            "",
            ".",
            "a..b",
            "-a.test",
            "a-.test",
            "a b.test",
            "ä.test",
            "*",
            "*.test",
            "a.*.test",
            "w*.shop.test",
            &long,
        ] {
            assert!(SniPattern::try_from(text).is_err(), "{text:?} was accepted");
        }
        assert!(matches!(SniPattern::try_from("10.0.0.1"), Err(SniError::Address { .. })));
    }

    #[test]
    fn a_shared_text_that_is_in_order_is_not_copied() {
        let text: Arc<str> = "shop.test".into();
        let pattern = SniPattern::try_from(Arc::clone(&text)).unwrap();
        assert!(Arc::ptr_eq(&text, pattern.key()));
    }
}
