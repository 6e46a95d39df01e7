//! Annotations of ingress-nginx, none of which is implemented: what is lost with each.
//!
//! Names are those of ingress-nginx's `annotations-risk.md`, and older ones. Whatever limits who may reach a service is
//! refused, and so is what would send requests elsewhere than meant: such an Ingress is not served. A value that asks for
//! what Postern does anyway is honoured.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::Ingress;

use super::problem::Problems;

mod survey;

pub use survey::{Finding, Survey};

/// Prefix of the annotations.
const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// Effect that an annotation has here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// The Ingress is not served.
    Refused,
    /// The Ingress is served, and behaves differently.
    Differs,
    /// It changes nothing that a client or an endpoint relies on.
    WithoutEffect,
    /// Postern does the same.
    Honoured,
}

impl Reading {
    /// The words for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "not served",
            Self::Differs => "changes behaviour",
            Self::WithoutEffect => "without effect here",
            Self::Honoured => "honoured",
        }
    }
}

/// An annotation: its name, how its value is read, and what is lost without it.
type Entry = (&'static str, fn(&str) -> Reading, &'static str);

const RATE: &str = "requests are not limited";
const REDIRECTS: &str = "requests are forwarded instead of redirected";
const TLS_TO_ENDPOINTS: &str = "TLS to endpoints is not implemented, and nothing is sent to them in clear";
const SNIPPET: &str = "nginx directives are not read";
const TIMES: &str = "time limits towards endpoints are the gateway's settings";
const BUFFERS: &str = "bodies are passed on as they come, within max-buffered";
const COMPANION: &str = "it only details another annotation";
const TELEMETRY: &str = "logs and metrics are the gateway's own";
const NOT_KNOWN: &str = "it is not known here";
const FIREWALL: &str = "there is no web application firewall";
const ADDRESSES: &str = "addresses of clients are not limited";
const AUTHENTICATION: &str = "clients are not authenticated";

#[rustfmt::skip]
const ENTRIES: &[Entry] = &[
    ("affinity", differs, "requests of a session go to any endpoint"),
    ("affinity-canary-behavior", idle, COMPANION),
    ("affinity-mode", idle, COMPANION),
    ("allowlist-source-range", allowlist, ADDRESSES),
    ("app-root", differs, "`/` is forwarded instead of redirected"),
    ("backend-protocol", backend_protocol, TLS_TO_ENDPOINTS),
    ("canary", canary, "without weights, it would take the place of the Ingress that it is a canary of"),
    ("canary-by-cookie", idle, COMPANION),
    ("canary-by-header", idle, COMPANION),
    ("canary-by-header-pattern", idle, COMPANION),
    ("canary-by-header-value", idle, COMPANION),
    ("canary-weight", idle, COMPANION),
    ("canary-weight-total", idle, COMPANION),
    ("client-body-buffer-size", idle, BUFFERS),
    ("configuration-snippet", snippet, SNIPPET),
    ("connection-proxy-header", idle, "connections to endpoints are kept as the gateway decides"),
    ("cors-allow-credentials", idle, COMPANION),
    ("cors-allow-headers", idle, COMPANION),
    ("cors-allow-methods", idle, COMPANION),
    ("cors-allow-origin", idle, COMPANION),
    ("cors-expose-headers", idle, COMPANION),
    ("cors-max-age", idle, COMPANION),
    ("custom-headers", differs, "responses get no additional headers"),
    ("custom-http-errors", differs, "responses of endpoints are passed on as they are"),
    ("default-backend", differs, "a Service without endpoints is answered with 503"),
    ("denylist-source-range", refused, ADDRESSES),
    ("disable-proxy-intercept-errors", idle, COMPANION),
    ("enable-access-log", idle, TELEMETRY),
    ("enable-cors", switch, "responses get no CORS headers"),
    ("enable-global-auth", global_auth, AUTHENTICATION),
    ("enable-influxdb", idle, TELEMETRY),
    ("enable-modsecurity", firewall, FIREWALL),
    ("enable-opentelemetry", idle, TELEMETRY),
    ("enable-opentracing", idle, TELEMETRY),
    ("enable-owasp-core-rules", firewall, FIREWALL),
    ("enable-rewrite-log", idle, TELEMETRY),
    ("fastcgi-index", differs, "FastCGI is not spoken"),
    ("fastcgi-params-configmap", differs, "FastCGI is not spoken"),
    ("force-ssl-redirect", switch, "plain HTTP is not redirected to HTTPS"),
    ("from-to-www-redirect", switch, REDIRECTS),
    ("global-rate-limit", differs, RATE),
    ("global-rate-limit-ignored-cidrs", idle, COMPANION),
    ("global-rate-limit-key", idle, COMPANION),
    ("global-rate-limit-window", idle, COMPANION),
    ("grpc-backend", differs, "expected appProtocol kubernetes.io/h2c on the port of the Service"),
    ("http2-push-preload", idle, "there is no server push"),
    ("limit-allowlist", idle, COMPANION),
    ("limit-burst-multiplier", idle, COMPANION),
    ("limit-connections", differs, RATE),
    ("limit-rate", differs, RATE),
    ("limit-rate-after", idle, COMPANION),
    ("limit-rpm", differs, RATE),
    ("limit-rps", differs, RATE),
    ("limit-whitelist", idle, COMPANION),
    ("load-balance", idle, "of two random endpoints, the one with fewer requests is taken"),
    ("mirror-host", idle, COMPANION),
    ("mirror-request-body", idle, COMPANION),
    ("mirror-target", differs, "requests are not mirrored"),
    ("modsecurity-snippet", refused, FIREWALL),
    ("modsecurity-transaction-id", idle, COMPANION),
    ("opentelemetry-operation-name", idle, TELEMETRY),
    ("opentelemetry-trust-incoming-span", idle, TELEMETRY),
    ("permanent-redirect", differs, REDIRECTS),
    ("permanent-redirect-code", idle, COMPANION),
    ("preserve-trailing-slash", idle, COMPANION),
    ("proxy-body-size", body_size, "bodies of any size are forwarded"),
    ("proxy-buffer-size", idle, BUFFERS),
    ("proxy-buffering", unbuffered, BUFFERS),
    ("proxy-buffers-number", idle, BUFFERS),
    ("proxy-busy-buffers-size", idle, BUFFERS),
    ("proxy-connect-timeout", idle, TIMES),
    ("proxy-cookie-domain", rewriting, "cookies are passed on as they are"),
    ("proxy-cookie-path", rewriting, "cookies are passed on as they are"),
    ("proxy-http-version", http_version, "HTTP/1.1 is spoken to endpoints"),
    ("proxy-max-temp-file-size", idle, BUFFERS),
    ("proxy-next-upstream", idle, "an idempotent request is repeated if its connection breaks"),
    ("proxy-next-upstream-timeout", idle, COMPANION),
    ("proxy-next-upstream-tries", idle, COMPANION),
    ("proxy-read-timeout", idle, TIMES),
    ("proxy-redirect-from", rewriting, "Location of a response is passed on as it is"),
    ("proxy-redirect-to", idle, COMPANION),
    ("proxy-request-buffering", unbuffered, BUFFERS),
    ("proxy-send-timeout", idle, TIMES),
    ("proxy-ssl-ciphers", idle, COMPANION),
    ("proxy-ssl-name", idle, COMPANION),
    ("proxy-ssl-protocols", idle, COMPANION),
    ("proxy-ssl-secret", idle, COMPANION),
    ("proxy-ssl-server-name", idle, COMPANION),
    ("proxy-ssl-verify", idle, COMPANION),
    ("proxy-ssl-verify-depth", idle, COMPANION),
    ("relative-redirects", idle, COMPANION),
    ("rewrite-target", differs, "the path is forwarded as the client sent it"),
    ("satisfy", idle, COMPANION),
    ("secure-backends", tls_to_endpoints, TLS_TO_ENDPOINTS),
    ("server-alias", differs, "only the hosts of the rules are served"),
    ("server-snippet", snippet, SNIPPET),
    ("service-upstream", idle, "requests go to endpoints"),
    ("session-cookie-change-on-failure", idle, COMPANION),
    ("session-cookie-conditional-samesite-none", idle, COMPANION),
    ("session-cookie-domain", idle, COMPANION),
    ("session-cookie-expires", idle, COMPANION),
    ("session-cookie-max-age", idle, COMPANION),
    ("session-cookie-name", idle, COMPANION),
    ("session-cookie-partitioned", idle, COMPANION),
    ("session-cookie-path", idle, COMPANION),
    ("session-cookie-samesite", idle, COMPANION),
    ("session-cookie-secure", idle, COMPANION),
    ("ssl-ciphers", differs, "rustls' cipher suites are offered"),
    ("ssl-passthrough", passthrough, "TLS ends here and not at the endpoint"),
    ("ssl-prefer-server-ciphers", idle, COMPANION),
    ("ssl-redirect", switch, "plain HTTP is not redirected to HTTPS"),
    ("stream-snippet", snippet, SNIPPET),
    ("temporal-redirect", differs, REDIRECTS),
    ("temporal-redirect-code", idle, COMPANION),
    ("upstream-hash-by", differs, "requests of one key go to any endpoint"),
    ("upstream-hash-by-subset", idle, COMPANION),
    ("upstream-hash-by-subset-size", idle, COMPANION),
    ("upstream-vhost", differs, "the Host is forwarded as the client sent it"),
    ("use-port-in-redirects", idle, COMPANION),
    ("use-regex", switch, "paths are compared as text"),
    ("whitelist-source-range", allowlist, ADDRESSES),
    ("x-forwarded-prefix", differs, "endpoints get no X-Forwarded-Prefix"),
];

/// Reads an annotation by its name without [`PREFIX`]: its effect here, and what is lost without it.
fn read(name: &str, value: &str) -> (Reading, &'static str) {
    if name.starts_with("auth-") {
        return (authentication(name, value.trim()), AUTHENTICATION);
    }
    match ENTRIES.iter().find(|(known, ..)| *known == name) {
        Some((_, reading, lost)) => (reading(value.trim()), lost),
        None => (Reading::Differs, NOT_KNOWN),
    }
}

/// Says what the annotations of an Ingress come to here. `is_taken_over`: it was ingress-nginx's, whose defaults its
/// author relies on.
pub(super) fn check(ingress: &Ingress, is_taken_over: bool, problems: &mut Problems) {
    let annotations = ingress.metadata.annotations.iter().flatten();
    for (annotation, value) in annotations {
        let Some(name) = annotation.strip_prefix(PREFIX) else { continue };
        let field = format_args!("metadata.annotations[{annotation}]");
        match read(name, value) {
            (Reading::Refused, lost) => {
                let message = format_args!("is not honoured: {lost}; this Ingress is not served while it has it");
                problems.withdraw(field, message);
            }
            (Reading::Differs, lost) => problems.warn(field, format_args!("is not honoured: {lost}")),
            (Reading::WithoutEffect | Reading::Honoured, _) => {}
        }
    }
    if is_taken_over && is_redirected_by_default(ingress) {
        let message = "ingress-nginx redirects plain HTTP of hosts with TLS to HTTPS by default; here both are served";
        problems.warn("spec.tls", message);
    }
}

/// Returns `true` if ingress-nginx redirects to HTTPS without being told to.
fn is_redirected_by_default(ingress: &Ingress) -> bool {
    let annotation = format!("{PREFIX}ssl-redirect");
    let is_said = ingress.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(&annotation));
    let has_tls = ingress.spec.as_ref().is_some_and(|spec| spec.tls.iter().flatten().next().is_some());
    has_tls && !is_said
}

fn is_false(value: &str) -> bool {
    value.is_empty() || value.eq_ignore_ascii_case("false")
}

fn unless(is_same: bool, otherwise: Reading) -> Reading {
    if is_same { Reading::Honoured } else { otherwise }
}

fn refused(_: &str) -> Reading {
    Reading::Refused
}

fn differs(_: &str) -> Reading {
    Reading::Differs
}

fn idle(_: &str) -> Reading {
    Reading::WithoutEffect
}

fn switch(value: &str) -> Reading {
    unless(is_false(value), Reading::Differs)
}

fn firewall(value: &str) -> Reading {
    unless(is_false(value), Reading::Refused)
}

fn canary(value: &str) -> Reading {
    unless(is_false(value), Reading::Refused)
}

fn passthrough(value: &str) -> Reading {
    unless(is_false(value), Reading::Refused)
}

fn tls_to_endpoints(value: &str) -> Reading {
    unless(is_false(value), Reading::Refused)
}

/// A global authentication is configured elsewhere; `false` opts out of it.
fn global_auth(value: &str) -> Reading {
    unless(is_false(value), Reading::Refused)
}

/// Every annotation of this kind: in doubt, its author wanted clients to be authenticated.
fn authentication(name: &str, value: &str) -> Reading {
    let is_off = match name {
        "auth-tls-verify-client" => value == "off",
        "auth-tls-pass-certificate-to-upstream" | "auth-always-set-cookie" | "auth-keepalive-share-vars" => {
            is_false(value)
        }
        _ => false,
    };
    unless(is_off || value.is_empty(), Reading::Refused)
}

fn backend_protocol(value: &str) -> Reading {
    match value.to_ascii_uppercase().as_str() {
        "" | "HTTP" => Reading::Honoured,
        "HTTPS" | "GRPCS" => Reading::Refused,
        _ => Reading::Differs,
    }
}

/// An allow-list with everybody in it limits nobody.
fn allowlist(value: &str) -> Reading {
    let is_everybody = |range: &str| {
        let (address, length) = range.split_once('/')?;
        Some(length == "0" && address.parse::<IpAddr>().ok()?.is_ipv4())
    };
    unless(value.split(',').any(|range| is_everybody(range.trim()) == Some(true)), Reading::Refused)
}

fn body_size(value: &str) -> Reading {
    unless(value == "0", Reading::Differs)
}

fn unbuffered(value: &str) -> Reading {
    unless(value == "off", Reading::WithoutEffect)
}

fn rewriting(value: &str) -> Reading {
    unless(matches!(value, "" | "off"), Reading::Differs)
}

fn http_version(value: &str) -> Reading {
    unless(value == "1.1", Reading::Differs)
}

/// Directives that decide who gets an answer, at the beginning of their names.
const ACCESS: [&str; 10] = [
    "access_by_lua",
    "allow",
    "auth_",
    "deny",
    "internal",
    "limit_except",
    "modsecurity",
    "satisfy",
    "secure_link",
    "ssl_verify",
];

/// A snippet that may keep somebody out is refused.
fn snippet(value: &str) -> Reading {
    let words =
        || value.split(|c: char| c.is_whitespace() || matches!(c, ';' | '{' | '}')).filter(|word| !word.is_empty());
    let denies = words().zip(words().skip(1)).any(|(word, next)| word == "return" && next.starts_with('4'));
    let limits = words().any(|word| ACCESS.iter().any(|directive| word.starts_with(directive)));
    if denies || limits { Reading::Refused } else { Reading::Differs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_each_once() {
        assert!(ENTRIES.is_sorted_by(|(a, ..), (b, ..)| a < b));
    }

    #[test]
    fn what_limits_who_may_reach_a_service_is_refused() {
        for (name, value) in [
            ("auth-url", "https://auth.example.com"),
            ("auth-type", "basic"),
            ("auth-secret", "users"),
            ("auth-realm", "members"),
            ("auth-tls-secret", "default/ca"),
            ("auth-tls-verify-client", "on"),
            ("auth-of-the-future", "on"),
            ("enable-global-auth", "true"),
            ("allowlist-source-range", "10.0.0.0/8"),
            ("whitelist-source-range", "10.0.0.0/8, 192.0.2.0/24"),
            ("denylist-source-range", "203.0.113.0/24"),
            ("enable-modsecurity", "true"),
            ("modsecurity-snippet", "SecRuleEngine On"),
            ("server-snippet", "location /admin { deny all; }"),
            ("configuration-snippet", "if ($http_x_key != \"k\") { return 403; }"),
            ("configuration-snippet", "auth_request /check;"),
            ("backend-protocol", "https"),
            ("backend-protocol", "GRPCS"),
            ("ssl-passthrough", "true"),
            ("canary", "true"),
        ] {
            assert_eq!(read(name, value).0, Reading::Refused, "{name}: {value}");
        }
    }

    #[test]
    fn other_annotations_are_read_by_their_values() {
        for (name, value, expected) in [
            ("ssl-redirect", "false", Reading::Honoured),
            ("ssl-redirect", "true", Reading::Differs),
            ("backend-protocol", "HTTP", Reading::Honoured),
            ("backend-protocol", "GRPC", Reading::Differs),
            ("allowlist-source-range", "10.0.0.0/8,0.0.0.0/0", Reading::Honoured),
            ("auth-tls-verify-client", "off", Reading::Honoured),
            ("enable-global-auth", "false", Reading::Honoured),
            ("canary", "false", Reading::Honoured),
            ("proxy-body-size", "0", Reading::Honoured),
            ("proxy-body-size", "8m", Reading::Differs),
            ("proxy-buffering", "off", Reading::Honoured),
            ("proxy-buffering", "on", Reading::WithoutEffect),
            ("proxy-read-timeout", "3600", Reading::WithoutEffect),
            ("rewrite-target", "/$2", Reading::Differs),
            ("configuration-snippet", "more_set_headers \"X-A: b\";", Reading::Differs),
            ("affinity", "cookie", Reading::Differs),
            ("not-of-this-world", "1", Reading::Differs),
        ] {
            assert_eq!(read(name, value).0, expected, "{name}: {value}");
        }
    }
}
