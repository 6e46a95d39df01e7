//! Names that a certificate answers for, apart from it: a connection keeps them for longer than the cache may keep the
//! certificate.

use std::sync::Arc;

use crate::details::Details;
use crate::sni::suffix;

/// Bytes of names that are kept. A certificate with more is one of hundreds of names.
const MAX_BYTES: usize = 4096;

/// DNS names of a certificate. A clone shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoveredNames {
    /// One in each line.
    names: Option<Arc<str>>,
    /// There are more of them.
    has_more: bool,
}

impl CoveredNames {
    /// The first names of a certificate, up to 4 KiB of them.
    pub(crate) fn of(details: &Details) -> Self {
        let mut bytes = 0;
        let fits = |name: &&String| {
            bytes += name.len() + 1;
            bytes <= MAX_BYTES
        };
        let kept = details.names.iter().take_while(fits).count();
        let names = details.names[..kept].iter().map(String::as_str).collect();
        Self { has_more: kept < details.names.len(), ..names }
    }

    /// Returns `true` if `server_name` is surely not covered: a certificate may have more names than are kept.
    pub(crate) fn exclude(&self, server_name: &str) -> bool {
        !self.has_more && !self.cover(server_name)
    }

    /// Returns `true` if one of the names answers for `server_name` (lower case, no trailing dot).
    pub fn cover(&self, server_name: &str) -> bool {
        self.names.iter().flat_map(|names| names.lines()).any(|name| covers(name, server_name))
    }

    /// Bytes that the names take.
    pub(crate) fn bytes(&self) -> usize {
        self.names.as_ref().map_or(0, |names| names.len() + 2 * size_of::<usize>())
    }
}

/// Names as they are written in a certificate, for those who connect without one.
impl<'a> FromIterator<&'a str> for CoveredNames {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let text: String = names.into_iter().flat_map(|name| [name, "\n"]).collect();
        Self { names: (!text.is_empty()).then(|| text.into()), has_more: false }
    }
}

/// Returns `true` if a name of a certificate answers for `server_name`. A wildcard stands for one label.
pub(crate) fn covers(name: &str, server_name: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(rest) => suffix(server_name).is_some_and(|suffix| suffix.eq_ignore_ascii_case(rest)),
        None => name.eq_ignore_ascii_case(server_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_covered_by_itself_or_by_a_wildcard_for_one_label() {
        let names: CoveredNames = ["Shop.test", "*.eu.shop.test"].into_iter().collect();
        for (name, covered) in
            [("shop.test", true), ("a.eu.shop.test", true), ("eu.shop.test", false), ("a.b.eu.shop.test", false)]
        {
            assert_eq!(names.cover(name), covered, "{name}");
        }
        assert!(!CoveredNames::default().cover(""));
    }
}
