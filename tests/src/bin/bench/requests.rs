//! CPU time per proxied request.

use http_body_util::BodyExt;
use postern_tests::backend::Backend;
use postern_tests::client::{Call, Connection};
use postern_tests::gateway::Gateway;
use postern_tests::{Result, ensure};
use tokio::task::JoinSet;

use crate::fleet::{Fleet, host};
use crate::report::Report;
use crate::run::start;

/// Connections at the same time, each with one request after the other.
const CONNECTIONS: usize = 8;

/// Requests for one sample.
const REQUESTS: usize = 16_000;

/// Size of an answer.
const BODY: usize = 1_024;

/// Measures HTTP/1.1 and HTTP/2.
pub(crate) async fn measure(repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "requests",
        format!(
            "CPU time of the gateway per GET with an answer of {BODY} bytes over TLS 1.3, {CONNECTIONS} kept-alive connections \
             with one request at a time, HTTP/1.1 to the backend"
        ),
    );
    let backend = Backend::http1("bench").await?;
    let fleet = Fleet::write(1, Some(backend.address()))?;
    let gateway = start(fleet.path(), "8MiB").await?.gateway;
    let call = Call::get(&format!("https://{}/-/bytes/{BODY}", host(0)));
    for _ in 0..repeat {
        let explain = |error| gateway.explain(error);
        report.sample("HTTP/1.1", "µs", cpu(&gateway, &fleet, call.clone()).await.map_err(explain)?);
        report.sample("HTTP/2", "µs", cpu(&gateway, &fleet, call.clone().http2()).await.map_err(explain)?);
    }
    Ok(report)
}

/// CPU microseconds per request, over many.
async fn cpu(gateway: &Gateway, fleet: &Fleet, call: Call) -> Result<f64> {
    let client = fleet.client()?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = call.connect(gateway, &client).await?;
        // The first requests open connections to the backend and warm up both sides.
        exchange(&mut connection, &call, 50).await?;
        connections.push(connection);
    }
    let before = gateway.usage()?;
    let mut clients = JoinSet::new();
    for mut connection in connections {
        let call = call.clone();
        clients.spawn(async move { exchange(&mut connection, &call, REQUESTS / CONNECTIONS).await });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    Ok(gateway.usage()?.cpu_since(&before).as_secs_f64() * 1e6 / REQUESTS as f64)
}

async fn exchange(connection: &mut Connection, call: &Call, count: usize) -> Result<()> {
    for _ in 0..count {
        let response = connection.send(call).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure(status == 200 && body.len() == BODY, || format!("answered {status} with {} bytes", body.len()))?;
    }
    Ok(())
}
