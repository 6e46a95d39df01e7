//! The keys of each map, and what they set.

use std::sync::Arc;

use super::value::{duration, secret_ref, size, switch};
use super::{Settings, Which};
use crate::object::ObjectRef;

/// A key of a map.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
}

/// What a key does.
#[derive(Debug)]
pub(super) enum Meaning {
    Sets(Setting),
    /// It is known, and does nothing yet while the gateway runs.
    NotYet,
}

/// What a key sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    CertCache,
    LogLevel,
    AccessLog,
    StreamIdleTimeout,
    EndpointWait,
    DefaultCertificate,
    DefaultCertificateName,
    DefaultCertificateNamespace,
    InternalCertificate,
}

const fn sets(name: &'static str, setting: Setting) -> Key {
    Key { name, meaning: Meaning::Sets(setting) }
}

const fn not_yet(name: &'static str) -> Key {
    Key { name, meaning: Meaning::NotYet }
}

/// Named as the gateway's flags. Those without effect here take a restart, and are set by flag or file.
const POSTERN: &[Key] = &[
    sets("access-log", Setting::AccessLog),
    sets("cert-cache", Setting::CertCache),
    sets("default-certificate", Setting::DefaultCertificate),
    sets("endpoint-wait", Setting::EndpointWait),
    sets("log-level", Setting::LogLevel),
    sets("stream-idle-timeout", Setting::StreamIdleTimeout),
    not_yet("cert-loads"),
    not_yet("drain-delay"),
    not_yet("drain-timeout"),
    not_yet("handshake-timeout"),
    not_yet("header-timeout"),
    not_yet("ingress-controller"),
    not_yet("keepalive-timeout"),
    not_yet("kingress-class"),
    not_yet("listen"),
    not_yet("log-format"),
    not_yet("max-connections"),
    not_yet("max-connections-per-client"),
    not_yet("min-tls-version"),
    not_yet("proxy-protocol"),
    not_yet("shared-secret-namespaces"),
    not_yet("source"),
    not_yet("threads"),
    not_yet("trusted-proxies"),
];

/// As net-kourier reads them (`pkg/reconciler/ingress/config/kourier.go`).
const KOURIER: &[Key] = &[
    sets("certs-secret-name", Setting::DefaultCertificateName),
    sets("certs-secret-namespace", Setting::DefaultCertificateNamespace),
    sets("cluster-cert-secret", Setting::InternalCertificate),
    sets("enable-service-access-logging", Setting::AccessLog),
    sets("stream-idle-timeout", Setting::StreamIdleTimeout),
    not_yet("cipher-suites"),
    not_yet("disable-envoy-server-header"),
    not_yet("enable-cryptomb"),
    not_yet("enable-proxy-protocol"),
    not_yet("extauthz-failure-mode-allow"),
    not_yet("extauthz-host"),
    not_yet("extauthz-max-request-body-bytes"),
    not_yet("extauthz-pack-as-byte"),
    not_yet("extauthz-pack-as-bytes"),
    not_yet("extauthz-path-prefix"),
    not_yet("extauthz-protocol"),
    not_yet("extauthz-timeout"),
    not_yet("listen-ip-addresses"),
    not_yet("service-access-log-template"),
    not_yet("tracing-endpoint"),
    not_yet("tracing-protocol"),
    not_yet("tracing-sampling-rate"),
    not_yet("tracing-service-name"),
    not_yet("trusted-hops-count"),
    not_yet("use-remote-address"),
];

/// The rest of it reaches a gateway through KIngress.
const NETWORK: &[Key] = &[not_yet("internal-encryption"), not_yet("system-internal-tls")];

/// The key of this name.
pub(super) fn find(which: Which, name: &str) -> Option<&'static Key> {
    keys(which).iter().find(|key| key.name == name)
}

/// The names of all keys that set something.
pub(super) fn names(which: Which) -> impl Iterator<Item = &'static str> {
    keys(which).iter().filter(|key| matches!(key.meaning, Meaning::Sets(_))).map(|key| key.name)
}

/// Keys that are not meant for us: examples, and what Knative itself reads.
pub(super) fn is_foreign(which: Which, name: &str) -> bool {
    which == Which::Network || name.starts_with('_')
}

fn keys(which: Which) -> &'static [Key] {
    match which {
        Which::Postern => POSTERN,
        Which::Kourier => KOURIER,
        Which::Network => NETWORK,
    }
}

/// Settings on their way, with what takes two keys.
#[derive(Debug, Default)]
pub(super) struct Draft {
    settings: Settings,
    certificate_name: Option<Arc<str>>,
    certificate_namespace: Option<Arc<str>>,
    internal_name: Option<Arc<str>>,
}

/// Sets one thing. Kourier's own texts for nothing (an empty name) set nothing.
pub(super) fn set(draft: &mut Draft, setting: Setting, text: &str) -> Result<(), String> {
    let name = || (!text.is_empty()).then(|| text.into());
    let settings = &mut draft.settings;
    match setting {
        Setting::CertCache => settings.cert_cache = Some(size(text)?),
        Setting::LogLevel => settings.log_level = Some(text.to_owned()),
        Setting::AccessLog => settings.access_log = Some(switch(text)?),
        Setting::StreamIdleTimeout => settings.stream_idle_timeout = Some(duration(text)?),
        Setting::EndpointWait => settings.endpoint_wait = Some(duration(text)?),
        Setting::DefaultCertificate => settings.default_certificate = Some(secret_ref(text)?),
        Setting::DefaultCertificateName => draft.certificate_name = name(),
        Setting::DefaultCertificateNamespace => draft.certificate_namespace = name(),
        Setting::InternalCertificate => draft.internal_name = name(),
    }
    Ok(())
}

impl Draft {
    /// The settings, when all keys have been read. Kourier looks for its internal certificate in its own namespace.
    pub(super) fn settle(self, kourier_namespace: &Arc<str>) -> Settings {
        let kourier = self.certificate_namespace.zip(self.certificate_name);
        let kourier = kourier.map(|(namespace, name)| ObjectRef { namespace, name });
        let internal = self.internal_name.map(|name| ObjectRef { namespace: Arc::clone(kourier_namespace), name });
        let default_certificate = self.settings.default_certificate.or(kourier);
        Settings { default_certificate, internal_certificate: internal, ..self.settings }
    }
}
