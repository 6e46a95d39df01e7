//! Host names as users write them, folded to the form that tables are keyed by.

use crate::resource::HostPattern;

/// Why a text is not a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostError {
    #[error("host {host:?} has a port; write the name alone, a host is served on every port")]
    Port { host: String },
    #[error("host {host:?} is not ASCII; write it in its xn-- form")]
    NotAscii { host: String },
    #[error("host {host:?} has a `*` that is not its whole first label; write `*.example.com`")]
    Wildcard { host: String },
    #[error(
        "host {host:?} is not a DNS name: labels are 1 to 63 letters, digits, `-` or `_`, without `-` at their begin or end, \
         253 characters in all"
    )]
    Name { host: String },
}

/// Longest DNS name in text form (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Folds a host, which may be `*` or start with `*.`: lower case, no trailing dot.
pub(super) fn fold(written: &str) -> Result<String, HostError> {
    if written == HostPattern::ANY {
        return Ok(written.to_owned());
    }
    let host = written.strip_suffix('.').unwrap_or(written);
    let name = host.strip_prefix("*.").unwrap_or(host);
    let named = || written.chars().take(MAX_NAME + 1).collect::<String>();
    if !name.is_ascii() {
        return Err(HostError::NotAscii { host: named() });
    }
    if name.contains('*') {
        return Err(HostError::Wildcard { host: named() });
    }
    if name.contains(':') {
        return Err(HostError::Port { host: named() });
    }
    if host.len() > MAX_NAME || !name.split('.').all(is_label) {
        return Err(HostError::Name { host: named() });
    }
    Ok(host.to_ascii_lowercase())
}

/// Ends of the hosts that a service has within the cluster.
pub(super) const LOCAL_ENDS: [&str; 3] = ["", ".svc", ".svc.cluster.local"];

/// What hosts have in common that differ only by these ends.
pub(super) fn family(host: &str) -> &str {
    LOCAL_ENDS.iter().rev().find_map(|end| host.strip_suffix(end)).unwrap_or(host)
}

/// True for a name that Kubernetes gives to objects and namespaces: what may stand in a cluster's name.
pub(super) fn is_object_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_folded() {
        for (written, folded) in [
            ("shop.test", "shop.test"),
            ("Shop.TEST.", "shop.test"),
            ("*.Shop.test", "*.shop.test"),
            ("*", "*"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("a_b.test", "a_b.test"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(fold(written).as_deref(), Ok(folded));
        }
    }

    #[test]
    fn hosts_within_the_cluster_are_of_one_family() {
        for host in ["hello.shop", "hello.shop.svc", "hello.shop.svc.cluster.local"] {
            assert_eq!(family(host), "hello.shop");
        }
        assert_eq!(family("hello.shop.example.com"), "hello.shop.example.com");
    }

    #[test]
    fn what_is_no_host_is_named_with_what_would_be_right() {
        let long = format!("{}.test", "a".repeat(64));
        let longer = ["a"; 128].join(".");
        for (written, says) in [
            ("shop.test:443", "has a port"),
            ("bücher.example", "xn--"),
            ("a.*.test", "first label"),
            ("*a.test", "first label"),
            ("*.", "first label"),
            ("", "not a DNS name"),
            ("a..b", "not a DNS name"),
            ("-a.test", "without `-` at their begin or end"),
            ("a-.test", "without `-` at their begin or end"),
            ("a b.test", "not a DNS name"),
            ("http://shop.test", "has a port"),
            (&long, "not a DNS name"),
            (&longer, "not a DNS name"),
        ] {
            let error = fold(written).unwrap_err().to_string();
            assert!(error.contains(says), "{written}: {error}");
        }
    }
}
