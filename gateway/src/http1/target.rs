//! The request target (RFC 9112 §3.2) and the authority that a request is for.

use super::fault::Fault;

/// A target, in the form in which it is forwarded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The authority of an absolute-form target.
    pub(super) authority: Option<&'a [u8]>,
    /// `/`, if what follows has no path of its own.
    pub(super) root: &'static [u8],
    /// The path and the query, or `*`.
    pub(super) rest: &'a [u8],
}

impl<'a> Target<'a> {
    /// Reads a target of any method but CONNECT. Bytes that no URI has but every browser sends (`"`, `<`, UTF-8) stay.
    pub(super) fn parse(target: &'a [u8], is_options: bool) -> Result<Self, Fault> {
        // A fragment never belongs to a request (RFC 9110 §4.2.5): one parser drops it, another forwards it.
        if target.contains(&b'#') {
            return Err(Fault::Target);
        }
        let origin = |rest| Self { authority: None, root: b"", rest };
        match target {
            [b'/', ..] => Ok(origin(target)),
            b"*" if is_options => Ok(origin(target)),
            _ => Self::parse_absolute(target, is_options),
        }
    }

    fn parse_absolute(target: &'a [u8], is_options: bool) -> Result<Self, Fault> {
        let after = |scheme: &[u8]| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        };
        let rest = after(b"http://").or_else(|| after(b"https://")).ok_or(Fault::Target)?;
        let (authority, rest) = rest.split_at(rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len()));
        let root: &[u8] = match rest {
            [b'/', ..] => b"",
            // RFC 9112 §3.2.4: the only way to ask a proxy for `*`.
            [] if is_options => b"*",
            _ => b"/",
        };
        Ok(Self { authority: Some(authority), root, rest })
    }
}

/// Returns `true` for what can be an authority (RFC 9110 §7.2) of a server: no list, no user, no path.
pub(super) fn is_authority(authority: &[u8]) -> bool {
    !authority.is_empty() && authority.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%*:[]".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(target: &str, is_options: bool) -> Option<(Option<String>, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let target = Target::parse(target.as_bytes(), is_options).ok()?;
        Some((target.authority.map(text), text(&[target.root, target.rest].concat())))
    }

    #[test]
    fn absolute_form_becomes_origin_form() {
        for (target, authority, path) in [
            ("/a?b", None, "/a?b"),
            ("//a/../%2f;x=1", None, "//a/../%2f;x=1"),
            ("/a?\"<>`{}|\\^", None, "/a?\"<>`{}|\\^"),
            ("http://a.test/b", Some("a.test"), "/b"),
            ("HTTP://a.test:80", Some("a.test:80"), "/"),
            ("https://a.test?q=1", Some("a.test"), "/?q=1"),
        ] {
            let expected = (authority.map(str::to_owned), path.to_owned());
            assert_eq!(parsed(target, false), Some(expected), "{target}");
        }
    }

    #[test]
    fn what_has_no_form_of_a_target_is_refused() {
        for target in ["a", "other.test:80", "*x", "*", "", "?a", "ftp://a.test/", "http:/a", "/a#b", "http://a.test/#"]
        {
            assert_eq!(parsed(target, false), None, "{target}");
        }
    }

    #[test]
    fn only_options_asks_for_the_server_as_a_whole() {
        assert_eq!(parsed("*", true), Some((None, "*".to_owned())));
        assert_eq!(parsed("http://a.test", true), Some((Some("a.test".to_owned()), "*".to_owned())));
        assert_eq!(parsed("*x", true), None);
    }

    #[test]
    fn an_authority_is_one_host_with_or_without_a_port() {
        for (authority, is_valid) in [
            ("shop.test", true),
            ("shop_1.test:8443", true),
            ("[::1]:80", true),
            ("", false),
            ("shop test", false),
            ("shop.test, shop.test", false),
            ("me@shop.test", false),
            ("shop.test/x", false),
            ("caf\u{e9}.test", false),
        ] {
            assert_eq!(is_authority(authority.as_bytes()), is_valid, "{authority}");
        }
    }
}
