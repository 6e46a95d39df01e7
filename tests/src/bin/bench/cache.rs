//! Whether memory follows the budget for certificates.

use postern_tests::ca::KeyKind;
use postern_tests::gateway::Gateway;
use postern_tests::{Result, ensure};

use crate::fleet::{Fleet, host};
use crate::load::{EXAMPLE, shake_all};
use crate::report::Report;
use crate::run::{at_rest, start};

/// Beyond what fills a cache, so that its bound is reached: a tenth.
const BEYOND: f64 = 1.1;

/// A cache is full when this share of its budget is used; a part of it is kept free for loads under way.
const FULL: f64 = 0.8;

/// Measures with each of these budgets in MiB.
pub(crate) async fn measure(budgets: &[usize], kind: KeyKind, repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "cache",
        format!(
            "RSS of a gateway at rest whose cache is full, less that before with {EXAMPLE} certificates loaded, plus \
             the weight of these, divided by the budget; {kind:?} leaves without intermediates, each name asked for once, a tenth more than fit. Wanted: 0.8 to 1.15"
        ),
    );
    let weight = weight(kind).await?;
    report.sample("weight of a certificate", "KiB", weight / 1_024.0);
    for &budget in budgets {
        let bytes = budget as f64 * f64::from(1 << 20);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ten thousands")]
        let count = (bytes / weight * BEYOND) as usize + EXAMPLE;
        let fleet = Fleet::write_with(count, None, kind)?;
        for _ in 0..repeat {
            let gateway = start(fleet.path(), &format!("{budget}MiB")).await?.gateway;
            let measured = fill(&fleet, &gateway, count).await.map_err(|error| gateway.explain(error))?;
            let mut sample = |name: &str, unit, value| report.sample(format!("{budget} MiB: {name}"), unit, value);
            // Those that were loaded before have their part of the budget too.
            sample("growth of RSS / budget", "x", (measured.grown + EXAMPLE as f64 * weight) / bytes);
            sample("weighed / budget", "x", measured.weighed / bytes);
            sample("certificates held", "", measured.entries);
            ensure(measured.weighed >= FULL * bytes, || {
                format!("only {} bytes of {bytes} are used", measured.weighed)
            })?;
        }
    }
    Ok(report)
}

/// What a full cache takes.
struct Full {
    grown: f64,
    weighed: f64,
    entries: f64,
}

/// Fills the cache.
async fn fill(fleet: &Fleet, gateway: &Gateway, count: usize) -> Result<Full> {
    // The first handshakes touch code and tables, which the budget is not for.
    shake_all(gateway, &fleet.client()?, 0..EXAMPLE).await?;
    let before = at_rest(gateway).await?.rss;
    shake_all(gateway, &fleet.client()?, EXAMPLE..count).await?;
    let after = at_rest(gateway).await?.rss;
    let metrics = gateway.metrics().await?;
    Ok(Full {
        grown: after.saturating_sub(before) as f64,
        weighed: metrics.sum("postern_certstore_bytes"),
        entries: metrics.sum("postern_certstore_entries"),
    })
}

/// What one certificate is weighed with, in bytes.
async fn weight(kind: KeyKind) -> Result<f64> {
    let fleet = Fleet::write_with(EXAMPLE, None, kind)?;
    let gateway = start(fleet.path(), "32MiB").await?.gateway;
    shake_all(&gateway, &fleet.client()?, 0..EXAMPLE).await?;
    let metrics = gateway.metrics().await?;
    let entries = metrics.sum("postern_certstore_entries");
    ensure(entries > 0.0, || format!("no certificate is cached after handshakes with {}", host(0)))?;
    Ok(metrics.sum("postern_certstore_bytes") / entries)
}
