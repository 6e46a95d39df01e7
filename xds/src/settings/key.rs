//! The keys of each map, and what they set.

use super::unsupported::{self, Unsupported};
use super::value::{same, switch, time};
use super::{Effect, Which};

/// What a key does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    /// It sets something of ours, after its value has been written in our way.
    Sets(&'static str, fn(&str) -> Result<String, String>),
    /// One of the two keys that name a Secret.
    DefaultCertificate,
    /// It is known, and does nothing yet.
    NotYet,
    /// It changes who may reach a service, and is not implemented.
    Unsupported(&'static Unsupported),
    /// It sets something that is used before the maps are read.
    TooLate,
    /// It is not meant for us: an example, or what Knative itself reads.
    Foreign,
    Unknown,
}

/// The setting that Kourier's keys for a default certificate set together.
pub(super) const DEFAULT_CERTIFICATE: &str = "default-certificate";

/// The name and the namespace of Kourier's default certificate.
pub(super) const CERTIFICATE_KEYS: [&str; 2] = ["certs-secret-name", "certs-secret-namespace"];

/// Kourier's keys (`pkg/reconciler/ingress/config/kourier.go`) that set what Postern has.
const KOURIER: [(&str, Meaning); 7] = [
    (CERTIFICATE_KEYS[0], Meaning::DefaultCertificate),
    (CERTIFICATE_KEYS[1], Meaning::DefaultCertificate),
    ("enable-proxy-protocol", Meaning::Sets("proxy-protocol", switch)),
    ("enable-service-access-logging", Meaning::Sets("access-log", switch)),
    ("stream-idle-timeout", Meaning::Sets("stream-idle-timeout", time)),
    ("trusted-hops-count", Meaning::Sets("trusted-hops-count", same)),
    ("use-remote-address", Meaning::Sets("use-remote-address", switch)),
];

/// Kourier's other keys that change nothing about who may reach a service; those about external authorization only with
/// `extauthz-host`.
const KOURIER_NOT_YET: [&str; 14] = [
    "disable-envoy-server-header",
    "enable-cryptomb",
    "extauthz-failure-mode-allow",
    "extauthz-max-request-body-bytes",
    "extauthz-pack-as-byte",
    "extauthz-pack-as-bytes",
    "extauthz-path-prefix",
    "extauthz-protocol",
    "extauthz-timeout",
    "service-access-log-template",
    "tracing-endpoint",
    "tracing-protocol",
    "tracing-sampling-rate",
    "tracing-service-name",
];

/// The settings that Kourier's keys set.
pub fn kourier_settings() -> impl Iterator<Item = &'static str> {
    KOURIER.iter().map(|(_, meaning)| match meaning {
        Meaning::Sets(setting, _) => setting,
        _ => DEFAULT_CERTIFICATE,
    })
}

/// What a key of a map does, given what can be set.
pub(super) fn find(which: Which, name: &str, settings: &[(&'static str, Effect)]) -> Meaning {
    if name.starts_with('_') {
        return Meaning::Foreign;
    }
    if let Some(unsupported) = unsupported::find(which, name) {
        return Meaning::Unsupported(unsupported);
    }
    match which {
        Which::Postern => match settings.iter().find(|(setting, _)| *setting == name) {
            Some((_, Effect::Never)) => Meaning::TooLate,
            Some((setting, Effect::Now | Effect::NextStart)) => Meaning::Sets(setting, same),
            None => Meaning::Unknown,
        },
        Which::Kourier if KOURIER_NOT_YET.contains(&name) => Meaning::NotYet,
        Which::Kourier => {
            KOURIER.iter().find(|(key, _)| *key == name).map_or(Meaning::Unknown, |(_, meaning)| *meaning)
        }
        // The rest of it reaches a gateway through KIngress.
        Which::Network => Meaning::Foreign,
    }
}

/// The keys of a map that set something.
pub(super) fn names(
    which: Option<Which>,
    settings: &[(&'static str, Effect)],
) -> Box<dyn Iterator<Item = &'static str>> {
    match which {
        Some(Which::Postern) => {
            let mut names: Vec<_> =
                settings.iter().filter(|(_, effect)| *effect != Effect::Never).map(|(name, _)| *name).collect();
            names.sort_unstable();
            Box::new(names.into_iter())
        }
        Some(Which::Kourier) => Box::new(KOURIER.iter().map(|(key, _)| *key)),
        Some(Which::Network) | None => Box::new(std::iter::empty()),
    }
}
