//! Memory and CPU per idle connection.

use postern_tests::backend::Backend;
use postern_tests::client::{Call, Connection, Reply, TlsClient};
use postern_tests::gateway::Gateway;
use postern_tests::{Result, ensure};

use crate::fleet::{Fleet, host};
use crate::raise_file_limit;
use crate::report::Report;
use crate::run::{at_rest, idle_rate, start_with};

/// Connections before those that are counted: they touch what code and tables there are.
const FIRST: usize = 100;

/// Nothing is closed for idling while it is measured.
const PATIENT: [&str; 2] = ["--keepalive-timeout", "30m"];

/// Measures with each of these numbers of connections.
pub(crate) async fn measure(counts: &[usize], repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "idle",
        format!(
            "RSS of the gateway at rest with N + {FIRST} idle connections over TLS 1.3, each after one request, less that with \
             {FIRST}, by N; CPU time to make each (handshake and request), and while all idle. Wanted: HTTP/1.1 at most 14 KiB, \
             HTTP/2 at most 32 KiB"
        ),
    );
    raise_file_limit()?;
    let backend = Backend::http1("idle").await?;
    let fleet = Fleet::write(1, Some(backend.address()))?;
    let tls = fleet.client()?;
    for &count in counts {
        for _ in 0..repeat {
            for (name, http2) in [("HTTP/1.1", false), ("HTTP/2", true)] {
                let gateway = start_with(fleet.path(), "8MiB", &PATIENT.map(str::to_owned)).await?.gateway;
                let mut sample =
                    |what: &str, unit, value| report.sample(format!("{count} of {name}: {what}"), unit, value);
                let first = open(&gateway, &tls, FIRST, http2).await?;
                let before = at_rest(&gateway).await?;
                let heap_before = heap(&gateway).await?;
                let connections = open(&gateway, &tls, count, http2).await.map_err(|error| gateway.explain(error))?;
                let opened = gateway.usage()?;
                let after = at_rest(&gateway).await?;
                let heap = heap(&gateway).await? - heap_before;
                ensure(first.iter().chain(&connections).all(Connection::is_open), || "not all are open".to_owned())?;
                let grown = after.rss.saturating_sub(before.rss) as f64;
                sample("RSS per connection", "KiB", grown / 1_024.0 / count as f64);
                sample("of it allocated", "KiB", heap / 1_024.0 / count as f64);
                sample("CPU to make one", "µs", opened.cpu_since(&before).as_secs_f64() * 1e6 / count as f64);
                sample("CPU per second while all idle", "ms", idle_rate(&gateway).await? * 1e3);
            }
        }
    }
    Ok(report)
}

/// Opens connections, one after the other, and makes a request on each.
async fn open(gateway: &Gateway, tls: &TlsClient, count: usize, http2: bool) -> Result<Vec<Connection>> {
    let call = Call::get(&format!("https://{}/-/bytes/1024", host(0)));
    let call = if http2 { call.http2() } else { call };
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = call.connect(gateway, tls).await?;
        let reply = Reply::read(connection.send(&call).await?).await?;
        ensure(reply.status == 200, || format!("answered {}", reply.status))?;
        connections.push(connection);
    }
    Ok(connections)
}

/// Bytes that are allocated, as far as the gateway's allocator says so.
async fn heap(gateway: &Gateway) -> Result<f64> {
    Ok(gateway.metrics().await?.sum("postern_memory_allocated_bytes"))
}
