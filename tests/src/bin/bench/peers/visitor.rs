//! This executable as a client: a handshake for each request, or connections that idle.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Parser, Subcommand};
use postern_tests::client::{Call, Connection, Reply, sources};
use postern_tests::{Result, ensure};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::client::{Outcome, visit};
use super::directory::HOST;
use crate::{careless, raise_file_limit};

/// Clients that shake hands at the same time.
const CLIENTS: usize = 16;

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
    /// Opens connections, makes a request on each, says so, and holds them until the input ends.
    Hold { connections: usize, protocol: String },
}

/// Carries an order out.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let Arguments { https, what } =
        Arguments::parse_from(std::iter::once(OsString::from(crate::VISITOR)).chain(arguments));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match what {
            What::Handshakes { seconds } => {
                let outcome = handshakes(https, Duration::from_secs(seconds)).await?;
                println!("{}", serde_json::to_string(&outcome)?);
            }
            What::Hold { connections, protocol } => hold(https, connections, protocol == "h2").await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn handshakes(https: SocketAddr, time: Duration) -> Result<Outcome> {
    let (config, ends) = (careless::config(Some("http/1.1"))?, Instant::now() + time);
    let outcomes = Arc::new(Mutex::new((Vec::new(), 0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (config, outcomes) = (Arc::clone(&config), Arc::clone(&outcomes));
            tokio::spawn(async move {
                while Instant::now() < ends {
                    let began = Instant::now();
                    let status = visit(&config, https, "/1k").await;
                    let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    match status {
                        Ok(200) => outcomes.0.push(began.elapsed()),
                        _ => outcomes.1 += 1,
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await?;
    }
    let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
    let (took, failed) = &mut *outcomes;
    took.sort_unstable();
    let at = |percent: usize| took.get((took.len() * percent).div_ceil(100).saturating_sub(1));
    let millis = |time: &Duration| time.as_secs_f64() * 1e3;
    let (p50, p99) = (at(50).map(millis), at(99).map(millis));
    Ok(Outcome { succeeded: took.len() as u64, failed: *failed, failures: None, p50, p99 })
}

async fn hold(address: SocketAddr, count: usize, http2: bool) -> Result<()> {
    raise_file_limit()?;
    let config = careless::config(Some(if http2 { "h2" } else { "http/1.1" }))?;
    let call = Call::get(&format!("https://{HOST}/1k"));
    let mut connections = Vec::new();
    for _ in 0..count {
        let stream = sources::connect(address, None).await?;
        let stream = TlsConnector::from(Arc::clone(&config)).connect(ServerName::try_from(HOST)?, stream).await?;
        let mut connection = Connection::open(stream, http2).await?;
        let reply = Reply::read(connection.send(&call).await?).await?;
        ensure(reply.status == 200, || format!("answered {}", reply.status))?;
        connections.push(connection);
    }
    let open = || connections.iter().filter(|connection| connection.is_open()).count();
    println!("{}", json!({"open": open()}));
    let mut lines = String::new();
    tokio::io::stdin().read_to_string(&mut lines).await?;
    Ok(())
}
