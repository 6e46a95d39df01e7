//! Opening a listener.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use super::ListenerName;

/// Connections the kernel keeps for us until we accept them; it lowers this to `net.core.somaxconn` (4096 by default).
const BACKLOG: u32 = 4096;

/// A listener that holds its address, and accepts when it is served.
#[derive(Debug)]
pub struct BoundListener {
    pub(super) name: ListenerName,
    pub(super) local: SocketAddr,
    pub(super) tcp: TcpListener,
}

impl BoundListener {
    /// Which listener it is.
    pub fn name(&self) -> ListenerName {
        self.name
    }

    /// The address it is bound to; the port is the real one if port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The socket, for listeners that don't go through [`super::serve`].
    pub fn into_tcp(self) -> TcpListener {
        self.tcp
    }
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else has the address.
    #[error(
        "listener {listener}: {address} is in use by another process; stop that one, or choose another address with \
         --listen {listener}=ADDRESS"
    )]
    InUse {
        /// The listener.
        listener: ListenerName,
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Ports below 1024 need a privilege.
    #[error(
        "listener {listener}: may not listen on {address}; ports below 1024 need CAP_NET_BIND_SERVICE, others work \
         with --listen {listener}=ADDRESS"
    )]
    Forbidden {
        /// The listener.
        listener: ListenerName,
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address belongs to another machine.
    #[error(
        "listener {listener}: {address} is not an address of this machine; use one that is, or 0.0.0.0 or [::] for all"
    )]
    NotOurs {
        /// The listener.
        listener: ListenerName,
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("listener {listener}: cannot listen on {address}")]
    Other {
        /// The listener.
        listener: ListenerName,
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Opens a listener. IPv6 addresses are dual-stack where the system says so (`[::]` then accepts IPv4 as well).
///
/// # Errors
/// [`BindError`] says which listener, which address and what to do.
///
/// # Panics
/// Outside a tokio runtime.
pub fn bind(listener: ListenerName, address: SocketAddr) -> Result<BoundListener, BindError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { listener, address, source },
        io::ErrorKind::PermissionDenied => BindError::Forbidden { listener, address, source },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { listener, address, source },
        _ => BindError::Other { listener, address, source },
    };
    let tcp = listen(address).map_err(failed)?;
    let local = tcp.local_addr().map_err(failed)?;
    Ok(BoundListener { name: listener, local, tcp })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restart needs not wait for connections of the last process in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_an_error_that_names_the_listener_and_the_way_out() {
        let taken = bind(ListenerName::ExternalHttp, "127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind(ListenerName::ExternalHttps, taken.local_addr()).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
        let text = error.to_string();
        for part in ["listener external-https", &taken.local_addr().to_string(), "--listen external-https="] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }

    #[tokio::test]
    async fn a_foreign_address_is_an_error_that_says_so() {
        let error = bind(ListenerName::Admin, "192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(matches!(error, BindError::NotOurs { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn port_zero_becomes_a_real_port() {
        let bound = bind(ListenerName::InternalHttp, "127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(bound.local_addr().port(), 0);
    }

    #[tokio::test]
    async fn ipv6_addresses_can_be_listened_on() {
        let bound = bind(ListenerName::InternalHttp, "[::1]:0".parse().unwrap()).unwrap();
        assert!(tokio::net::TcpStream::connect(bound.local_addr()).await.is_ok());
    }
}
