//! The visitor: another client, which makes a new connection and a request every 100 ms.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use postern_tests::client::tls::connect_over;
use postern_tests::client::{Call, Connection, Reply, TlsClient};
use postern_tests::patience::eventually_within;
use postern_tests::{Result, ensure};
use rustls::ClientConfig;
use serde::Serialize;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use super::site::HOST;
use crate::backend::bytes;

/// From one visit to the next.
const EVERY: Duration = Duration::from_millis(100);

/// A visit that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Size of the response.
const BODY: usize = 1024;

/// Address of the visitor; no attack comes from it.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 9, 1, 1);

/// Visits in a row that succeed before the first that counts.
const WARM_UP: usize = 6;

/// The gateway and the backends have got over what was before within this.
const SETTLED: Duration = Duration::from_secs(60);

/// A visitor of one gateway.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    address: SocketAddr,
    /// HTTP/1.1 and HTTP/2.
    configs: [Arc<ClientConfig>; 2],
}

/// Visits of some time.
#[derive(Clone, Debug, Default)]
pub(super) struct Visits {
    /// Durations of those that succeeded, in ascending order.
    took: Vec<Duration>,
    /// Errors of the others.
    failures: Vec<String>,
}

/// Visits in numbers; times in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) attempts: usize,
    pub(super) failures: usize,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
    /// The first that failed.
    pub(super) first_failure: Option<String>,
}

impl Visitor {
    pub(super) fn new(address: SocketAddr, client: &TlsClient) -> Result<Self> {
        let config = |alpn| client.alpn(&[alpn]).config();
        Ok(Self { address, configs: [config("http/1.1")?, config("h2")?] })
    }

    /// Waits until visits succeed.
    pub(super) async fn warm_up(&self) -> Result<()> {
        eventually_within(SETTLED, "visits succeed", async || {
            for number in 0..WARM_UP {
                self.visit(number).await?;
            }
            Ok(())
        })
        .await
    }

    /// Visits for this long, and waits for the last to end. Visits do not wait for each other.
    pub(super) async fn visit_for(&self, time: Duration) -> Visits {
        let (ends, mut ticks, mut under_way) = (Instant::now() + time, interval(EVERY), JoinSet::new());
        let mut visits = Visits::default();
        for number in 0.. {
            ticks.tick().await;
            if Instant::now() >= ends {
                break;
            }
            let visitor = self.clone();
            under_way.spawn(async move { visitor.visit(number).await });
        }
        while let Some(visit) = under_way.join_next().await {
            match visit.map_err(Into::into).flatten() {
                Ok(took) => visits.took.push(took),
                Err(error) => visits.failures.push(error.to_string()),
            }
        }
        visits.took.sort_unstable();
        visits
    }

    /// Makes one visit, by HTTP/1.1 and HTTP/2 in turn, and returns its duration.
    async fn visit(&self, number: usize) -> Result<Duration> {
        let began = Instant::now();
        let http2 = number % 2 == 1;
        let mut at = "connecting";
        let visit = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind((SOURCE, 0).into())?;
            let stream = socket.connect(self.address).await?;
            stream.set_nodelay(true)?;
            at = "the handshake";
            let (stream, _) = connect_over(&self.configs[usize::from(http2)], stream, Some(HOST)).await?;
            at = "the request";
            let mut connection = Connection::open(stream, http2).await?;
            let call = Call::get(&format!("https://{HOST}{}", bytes(BODY)));
            let reply = Reply::read(connection.send(&call).await?).await?;
            ensure(reply.status == 200 && reply.body.len() == BODY, || format!("answered {}", reply.status))
        };
        match timeout(PATIENCE, visit).await {
            Ok(Ok(())) => Ok(began.elapsed()),
            Ok(Err(error)) => Err(format!("{at}: {error}").into()),
            Err(_) => Err(format!("{at}: not within {PATIENCE:?}").into()),
        }
    }
}

impl Visits {
    pub(super) fn summary(&self) -> Summary {
        let at = |share: f64| self.at(share).as_secs_f64() * 1e3;
        Summary {
            attempts: self.took.len() + self.failures.len(),
            failures: self.failures.len(),
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
            first_failure: self.failures.first().cloned(),
        }
    }

    /// The time within which this share succeeded, of those that did.
    fn at(&self, share: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let rank = (self.took.len() as f64 * share).ceil() as usize;
        self.took.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_visits_that_succeeded() {
        let took = (1..=100).map(Duration::from_millis).collect();
        let summary = Visits { took, failures: vec!["refused".to_owned()] }.summary();
        assert_eq!((summary.attempts, summary.failures), (101, 1));
        assert!(
            (summary.p50 - 50.0).abs() < 1e-9
                && (summary.p99 - 99.0).abs() < 1e-9
                && (summary.max - 100.0).abs() < 1e-9
        );
        assert_eq!(Visits::default().summary().attempts, 0);
    }
}
