//! The host of a request: as tables know it, without port, upper case and trailing dot.

use std::borrow::Cow;

/// Longest host that is looked up (RFC 1035 §2.3.4 allows 253 characters without the trailing dot).
const MAX_HOST: usize = 253;

/// Folds the authority of a request to the form in which tables keep hosts; allocates only for upper case.
///
/// The port and one trailing dot are dropped, an IPv6 literal keeps its brackets. `None` for what cannot be a host:
/// empty, too long, a port that is no number, or characters that RFC 3986 §3.2.2 does not allow in a name.
pub fn fold(authority: &str) -> Option<Cow<'_, str>> {
    let host = without_port(authority)?;
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() || host.len() > MAX_HOST || !is_host(host) {
        return None;
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(Cow::Owned(host.to_ascii_lowercase()));
    }
    Some(Cow::Borrowed(host))
}

/// The authority without its port; `None` if what follows the colon is no port.
pub fn without_port(authority: &str) -> Option<&str> {
    let (host, rest) = if authority.starts_with('[') {
        authority.split_at(authority.find(']')? + 1)
    } else {
        authority.split_at(authority.find(':').unwrap_or(authority.len()))
    };
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some(host),
        Some(port) if port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) => Some(host),
        _ => None,
    }
}

fn is_host(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    }
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_loses_port_case_and_trailing_dot() {
        for (authority, host) in [
            ("shop.test", "shop.test"),
            ("shop.test:8080", "shop.test"),
            ("shop.test:", "shop.test"),
            ("Shop.TEST.", "shop.test"),
            ("Shop.test.:443", "shop.test"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[2001:DB8::1]:443", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(fold(authority).as_deref(), Some(host), "{authority}");
        }
    }

    #[test]
    fn what_cannot_be_a_host_is_none() {
        let long = "a".repeat(254);
        for authority in [
            "", ".", ":80", "a, b", "a b", "user@a", "a:b", "a:80:80", "a:123456", "[::1", "[x]", "[::1]x", "a/b",
            &long,
        ] {
            assert_eq!(fold(authority), None, "{authority}");
        }
    }

    #[test]
    fn a_lower_case_host_is_not_copied() {
        assert!(matches!(fold("shop.test:80"), Some(Cow::Borrowed("shop.test"))));
    }
}
