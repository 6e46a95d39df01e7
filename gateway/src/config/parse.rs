//! How the values of settings are written that are of this gateway's own kinds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytesize::ByteSize;
use certstore::SecretRef;

use super::value::{at_least, parse_cache_size, parse_count, parse_switch};
use super::{KubeConfig, LogFormat, SourceConfig};
use crate::listener::ListenerName;
use crate::overload::MemoryLimit;
use crate::proxy::settings::UnderscoreHeaders;
use crate::tls::TlsVersion;

/// The process takes nearly as much before it serves anybody; what is less is a number whose unit was forgotten, and would
/// have every connection refused.
const LEAST_LIMIT: ByteSize = ByteSize::mib(32);

pub(super) fn default_address(name: ListenerName) -> SocketAddr {
    let ip = if name == ListenerName::Admin { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    SocketAddr::new(IpAddr::V4(ip), name.default_port())
}

pub(super) fn parse_source(text: &str) -> Result<SourceConfig, String> {
    match text.split_once(':') {
        Some(("dir", path)) if !path.is_empty() => Ok(SourceConfig::Dir(path.into())),
        None if text == "kube" => Ok(SourceConfig::Kube(KubeConfig::default())),
        _ => Err(format!("{text:?} is not a source; write dir:PATH for a directory of manifests, or kube")),
    }
}

pub(super) fn parse_listen(text: &str) -> Result<(ListenerName, Option<SocketAddr>), String> {
    let (name, address) =
        text.split_once('=').ok_or_else(|| format!("{text:?} is neither NAME=ADDRESS:PORT nor NAME=off"))?;
    let name: ListenerName = name.trim().parse().map_err(|error| format!("{error}"))?;
    if address.trim() == "off" {
        return Ok((name, None));
    }
    let address: SocketAddr = address.trim().parse().map_err(|_| {
        format!("{address:?} is not an address; write {name}=0.0.0.0:{port} or {name}=off", port = name.default_port())
    })?;
    if name == ListenerName::Admin && !address.ip().is_loopback() {
        return Err(format!("admin can only listen on a loopback address such as 127.0.0.1, not on {}", address.ip()));
    }
    Ok((name, Some(address)))
}

pub(super) fn parse_memory_limit(text: &str) -> Result<MemoryLimit, String> {
    match text {
        "auto" => Ok(MemoryLimit::Auto),
        "off" => Ok(MemoryLimit::Off),
        _ => {
            at_least(LEAST_LIMIT, text).map(MemoryLimit::Size).map_err(|message| format!("{message}; or auto, or off"))
        }
    }
}

/// `None` for the word `auto`.
fn auto_or<T>(parse: impl FnOnce(&str) -> Result<T, String>, text: &str) -> Result<Option<T>, String> {
    if text == "auto" {
        return Ok(None);
    }
    parse(text).map(Some).map_err(|message| format!("{message}; or auto"))
}

pub(super) fn parse_auto_size(text: &str) -> Result<Option<ByteSize>, String> {
    auto_or(parse_cache_size, text)
}

pub(super) fn parse_auto_count(text: &str) -> Result<Option<usize>, String> {
    auto_or(parse_count, text)
}

pub(super) fn parse_auto_switch(text: &str) -> Result<Option<bool>, String> {
    auto_or(parse_switch, text)
}

pub(super) fn parse_secret_ref(text: &str) -> Result<SecretRef, String> {
    parse_object("a Secret", text).map(|(namespace, name)| SecretRef::new(namespace, name))
}

pub(super) fn parse_object(what: &str, text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(format!("{text:?} is not {what}; write NAMESPACE/NAME")),
    }
}

pub(super) fn parse_tls_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "1.2" => Ok(TlsVersion::Tls12),
        "1.3" => Ok(TlsVersion::Tls13),
        _ => Err(format!("{text:?} is not a TLS version that is offered; write 1.2 or 1.3")),
    }
}

pub(super) fn parse_log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is not a log format; write text or json")),
    }
}

pub(super) fn parse_underscore_headers(text: &str) -> Result<UnderscoreHeaders, String> {
    match text {
        "safe" => Ok(UnderscoreHeaders::Safe),
        "drop" => Ok(UnderscoreHeaders::Drop),
        _ => Err(format!("{text:?} is not a treatment of such fields; write safe or drop")),
    }
}

pub(super) fn parse_log_level(text: &str) -> Result<String, String> {
    // A bare word that is no level would be taken for a target, and switch off all others.
    let is_level =
        |part: &str| part.contains(['=', '[']) || part.trim().parse::<tracing::Level>().is_ok() || part == "off";
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) if text.split(',').all(is_level) => Ok(text.to_owned()),
        _ => Err(format!(
            "{text:?} is not a log level; write error, warn, info, debug or trace, or directives such as \
             info,certstore=debug"
        )),
    }
}

pub(super) fn parse_word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(format!("{text:?} is not a name"));
    }
    Ok(text.to_owned())
}

pub(super) fn parse_unsupported(text: &str) -> Result<String, String> {
    let mut keys: Vec<_> = xds::settings::unsupported_keys().collect();
    if keys.contains(&text) || xds::settings::was_unsupported(text) {
        return Ok(text.to_owned());
    }
    keys.sort_unstable();
    Err(format!("{text:?} is not a key that can be accepted; write one of {}", keys.join(", ")))
}
