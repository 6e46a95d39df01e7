//! What is known of a downstream connection for as long as it lives.

use std::net::SocketAddr;
use std::sync::Arc;

use certstore::SecretRef;

use crate::listener::ListenerName;

/// Facts about a downstream connection; each of its requests can read them.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it was accepted.
    pub listener: ListenerName,
    /// The client's address: of the socket, or as a PROXY header says.
    pub client: SocketAddr,
    /// The address the client connected to.
    pub local: SocketAddr,
    /// What the handshake agreed on; `None` on plain listeners.
    pub tls: Option<TlsFacts>,
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// The server name the client asked for, lower case; `None` if it sent none (then the default certificate was used).
    pub server_name: Option<Arc<str>>,
    /// The Secret whose certificate was presented; `None` for the default certificate.
    pub secret: Option<SecretRef>,
    /// For example `TLSv1_3`.
    pub protocol_version: &'static str,
}
