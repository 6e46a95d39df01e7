//! Memory per service.

use postern_tests::Result;

use crate::fleet::Fleet;
use crate::report::Report;
use crate::run::{at_rest, start};

/// Measures with each of these numbers of services.
pub(crate) async fn measure(counts: &[usize], repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "services",
        "RSS of the gateway with N services less its RSS with none, per service; 3 cluster-local hosts and 1 external \
         host with a TLS Secret of its own each, no certificate loaded. Wanted: at most 1.5 KiB, aim 1.2",
    );
    let none = Fleet::write(0, None)?;
    for &count in counts {
        let fleet = Fleet::write(count, None)?;
        for _ in 0..repeat {
            let empty = at_rest(&start(none.path(), "8MiB").await?.gateway).await?;
            let started = start(fleet.path(), "8MiB").await?;
            let full = at_rest(&started.gateway).await?;
            let per_service = |bytes: u64| bytes.saturating_sub(empty.rss) as f64 / 1_024.0 / count as f64;
            let mut sample = |name: &str, unit, value| report.sample(format!("{count} services: {name}"), unit, value);
            sample("RSS per service, at rest", "KiB", per_service(full.rss));
            sample("RSS per service, when ready", "KiB", per_service(started.usage.rss));
            sample("RSS per service, at the peak", "KiB", per_service(full.peak_rss));
            sample("RSS with no service", "MiB", empty.rss as f64 / f64::from(1 << 20));
            sample("start until ready", "s", started.seconds);
            sample("CPU until ready", "s", started.usage.cpu.as_secs_f64());
        }
    }
    Ok(report)
}
