//! Requests at a steady rate, in a process of their own.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use postern_tests::client::raw::RawConnection;
use postern_tests::client::sources;
use postern_tests::cluster::numbered_service;
use postern_tests::{Result, ensure};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_rustls::TlsConnector;

use crate::careless;

/// Connections, each to a service of its own.
const CONNECTIONS: u32 = 50;

/// Size of a response.
const BODY: usize = 1024;

/// An order.
#[derive(Clone, Debug, Parser)]
pub(super) struct Arguments {
    https: SocketAddr,
    rate: u32,
    seconds: u32,
}

/// Times in milliseconds, from when a request was due.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Makes requests and prints their times. A request that fails is an error.
pub(super) fn main(arguments: &Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(make(arguments))?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(ExitCode::SUCCESS)
}

async fn make(arguments: &Arguments) -> Result<Outcome> {
    let between = Duration::from_secs(1) * CONNECTIONS / arguments.rate.max(1);
    let config = careless::config(Some("http/1.1"))?;
    let began = Instant::now() + Duration::from_secs(1);
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (https, connector) = (arguments.https, TlsConnector::from(Arc::clone(&config)));
        let first = began + between * number / CONNECTIONS;
        let count = arguments.rate * arguments.seconds / CONNECTIONS;
        clients.spawn(async move {
            let host = numbered_service(number as usize, &[]).external_host();
            let stream = sources::connect(https, None).await?;
            let stream = connector.connect(ServerName::try_from(host.clone())?, stream).await?;
            let mut connection = RawConnection::over(stream);
            let request = format!("GET /-/bytes/{BODY} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let mut ticks = interval_at(first, between);
            // A request that was held up holds up those behind it, which then count as late.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut took = Vec::new();
            for _ in 0..count {
                let due = ticks.tick().await;
                connection.send(&request).await?;
                let status = connection.status().await?;
                ensure(status == 200, || format!("{host} answered {status}"))?;
                connection.body(BODY).await?;
                took.push(due.elapsed());
            }
            Result::<_>::Ok(took)
        });
    }
    let mut all = Vec::new();
    while let Some(client) = clients.join_next().await {
        all.extend(client??);
    }
    all.sort_unstable();
    let at = |percent: usize| {
        let rank = (all.len() * percent).div_ceil(100).saturating_sub(1);
        all.get(rank).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
    };
    Ok(Outcome { p50: at(50), p99: at(99) })
}
