//! What all clients share: whom they talk to, what they know, and the handshake with its checks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_tests::client::tls::connect_over;
use postern_tests::client::{Peer, TlsClient, sources};
use postern_tests::{Error, Result};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::book::Book;
use super::names::{Names, host};
use super::sign;
use super::tally::{Kind, Tally};
use super::visits::Visits;
use crate::order::{Count, Failure, Sign, Target, Tick};

/// A stream to the gateway.
pub(crate) type Tls = TlsStream<TcpStream>;

/// Shared by all clients; clones share.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    target: Target,
    names: Names,
    book: Book,
    visits: Visits,
    tally: Tally,
    /// HTTP/1.1 and HTTP/2, each without and with resumption.
    configs: [[Arc<ClientConfig>; 2]; 2],
}

/// How a client connects.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    pub(crate) http2: bool,
    /// It remembers sessions.
    pub(crate) resuming: bool,
    /// It takes in little at a time.
    pub(crate) small_buffer: bool,
}

impl World {
    pub(crate) fn new(target: Target) -> Result<Self> {
        let client = TlsClient::trusting(&target.ca)?;
        let configs = |protocol| -> Result<_> {
            let client = client.alpn(&[protocol]);
            Ok([client.config()?, client.resuming().config()?])
        };
        Ok(Self(Arc::new(Shared {
            names: Names::new(target.services, target.seed),
            book: Book::new(Duration::from_millis(target.staleness_millis)),
            visits: Visits::new(target.services),
            tally: Tally::new(),
            configs: [configs("http/1.1")?, configs("h2")?],
            target,
        })))
    }

    pub(crate) fn target(&self) -> &Target {
        &self.0.target
    }

    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }

    pub(crate) fn book(&self) -> &Book {
        &self.0.book
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// A report.
    pub(crate) fn tick(&self) -> Tick {
        self.0.tally.tick()
    }

    /// Connects, from one of many addresses in turn.
    pub(crate) async fn tcp(&self, small_buffer: bool) -> Result<TcpStream> {
        const SMALL: u32 = 4 * 1_024;
        sources::connect(self.0.target.https, small_buffer.then_some(SMALL)).await
    }

    /// Makes a handshake and checks the certificate. `None` if that has failed, which is then counted.
    pub(crate) async fn handshake(&self, number: usize, how: How) -> Option<(Tls, Peer)> {
        let began = Instant::now();
        let kind = self.0.visits.kind(number);
        let config = &self.0.configs[usize::from(how.http2)][usize::from(how.resuming)];
        let connecting = async {
            let stream = self.tcp(how.small_buffer).await?;
            connect_over(config, stream, Some(&host(number))).await
        };
        match connecting.await {
            Ok((stream, peer)) => {
                self.0.visits.visited(number);
                self.0.tally.handshake(if peer.resumed { Kind::Resumed } else { kind }, began.elapsed());
                self.check(number, &peer, began);
                Some((stream, peer))
            }
            Err(error) => {
                self.refused(number, &error, began);
                None
            }
        }
    }

    /// A resumed session has the certificate that it began with, and none is served.
    fn check(&self, number: usize, peer: &Peer, began: Instant) {
        let too_old = self.0.book.too_old(number, peer.serial, began).filter(|_| !peer.resumed);
        if let Some(wanted) = too_old {
            let words = || format!("{}: served serial {}, {wanted} was due", host(number), peer.serial);
            self.0.tally.fail(Failure::StaleCertificate, Sign::Other, words);
        }
    }

    fn refused(&self, number: usize, error: &Error, began: Instant) {
        let sign = sign::of_handshake(error);
        if sign::is_own_fault(error) {
            self.0.tally.count(Count::OutOfFiles);
        } else if is_wrong_certificate(error) {
            self.0.tally.fail(Failure::WrongCertificate, sign, || format!("{}: {error}", host(number)));
        } else if sign == Sign::NoCertificate && self.0.book.is_outage(began) {
            self.0.tally.count(Count::RefusedInOutage);
        } else {
            self.0.tally.fail(Failure::Handshake, sign, || {
                format!("handshake with {} after {:?}: {error}", host(number), began.elapsed())
            });
        }
    }
}

/// True if the client did not accept what it was shown.
fn is_wrong_certificate(error: &Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let cause = cause.and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}
