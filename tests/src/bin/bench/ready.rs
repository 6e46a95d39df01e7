//! What a start on a cluster takes.

use postern_tests::Result;

use crate::cluster::Cluster;
use crate::report::Report;
use crate::run::{at_rest, start_on};

/// Measures with each of these numbers of services.
pub(crate) async fn measure(counts: &[usize], repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "ready",
        "a gateway starts on a simulated cluster of N Knative services (4 hosts, Secret, Service and EndpointSlice each) in a \
         process of its own on the same machine, over TLS, with streamed lists; time from its start to its log line `ready`, CPU \
         time of the gateway until then, its memory. Aim: 10 s and 10 s of CPU for 100,000 services; peak RSS at most 1.3 x \
         the RSS at rest",
    );
    for &count in counts {
        let cluster = Cluster::start(count, None).await?;
        for _ in 0..repeat {
            let started = start_on(&cluster, "8MiB").await?;
            let rest = at_rest(&started.gateway).await?;
            let mut sample = |name: &str, unit, value| report.sample(format!("{count} services: {name}"), unit, value);
            sample("start until ready", "s", started.seconds);
            sample("CPU until ready", "s", started.usage.cpu.as_secs_f64());
            sample("RSS at the peak until ready", "MiB", mebibytes(started.usage.peak_rss));
            sample("RSS at rest", "MiB", mebibytes(rest.rss));
            sample("peak / rest", "x", started.usage.peak_rss as f64 / rest.rss as f64);
        }
    }
    Ok(report)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
