//! Memory per service.

use postern_tests::gateway::Usage;
use postern_tests::{Result, ensure};

use crate::fleet::Fleet;
use crate::report::Report;
use crate::run::{at_rest, start};

/// A gateway with so many services has touched whatever code and tables there are; what it takes beyond that is for
/// services.
const FIRST: usize = 10;

/// Measures with each of these numbers of services.
pub(crate) async fn measure(counts: &[usize], repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "services",
        format!(
            "RSS of the gateway at rest with N services less that with {FIRST}, by the difference; and with N less that with \
             N/2. Each service has 3 cluster-local hosts, 1 external host with a TLS Secret of its own, a Service and an \
             EndpointSlice, in two files; no certificate is loaded. Wanted: at most 1.5 KiB, aim 1.2"
        ),
    );
    let first = Fleet::write(FIRST, None)?;
    for &count in counts {
        ensure(count >= 2 * FIRST, || format!("--count {count}: at least {} are needed", 2 * FIRST))?;
        let half = Fleet::write(count / 2, None)?;
        let all = Fleet::write(count, None)?;
        for _ in 0..repeat {
            let with_first = at_rest(&start(first.path(), "8MiB").await?.gateway).await?;
            let with_half = at_rest(&start(half.path(), "8MiB").await?.gateway).await?;
            let started = start(all.path(), "8MiB").await?;
            let with_all = at_rest(&started.gateway).await?;
            let mut sample = |name: &str, unit, value| report.sample(format!("{count} services: {name}"), unit, value);
            let beyond_first = count.saturating_sub(FIRST);
            sample("RSS per service", "KiB", kibibytes(with_all.rss, with_first.rss) / beyond_first as f64);
            let beyond_half = count - count / 2;
            sample("RSS per service, second half", "KiB", kibibytes(with_all.rss, with_half.rss) / beyond_half as f64);
            // What the kernel holds of the executable comes and goes by a few hundred KiB; services take none of that.
            let anonymous = kibibytes(with_all.anonymous, with_first.anonymous) / beyond_first as f64;
            sample("anonymous RSS per service", "KiB", anonymous);
            for (services, usage) in [(FIRST, &with_first), (count / 2, &with_half), (count, &with_all)] {
                sample(&format!("anonymous RSS with {services}"), "MiB", mebibytes(usage.anonymous));
                sample(&format!("RSS of files with {services}"), "MiB", mebibytes(of_files(usage)));
            }
            sample("RSS at the peak", "MiB", mebibytes(with_all.peak_rss));
            sample("start until ready", "s", started.seconds);
            sample("CPU until ready", "s", started.usage.cpu.as_secs_f64());
        }
    }
    Ok(report)
}

/// What the executable and libraries take.
fn of_files(usage: &Usage) -> u64 {
    usage.rss.saturating_sub(usage.anonymous)
}

fn kibibytes(more: u64, less: u64) -> f64 {
    more.saturating_sub(less) as f64 / 1_024.0
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
