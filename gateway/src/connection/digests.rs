//! What pingora and its callbacks may ask the stream about: the sub-traits that make up pingora's `IO`.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use pingora_http::ResponseHeader;
use tokio::io::AsyncWriteExt;

use super::stream::Downstream;
use super::{Connection, Facts, Watches};

/// How long a closed connection is read for, so that the client gets what it was sent last.
const LINGER: Duration = Duration::from_secs(1);
/// How much is read meanwhile.
const LINGER_BYTES: usize = 256 * 1024;

/// The facts of a connection in the shapes pingora hands around; made once, shared by its requests.
#[derive(Clone, Debug)]
pub(crate) struct Digests {
    proxy: Arc<ProxyDigest>,
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
    http2: bool,
    established: SystemTime,
}

impl Digests {
    /// `fd` is the connection's socket, `cipher` what TLS agreed on.
    pub(crate) fn new(
        connection: Connection,
        fd: RawFd,
        cipher: Option<&'static str>,
        http2: bool,
        watches: &Watches,
    ) -> pingora_error::Result<Self> {
        let socket = SocketDigest::from_raw_fd(fd);
        // Both cells are new and therefore empty: `set` cannot fail.
        let _ = socket.peer_addr.set(Some(SocketAddr::Inet(connection.client)));
        let _ = socket.local_addr.set(Some(SocketAddr::Inet(connection.local)));
        let tls = connection.tls.as_ref().map(|tls| {
            Arc::new(SslDigest::new(cipher.unwrap_or_default(), tls.protocol_version, None, None, Vec::new()))
        });
        let answer = Box::new(ResponseHeader::build(200, Some(0))?);
        let facts = Facts { connection, drain: watches.drain.clone(), pressure: watches.pressure.clone() };
        Ok(Self {
            proxy: Arc::new(ProxyDigest::new(answer, Some(Box::new(facts)))),
            socket: Arc::new(socket),
            tls,
            http2,
            established: SystemTime::now(),
        })
    }

    pub(super) fn facts(&self) -> &Facts {
        facts_in(&self.proxy).expect("`new` put the facts there and nothing takes them out")
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2
    }
}

/// The facts that [`Digests::new`] put into a digest.
pub(super) fn facts_in(digest: &ProxyDigest) -> Option<&Facts> {
    digest.user_data.as_ref()?.downcast_ref()
}

#[async_trait]
impl Shutdown for Downstream {
    /// Sends what is buffered and, on TLS, `close_notify`; then reads for a moment, so that the last bytes arrive.
    async fn shutdown(&mut self) {
        let close = async {
            if AsyncWriteExt::shutdown(self).await.is_ok() {
                self.discard(LINGER_BYTES).await;
            }
        };
        let _ = tokio::time::timeout(LINGER, close).await;
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> UniqueIDType {
        self.as_raw_fd()
    }
}

impl Ssl for Downstream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.digests.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.digests.tls.as_ref().map(|_| if self.digests.http2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for Downstream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest { established_ts: self.digests.established, ..TimingDigest::default() })]
    }
}

impl GetProxyDigest for Downstream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.digests.proxy))
    }
}

impl GetSocketDigest for Downstream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digests.socket))
    }
}

impl Peek for Downstream {}
