//! What all connections of all listeners share on their way into pingora.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, ProxyHttp};

use super::header_phase::HeaderIsRead;
use super::stream::Downstream;
use super::{Http2Settings, Settings, http1, http2};
use crate::drain::DrainWatch;
use crate::listener::{Admission, Permit};
use crate::live::Live;
use crate::overload::Pressure;
use crate::tls::Terminator;

/// Serves the connections that listeners accept.
pub struct Service<P> {
    /// pingora's side; see [`http_service`].
    pub http: Arc<HttpProxy<P>>,
    /// Terminates TLS on the listeners that have it.
    pub tls: Arc<Terminator>,
    /// Who may connect, and who is connected.
    pub admission: Arc<Admission>,
    /// Limits of a connection; those of HTTP/2 and of the upstream pool are as they were at first.
    pub settings: Live<Settings>,
}

impl<P> fmt::Debug for Service<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What a connection follows while it is served.
#[derive(Clone, Debug)]
pub(crate) struct Watches {
    /// The phase of the process.
    pub(crate) drain: DrainWatch,
    /// The same as pingora understands it: true from [`Phase::Draining`](crate::drain::Phase::Draining) on.
    pub(crate) shutdown: ShutdownWatch,
    /// How short memory is.
    pub(crate) pressure: Pressure,
}

impl<P> Service<P>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    /// How long a connection may idle, and how long a header may take, as of now.
    pub(crate) fn timeouts(&self) -> (Duration, Duration) {
        let settings = self.settings.load();
        (self.admission.pressure().idle_timeout(settings.idle_timeout), settings.header_timeout)
    }

    /// Serves one connection until it ends. `permit` is given back when its last request has ended.
    pub(crate) async fn serve(&self, mut stream: Box<Downstream>, permit: Permit, watches: &Watches) {
        // Boxed, each of them: a connection keeps no room for what it does not do.
        let http2 = if stream.digests.is_tls() {
            Some(stream.digests.is_http2())
        } else {
            Box::pin(self.await_protocol(&mut stream, watches)).await
        };
        match http2 {
            Some(true) => Box::pin(http2::serve(stream, self, permit, watches)).await,
            Some(false) => Box::pin(http1::serve(stream, self, watches)).await,
            None => {}
        }
    }

    /// Whether a client without TLS speaks HTTP/2; `None` if the connection is at its end.
    async fn await_protocol(&self, stream: &mut Downstream, watches: &Watches) -> Option<bool> {
        let (idle_timeout, header_timeout) = self.timeouts();
        if !http1::await_bytes(stream, idle_timeout, watches).await {
            return None;
        }
        match tokio::time::timeout(header_timeout, stream.is_http2_preface()).await {
            Ok(outcome) => outcome.ok(),
            // Fewer bytes than tell: HTTP/1.1 answers what they deserve.
            Err(_) => Some(false),
        }
    }
}

/// Wraps a proxy for [`Service`], with the options that the connection loops rely on.
///
/// Install the process's crypto provider first: pingora would install another one.
pub fn http_service<P>(proxy: P, settings: &Settings) -> Arc<HttpProxy<P>>
where
    P: ProxyHttp + Send + Sync + 'static,
{
    let conf = ServerConf {
        // The pool's size is multiplied by the threads.
        threads: 1,
        upstream_keepalive_pool_size: settings.upstream_pool,
        max_retries: settings.max_tries,
        ..ServerConf::default()
    };
    let mut http = HttpProxy::new(proxy, Arc::new(conf));
    // No `server_options`: they are for pingora's own connection loop; CONNECT stays refused.
    http.h2_options = Some(h2_options(&settings.http2));
    http.handle_init_modules();
    http.downstream_modules.add_module(Box::new(HeaderIsRead));
    Arc::new(http)
}

fn h2_options(settings: &Http2Settings) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_header_list_size(settings.max_header_list_size)
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_send_buffer_size(settings.max_send_buffer);
    options
}
