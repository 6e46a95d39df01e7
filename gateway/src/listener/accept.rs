//! The accept loop, and the way of a connection from there to HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::figures::{AcceptFault, OfListener, Refused};
use super::proxy_protocol::{self, MAX_HEADER, ProxyHeader};
use super::{BoundListener, ListenerName, Permit, source_of};
use crate::connection::{Connection, NARROW, Service, Socket, Transport, Watches, Wire};
use crate::drain::{DrainWatch, Phase};
use crate::exchange::Handler;
use crate::live::Live;

/// First and longest pause after accepting has failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// No more than one log line in this time about the same trouble.
const QUIET: Duration = Duration::from_secs(10);

/// `TCP_NOTSENT_LOWAT`: bytes that the kernel takes beyond what the client's window lets it send, so that a client that takes
/// nothing holds little of its memory. What is on its way is as much as the network holds, whatever this is.
const UNSENT: u32 = 32 * 1024;

/// How a listener treats its connections.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Whether every connection begins with a PROXY header (version 1 or 2). Off; only for listeners that nobody but a
    /// load balancer can reach. Probe listeners never expect one.
    pub proxy_protocol: bool,
    /// How long the PROXY header may take. 5 s.
    pub proxy_header_timeout: Duration,
    /// TCP keepalive: a probe after this much silence, so that vanished clients are noticed. 60 s, then 3 probes 15 s
    /// apart.
    pub keepalive: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { proxy_protocol: false, proxy_header_timeout: Duration::from_secs(5), keepalive: Duration::from_secs(60) }
    }
}

/// Accepts and serves connections until [`Phase::Closing`], then closes the listener and returns; connections go on
/// until [`Phase::Expired`], and HTTP/2 streams under way then end with the writes that fail.
///
/// Dropped, it closes the listener; connections go on.
pub async fn serve<H: Handler>(
    listener: BoundListener,
    policy: impl Into<Live<Policy>>,
    service: Arc<Service<H>>,
    mut drain: DrainWatch,
) {
    let policy = policy.into();
    let watches = Watches { drain: drain.clone(), pressure: service.admission.pressure().clone() };
    let mut trouble = Trouble::new(listener.name, service.admission.figures(listener.name));
    if let Err(error) = set_options(&listener.tcp, policy.load().keepalive) {
        tracing::warn!(listener = %listener.name, %error, "cannot set TCP options; going on without");
    }
    loop {
        let accepted = tokio::select! {
            biased;
            phase = next_phase(&mut drain) => {
                if phase >= Phase::Closing {
                    return;
                }
                continue;
            }
            accepted = listener.tcp.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                trouble.over();
                let accepted = AcceptedSocket { tcp, peer, listener: listener.name, policy: **policy.load() };
                accepted.admit(&service, &watches);
            }
            Err(error) => trouble.pause(&error).await,
        }
    }
}

/// Waits for the next phase; for ever once nobody can set one.
async fn next_phase(drain: &mut DrainWatch) -> Phase {
    if drain.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    *drain.borrow_and_update()
}

/// A connection that has just been accepted.
struct AcceptedSocket {
    tcp: TcpStream,
    peer: SocketAddr,
    listener: ListenerName,
    policy: Policy,
}

impl AcceptedSocket {
    fn admit<H: Handler>(self, service: &Arc<Service<H>>, watches: &Watches) {
        let figures = service.admission.figures(self.listener);
        figures.accepted.increment(1);
        let permit = match service.admission.admit(self.listener) {
            Ok(permit) => permit,
            Err(refusal) => return figures.refused(refusal.into()),
        };
        let (service, watches) = (Arc::clone(service), watches.clone());
        tokio::spawn(async move {
            let mut drain = watches.drain.clone();
            tokio::select! {
                biased;
                () = self.serve(permit, &service, &watches) => {}
                Ok(_) = drain.wait_for(|phase| *phase == Phase::Expired) => {}
            }
        });
    }

    async fn serve<H: Handler>(self, mut permit: Permit, service: &Service<H>, watches: &Watches) {
        let listener = self.listener;
        let figures = service.admission.figures(listener);
        let Ok((socket, client, local)) = self.identify(figures).await else {
            return;
        };
        let account = match permit.from_source(client.ip()) {
            Ok(account) => account,
            Err(refusal) => return figures.refused(refusal.into()),
        };
        socket.set_receive_buffer(NARROW);
        let connection = Connection { listener, client, local, tls: None, account };
        // Boxed: what the handshake needs is freed when it is over, not kept for as long as the connection.
        let established = Box::pin(establish(socket, connection, service)).await;
        if let Some((wire, connection, http2)) = established {
            service.serve(wire, connection, http2, permit, watches).await;
        }
    }

    /// Finds out who the client is.
    async fn identify(mut self, figures: &OfListener) -> io::Result<(Socket, SocketAddr, SocketAddr)> {
        let local = self.tcp.local_addr()?;
        if !(self.policy.proxy_protocol && self.listener.may_be_proxied()) {
            return Ok((Socket::new(self.tcp, Bytes::new()), self.peer, local));
        }
        let header = tokio::time::timeout(self.policy.proxy_header_timeout, read_proxy_header(&mut self.tcp)).await;
        let (header, ahead) = match header {
            Ok(Ok(header)) => header,
            Ok(Err(error)) => {
                figures.refused(Refused::ProxyHeader);
                return Err(error);
            }
            Err(_) => {
                figures.refused(Refused::ProxyHeaderTimeout);
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        let (client, local) = match header {
            ProxyHeader::Proxied { client, local } => (client, local),
            ProxyHeader::Local => (self.peer, local),
        };
        Ok((Socket::new(self.tcp, ahead), client, local))
    }
}

/// Does the handshake where there is TLS. Says as well whether ALPN chose HTTP/2; `None` where there was none.
async fn establish<H: Handler>(
    socket: Socket,
    mut connection: Connection,
    service: &Service<H>,
) -> Option<(Wire, Connection, Option<bool>)> {
    if !connection.listener.is_tls() {
        return Some((Wire::new(Transport::Plain(socket)), connection, None));
    }
    let (listener, source) = (connection.listener, source_of(connection.client.ip()));
    let memory = || service.admission.handshake(listener, &connection.account);
    let processors = connection.account.processors();
    let established = service.tls.accept(socket, listener, source, memory, processors).await.ok()?;
    connection.tls = Some(established.facts);
    Some((Wire::new(Transport::Tls(established.stream)), connection, Some(established.http2)))
}

/// Reads a PROXY header and returns it with the bytes that were read after it.
async fn read_proxy_header(tcp: &mut TcpStream) -> io::Result<(ProxyHeader, Bytes)> {
    let mut bytes = BytesMut::with_capacity(512);
    loop {
        if tcp.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let parsed =
            proxy_protocol::parse(&bytes).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        if let Some((header, length)) = parsed {
            return Ok((header, bytes.split_off(length).freeze()));
        }
        // An incomplete header is shorter than the longest complete one, so this is the bound of `bytes`.
        bytes.reserve(MAX_HEADER.saturating_sub(bytes.len()).min(512));
    }
}

/// Sets TCP options on the listener: Linux hands them on to the connections it accepts, so none costs a system call.
fn set_options(tcp: &TcpListener, idle: Duration) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_tcp_nodelay(tcp, true)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, idle)?;
    sockopt::set_tcp_keepintvl(tcp, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(tcp, 3)?;
    socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}

/// Accepting fails: pause longer each time, say so once in a while, never give up.
struct Trouble {
    listener: ListenerName,
    figures: OfListener,
    pause: Duration,
    said: Option<Instant>,
}

impl Trouble {
    fn new(listener: ListenerName, figures: &OfListener) -> Self {
        Self { listener, figures: figures.clone(), pause: PAUSES.0, said: None }
    }

    fn over(&mut self) {
        self.pause = PAUSES.0;
    }

    async fn pause(&mut self, error: &io::Error) {
        let fault = AcceptFault::of(error);
        self.figures.failed(fault);
        if fault == AcceptFault::Client {
            return;
        }
        if self.said.is_none_or(|said| said.elapsed() >= QUIET) {
            self.said = Some(Instant::now());
            self.say(fault, error);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }

    fn say(&self, fault: AcceptFault, error: &io::Error) {
        let listener = self.listener;
        if fault == AcceptFault::FileDescriptors {
            tracing::error!(
                %listener, %error,
                "cannot accept connections: no file descriptors left; raise RLIMIT_NOFILE (ulimit -n), or lower the \
                 limit of connections"
            );
        } else {
            tracing::error!(%listener, %error, "cannot accept connections");
        }
    }
}

impl AcceptFault {
    fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        match error.kind() {
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
                Self::Client
            }
            _ if matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE)) => Self::FileDescriptors,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::*;

    fn trouble() -> Trouble {
        Trouble::new(ListenerName::ExternalHttp, Figures::new().of(ListenerName::ExternalHttp))
    }

    #[tokio::test]
    async fn accepted_connections_have_the_options_of_their_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        set_options(&listener, Duration::from_secs(60)).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(accepted.nodelay().unwrap());
        assert!(rustix::net::sockopt::socket_keepalive(&accepted).unwrap());
        assert_eq!(rustix::net::sockopt::tcp_keepidle(&accepted).unwrap(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn running_out_of_file_descriptors_pauses_longer_each_time_up_to_a_second() {
        let error = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!(AcceptFault::of(&error), AcceptFault::FileDescriptors);
        let mut trouble = trouble();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let before = Instant::now();
            trouble.pause(&error).await;
            pauses.push(before.elapsed());
        }
        assert!(pauses.is_sorted() && pauses[0] >= PAUSES.0, "{pauses:?}");
        assert!(pauses[9] >= PAUSES.1 && pauses[9] < PAUSES.1 * 2, "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_left_early_costs_no_pause() {
        let before = Instant::now();
        trouble().pause(&io::ErrorKind::ConnectionAborted.into()).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
}
