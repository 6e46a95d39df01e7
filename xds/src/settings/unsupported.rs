//! Keys of Kourier's and Knative's that change who may reach a service and are not implemented.
//!
//! Such a key is a fault while it is set to something. Where passing it over would open what was closed, nothing is
//! served until it is gone or accepted: a gateway that takes Kourier's place must not drop its authorization in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Which;

/// A key that is not implemented.
#[derive(Debug)]
pub(super) struct Unsupported {
    /// Name in the map, and for `accept-unsupported`.
    pub(super) key: &'static str,
    /// Environment variable of Kourier that sets the same.
    variable: Option<&'static str>,
    /// Returns `true` for a value that asks for nothing.
    is_off: fn(&str) -> bool,
    /// Consequence of passing it over.
    pub(super) lost: &'static str,
    /// Nothing is served while it is set.
    pub(super) withholds: bool,
}

/// Keys that are set, by where they are.
pub(super) type Set = BTreeMap<Place, Vec<&'static Unsupported>>;

/// Place where a key is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Map(Which),
    Environment,
}

const UNENCRYPTED: &str = "TLS to endpoints is not implemented, and requests would be sent to them in clear";

/// Keys of config-kourier (`pkg/reconciler/ingress/config/kourier.go`).
const KOURIER: [Unsupported; 4] = [
    Unsupported {
        variable: Some("KOURIER_EXTAUTHZ_HOST"),
        ..withholding("extauthz-host", is_empty, "requests would be served without asking the authorization server")
    },
    reported("cipher-suites", is_empty, "rustls' cipher suites are offered; min-tls-version limits them"),
    reported("cluster-cert-secret", is_empty, "cluster-local hosts without a certificate of their own get none"),
    reported("listen-ip-addresses", is_unspecified, "listeners use the addresses of the setting listen"),
];

/// Keys of config-network (knative.dev/networking `pkg/config`); the last two are what it was called before.
const NETWORK: [Unsupported; 3] = [
    withholding("system-internal-tls", is_disabled, UNENCRYPTED),
    withholding("dataplane-trust", is_disabled, UNENCRYPTED),
    withholding("internal-encryption", is_disabled, UNENCRYPTED),
];

/// Environment variables of Kourier's controller without a key in a map here.
const VARIABLES: [Unsupported; 1] = [Unsupported {
    variable: Some("CERTS_SECRET_NAME"),
    ..reported("certs-secret-name", is_empty, "expected the setting default-certificate instead")
}];

const fn reported(key: &'static str, is_off: fn(&str) -> bool, lost: &'static str) -> Unsupported {
    Unsupported { key, variable: None, is_off, lost, withholds: false }
}

const fn withholding(key: &'static str, is_off: fn(&str) -> bool, lost: &'static str) -> Unsupported {
    Unsupported { withholds: true, ..reported(key, is_off, lost) }
}

/// The names that `accept-unsupported` takes.
pub fn unsupported_keys() -> impl Iterator<Item = &'static str> {
    all().map(|unsupported| unsupported.key)
}

/// Keys that were not implemented once: whoever accepted that goes on being understood.
const IMPLEMENTED_SINCE: [&str; 2] = ["trusted-hops-count", "use-remote-address"];

/// Returns `true` for a key that `accept-unsupported` took once, and that is implemented by now.
pub fn was_unsupported(key: &str) -> bool {
    IMPLEMENTED_SINCE.contains(&key)
}

/// The key of a map, if it is not implemented.
pub(super) fn find(which: Which, name: &str) -> Option<&'static Unsupported> {
    let keys: &[Unsupported] = match which {
        Which::Postern => &[],
        Which::Kourier => &KOURIER,
        Which::Network => &NETWORK,
    };
    keys.iter().find(|unsupported| unsupported.key == name)
}

/// The environment variables that are set.
pub(super) fn variables(lookup: impl Fn(&str) -> Option<String>) -> Vec<&'static Unsupported> {
    let is_set = |unsupported: &&Unsupported| {
        let value = unsupported.variable.and_then(&lookup);
        value.is_some_and(|value| unsupported.is_set_by(&value))
    };
    all().filter(is_set).collect()
}

fn all() -> impl Iterator<Item = &'static Unsupported> {
    KOURIER.iter().chain(&NETWORK).chain(&VARIABLES)
}

impl Unsupported {
    /// Returns `true` if this value asks for something.
    pub(super) fn is_set_by(&self, value: &str) -> bool {
        !(self.is_off)(value.trim())
    }

    /// Name of the key as its author has written it.
    pub(super) fn name_at(&self, place: Place) -> &'static str {
        match place {
            Place::Map(_) => self.key,
            Place::Environment => self.variable.unwrap_or(self.key),
        }
    }

    /// The message of its fault.
    pub(super) fn message(&self, accepted: &BTreeSet<String>) -> String {
        let Self { key, lost, .. } = self;
        if accepted.contains(*key) {
            format!("is not implemented: {lost}; accept-unsupported names it")
        } else if self.withholds {
            format!("is not implemented: {lost}; nothing is served until it is gone or accept-unsupported names {key}")
        } else {
            format!("is not implemented: {lost}; expected no such key, or accept-unsupported to name {key}")
        }
    }
}

fn is_empty(value: &str) -> bool {
    value.is_empty()
}

/// What Go's `strconv.ParseBool` takes for false, and nothing.
fn is_false(value: &str) -> bool {
    matches!(value, "" | "0" | "f" | "F" | "false" | "FALSE" | "False")
}

fn is_disabled(value: &str) -> bool {
    is_false(value) || value.eq_ignore_ascii_case("disabled")
}

/// Listens everywhere, as is Kourier's default.
fn is_unspecified(value: &str) -> bool {
    value.is_empty() || value.split(',').all(|ip| ip.trim().parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_asks_for_nothing_sets_nothing() {
        let is_set = |which, key, value| find(which, key).is_some_and(|found| found.is_set_by(value));
        for (which, key, off, on) in [
            (Which::Kourier, "extauthz-host", vec!["", " "], vec!["authz:50051"]),
            (Which::Kourier, "cipher-suites", vec![""], vec!["ECDHE-RSA-AES128-GCM-SHA256"]),
            (Which::Kourier, "listen-ip-addresses", vec!["0.0.0.0", "0.0.0.0, ::"], vec!["10.0.0.1", "::1", "x"]),
            (
                Which::Network,
                "system-internal-tls",
                vec!["Disabled", "disabled", ""],
                vec!["Enabled", "enabled", "odd"],
            ),
            (Which::Network, "internal-encryption", vec!["false"], vec!["true"]),
            (Which::Network, "dataplane-trust", vec!["disabled"], vec!["minimal"]),
        ] {
            assert!(off.iter().all(|value| !is_set(which, key, value)), "{key}: {off:?}");
            assert!(on.iter().all(|value| is_set(which, key, value)), "{key}: {on:?}");
        }
    }

    #[test]
    fn a_key_that_is_implemented_by_now_sets_something_and_is_still_a_name_to_accept() {
        for key in IMPLEMENTED_SINCE {
            assert!(find(Which::Kourier, key).is_none() && unsupported_keys().all(|other| other != key), "{key}");
        }
        assert!(was_unsupported("use-remote-address") && !was_unsupported("extauthz-host"));
    }

    #[test]
    fn variables_are_named_as_they_are_written() {
        let found = variables(|name| (name == "KOURIER_EXTAUTHZ_HOST").then(|| "authz:50051".to_owned()));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name_at(Place::Environment), "KOURIER_EXTAUTHZ_HOST");
        assert!(found[0].withholds);
    }
}
