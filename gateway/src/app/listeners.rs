//! Opens the listeners and puts behind each what answers there.

use std::io;
use std::sync::Arc;

use certstore::CertStore;
use tokio::sync::watch;

use super::AppError;
use crate::admin::{self, Admin, AdminServer};
use crate::config::Config;
use crate::connection::{self, Service};
use crate::drain::DrainWatch;
use crate::health::Health;
use crate::listener::{self, Admission, BoundListener, Limits, ListenerName, Policy};
use crate::live::Live;
use crate::overload::{self, DEFAULT_CONNECTIONS};
use crate::proxy::trust::Hops;
use crate::proxy::{self, Postern};
use crate::tables::Tables;
use crate::tls::{self, Terminator};

/// What all traffic listeners share.
pub(super) struct Shared {
    pub(super) tables: Tables,
    pub(super) certs: Arc<CertStore>,
    /// Follows the version that was applied last.
    pub(super) version: watch::Receiver<u64>,
    pub(super) health: Health,
    pub(super) admission: Arc<Admission>,
}

/// Opens every listener that is on, and says where.
pub(super) fn bind(config: &Config) -> Result<Vec<BoundListener>, AppError> {
    let mut bound = Vec::new();
    for (name, address) in &config.listen {
        let listener = listener::bind(*name, *address)?;
        tracing::info!(listener = %name, address = %listener.local_addr(), "listening");
        bound.push(listener);
    }
    Ok(bound)
}

/// Starts to answer on the metrics and admin listeners; returns those for traffic.
pub(super) fn answer(bound: Vec<BoundListener>, admin: Admin) -> io::Result<(Vec<BoundListener>, AdminServer)> {
    let (traffic, own): (Vec<_>, Vec<_>) = bound.into_iter().partition(|listener| listener.name().is_traffic());
    let own = own.into_iter().map(|listener| Ok((listener.name(), listener.into_tcp().into_std()?)));
    let server = admin::spawn(Arc::new(admin), own.collect::<io::Result<_>>()?)?;
    Ok((traffic, server))
}

/// How many connections there may be as far as memory goes.
pub(super) fn max_connections(config: &Config) -> usize {
    config.max_connections.unwrap_or(DEFAULT_CONNECTIONS)
}

/// How many clients are served at once.
pub(super) fn limits(config: &Config, max_connections: usize) -> Limits {
    Limits { max_connections, max_connections_per_source: config.max_connections_per_client }
}

/// What overload goes by.
pub(super) fn overload_settings(config: &Config, max_connections: usize) -> overload::Settings {
    overload::Settings {
        memory_limit: config.memory_limit,
        thresholds: config.overload,
        cert_cache: config.cert_cache.map(|size| size.as_u64()),
        max_connections,
        fit_connections: config.max_connections.is_none(),
        max_buffered: config.max_buffered.map(|size| size.as_u64()),
    }
}

/// What can be turned while traffic is served.
#[derive(Clone, Debug)]
pub(super) struct Dials {
    connection: Live<connection::Settings>,
    proxy: Live<proxy::Settings>,
    tls: Live<tls::Settings>,
    /// Of the external listeners: only these stand behind a load balancer that speaks the PROXY protocol.
    external: Live<Policy>,
}

impl Dials {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            connection: connection_settings(config).into(),
            proxy: proxy_settings(config).into(),
            tls: tls_settings(config).into(),
            external: external_policy(config).into(),
        }
    }

    /// What comes from now on is treated as this configuration says.
    pub(super) fn turn(&self, config: &Config) {
        self.connection.set(connection_settings(config));
        self.proxy.set(proxy_settings(config));
        self.tls.set(tls_settings(config));
        self.external.set(external_policy(config));
    }
}

/// Starts to serve traffic.
pub(super) fn serve(
    dials: Dials,
    traffic: Vec<BoundListener>,
    shared: Shared,
    drain: &DrainWatch,
) -> Result<(), tls::ConfigError> {
    let Shared { tables, certs, version, health, admission } = shared;
    let ready = Arc::new(move || health.is_ready());
    let proxy = Postern::new(Arc::clone(&tables), version, dials.proxy, ready).under(admission.pressure().clone());
    let service = Arc::new(Service {
        handler: Arc::new(proxy),
        tls: Arc::new(Terminator::new(dials.tls, tables, certs)?),
        admission,
        settings: dials.connection,
    });
    for listener in traffic {
        let is_external = matches!(listener.name(), ListenerName::ExternalHttp | ListenerName::ExternalHttps);
        let policy = if is_external { dials.external.clone() } else { Policy::default().into() };
        tokio::spawn(listener::serve(listener, policy, Arc::clone(&service), drain.clone()));
    }
    Ok(())
}

fn external_policy(config: &Config) -> Policy {
    Policy { proxy_protocol: config.proxy_protocol, ..Policy::default() }
}

fn connection_settings(config: &Config) -> connection::Settings {
    let http2 = connection::Http2Settings::default();
    let http2_idle = http2.idle_timeout.max(config.keepalive_timeout);
    connection::Settings {
        header_timeout: config.header_timeout,
        idle_timeout: config.keepalive_timeout,
        write_stall_timeout: config.write_stall_timeout,
        http2: connection::Http2Settings { idle_timeout: http2_idle, ..http2 },
        ..connection::Settings::default()
    }
}

fn tls_settings(config: &Config) -> tls::Settings {
    tls::Settings {
        min_version: config.min_tls_version,
        handshake_timeout: config.handshake_timeout,
        default_certificate: config.default_certificate.clone(),
        ..tls::Settings::default()
    }
}

/// Returns the proxies in front by their number, if the settings count them. As in Kourier, a peer that the PROXY protocol
/// states is appended to `X-Forwarded-For`.
fn hops(config: &Config) -> Option<Hops> {
    config.hops.map(|hops| Hops { appends_peer: hops.appends_peer || config.proxy_protocol, ..hops })
}

fn proxy_settings(config: &Config) -> proxy::Settings {
    proxy::Settings {
        trusted_proxies: config.trusted_proxies.clone(),
        hops: hops(config),
        underscore_headers: config.underscore_headers,
        endpoint_wait: config.endpoint_wait,
        stream_idle: Some(config.stream_idle_timeout).filter(|timeout| !timeout.is_zero()),
        access_log: config.access_log,
        ..proxy::Settings::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::config::Layers;

    fn config(flags: &[(&str, &str)]) -> Config {
        let given = [("source", "kube")].iter().chain(flags);
        let given: BTreeMap<_, _> =
            given.map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        Config::resolve(&Layers::default().with_flags(given)).expect("it is valid")
    }

    #[test]
    fn idle_connections_are_kept_for_longer_than_the_60_seconds_of_balancers_and_for_as_long_as_is_set() {
        for (flags, http1, http2) in [(&[][..], 75, 300), (&[("keepalive-timeout", "620s")], 620, 620)] {
            let settings = connection_settings(&config(flags));
            let idle = [settings.idle_timeout, settings.http2.idle_timeout];
            assert_eq!(idle, [http1, http2].map(Duration::from_secs), "{flags:?}");
        }
        assert_eq!(connection::Settings::default().idle_timeout, connection_settings(&config(&[])).idle_timeout);
    }

    #[test]
    fn the_proxy_protocol_has_its_client_appended_where_hops_are_counted() {
        let hops = |flags| hops(&config(flags)).map(|hops| (hops.count, hops.appends_peer));
        assert_eq!(hops(&[]), None);
        assert_eq!(hops(&[("proxy-protocol", "on")]), None);
        assert_eq!(hops(&[("use-remote-address", "on")]), Some((0, true)));
        assert_eq!(hops(&[("trusted-hops-count", "2")]), Some((2, false)));
        assert_eq!(hops(&[("trusted-hops-count", "2"), ("proxy-protocol", "on")]), Some((2, true)));
    }
}
