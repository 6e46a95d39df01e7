//! This executable as a client, for what wrk and h2load cannot do.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Parser, Subcommand};
use postern_tests::Result;
use postern_tests::client::sources;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{Outcome, visit};
use super::directory::HOST;
use crate::careless;

mod bidi;
mod hold;
mod websocket;

/// Connections of a load.
const CONNECTIONS: usize = 16;

/// An order.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    https: SocketAddr,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Requests on connections of their own, for some seconds.
    Handshakes { seconds: u64 },
    /// Messages of a WebSocket on each connection, one at a time.
    Websocket { seconds: u64 },
    /// Messages of gRPC streams in both directions, one at a time on each stream.
    Bidi { seconds: u64 },
    /// Opens connections, makes a request on each, says so, and holds them until the input ends.
    Hold { connections: usize, protocol: String },
}

/// Carries an order out.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let name = std::iter::once(OsString::from(crate::VISITOR));
    let Arguments { https, what } = Arguments::parse_from(name.chain(arguments));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let outcome = match what {
            What::Handshakes { seconds } => {
                let config = careless::config(Some("http/1.1"))?;
                repeat(seconds, async |record| handshake(&config, https, record).await).await
            }
            What::Websocket { seconds } => {
                let config = careless::config(Some("http/1.1"))?;
                repeat(seconds, async |record| websocket::talk(connect(&config, https).await?, record).await).await
            }
            What::Bidi { seconds } => {
                let config = careless::config(Some("h2"))?;
                repeat(seconds, async |record| bidi::talk(connect(&config, https).await?, record).await).await
            }
            What::Hold { connections, protocol } => {
                hold::hold(https, connections, protocol == "h2").await?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        println!("{}", serde_json::to_string(&outcome)?);
        Ok(ExitCode::SUCCESS)
    })
}

/// Times of what succeeded, and how the first that did not has failed.
#[derive(Debug, Default)]
struct Record(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    took: Vec<Duration>,
    failed: u64,
    first_failure: Option<String>,
}

impl Record {
    /// Adds what has succeeded just now.
    fn succeeded(&self, began: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).took.push(began.elapsed());
    }

    fn failed(&self, error: &postern_tests::Error) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.failed += 1;
        recorded.first_failure.get_or_insert_with(|| error.to_string());
    }

    fn outcome(&self) -> Outcome {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Recorded { took, failed, first_failure } = &mut *recorded;
        took.sort_unstable();
        let at = |percent: usize| took.get((took.len() * percent).div_ceil(100).saturating_sub(1));
        let millis = |time: &Duration| time.as_secs_f64() * 1e3;
        let (p50, p99) = (at(50).map(millis), at(99).map(millis));
        Outcome { succeeded: took.len() as u64, failed: *failed, failures: first_failure.take(), p50, p99 }
    }
}

/// Does something again and again on several connections side by side, for some seconds. What is going on then is broken off.
async fn repeat(seconds: u64, what: impl AsyncFn(&Record) -> Result<()>) -> Outcome {
    /// After a failure.
    const PAUSE: Duration = Duration::from_millis(50);
    let record = Record::default();
    let clients = (0..CONNECTIONS).map(|_| async {
        loop {
            if let Err(error) = what(&record).await {
                record.failed(&error);
                sleep(PAUSE).await;
            }
        }
    });
    let clients = futures_util::future::join_all(clients);
    tokio::select! {
        _never = clients => {}
        () = sleep(Duration::from_secs(seconds)) => {}
    }
    record.outcome()
}

async fn connect(config: &Arc<ClientConfig>, https: SocketAddr) -> Result<TlsStream<TcpStream>> {
    let stream = sources::connect(https, None).await?;
    Ok(TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from(HOST)?, stream).await?)
}

/// A handshake, a request and a close.
async fn handshake(config: &Arc<ClientConfig>, https: SocketAddr, record: &Record) -> Result<()> {
    let began = Instant::now();
    match visit(config, https, "/1k").await? {
        200 => record.succeeded(began),
        status => return Err(format!("answered {status}").into()),
    }
    Ok(())
}
