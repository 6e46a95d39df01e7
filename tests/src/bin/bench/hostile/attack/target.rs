//! Connections of the attacker, each from one of its addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use postern_tests::Result;
use postern_tests::client::Stream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::super::Transport;
use super::super::site::HOST;
use super::Arguments;
use super::script::{Needs, Script};
use crate::careless;

/// Listeners under attack.
#[derive(Debug)]
pub(super) struct Target {
    https: SocketAddr,
    http: SocketAddr,
    transport: Transport,
    tls: Arc<ClientConfig>,
}

impl Target {
    pub(super) fn new(arguments: &Arguments) -> Result<Self> {
        let Needs { alpn, .. } = arguments.case.script(arguments.transport).needs();
        Ok(Self {
            https: arguments.https,
            http: arguments.http,
            transport: arguments.transport,
            tls: careless::config(alpn)?,
        })
    }

    /// A connection as a script needs it.
    pub(super) async fn open(&self, source: Ipv4Addr, script: &Script) -> Result<Box<dyn Stream>> {
        let Needs { alpn, receive_buffer } = script.needs();
        let with_tls = self.transport == Transport::Tls;
        let socket = TcpSocket::new_v4()?;
        // What is in the buffers when it is given up is nobody's.
        socket.set_zero_linger()?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind((source, 0).into())?;
        let address = if with_tls || alpn.is_none() { self.https } else { self.http };
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        if alpn.is_none() || !with_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(HOST)?;
        Ok(Box::new(TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?))
    }
}
