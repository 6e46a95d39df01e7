//! The table of figures: a column for each run.

use std::fmt::Write;

use crate::order::Quantiles;
use crate::run::Run;
use crate::verdict::Verdict;

use super::MIB;

/// All figures; those of latencies in milliseconds.
pub(super) fn table(runs: &[(Run, Verdict)]) -> String {
    let mut html = String::from("<h2>Figures</h2><table><tr><th></th>");
    html.extend(runs.iter().map(|(run, _)| format!("<th>{}</th>", run.subject)));
    html.push_str("</tr>\n");
    let mut row = |name: &str, figure: &dyn Fn(&Run, &Verdict) -> String| {
        let cells: Vec<_> = runs.iter().map(|(run, verdict)| figure(run, verdict)).collect();
        let cells = cells.join("</td><td class=\"number\">");
        // Writing to a String does not fail.
        let _ = writeln!(html, "<tr><td>{name}</td><td class=\"number\">{cells}</td></tr>");
    };
    row("ready after, s", &|_, verdict| format!("{:.1}", verdict.figures.start_seconds));
    row("working set at the peak, MiB", &|_, verdict| format!("{:.1}", verdict.figures.peak_working_set));
    row("working set at the end, MiB", &|_, verdict| format!("{:.1}", verdict.figures.end_working_set));
    row("CPU under load, s", &|_, verdict| format!("{:.1}", verdict.figures.cpu_seconds));
    row("certificates found in the cache, %", &|_, verdict| optional(verdict.figures.cache_hits, 1));
    row("certificates loaded for a handshake", &|_, verdict| optional(verdict.figures.cache_misses, 0));
    for (kind, name) in
        ["full handshakes", "of these: cached", "of these: loaded", "resumed handshakes"].iter().enumerate()
    {
        row(name, &|run, verdict| {
            // Who does not count misses has no cache.
            let has_kind = !name.starts_with("of these") || verdict.figures.cache_misses.is_some();
            if has_kind { latencies(run.totals.all.kinds()[kind].1) } else { "–".to_owned() }
        });
    }
    row("failures", &|run, _| run.ledger.failures().to_string());
    row("refused as declared", &|_, verdict| verdict.refusals.refused.all().to_string());
    row("of all that was tried, %", &|_, verdict| format!("{:.2}", 100.0 * verdict.refusals.share));
    row("outside of attacks, %", &|_, verdict| format!("{:.2}", 100.0 * verdict.refusals.share_outside_attacks));
    row("without a certificate in outages", &|_, verdict| verdict.refusals.in_outages.to_string());
    row("memory plan at the end, MiB", &|run, _| plan(run));
    html.push_str("</table>\n<p>Latencies are those of the client, from connecting on. The gateway does not say which handshake \
        had to load its certificate: “loaded” are the first visits to a service, for certain; “cached” are those within five \
        seconds of another visit to the same, which only a cache that is far too small has lost by then. The others are neither.</p>\n");
    html
}

fn optional(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.digits$}"))
}

fn latencies(Quantiles { count, p50, p99, p999, max, .. }: Quantiles) -> String {
    format!("{count}: p50 {p50:.1}, p99 {p99:.1}, p99.9 {p999:.1}, longest {max:.0} ms")
}

fn plan(run: &Run) -> String {
    let Some(scrape) = run.series.iter().rev().find_map(|sample| sample.gateway) else { return "–".to_owned() };
    let mebibytes = |bytes: f64| format!("{:.1}", bytes / MIB);
    let plan = scrape.plan;
    format!(
        "{} fixed, {} routes, {} certificates, {} connections, {} headroom",
        mebibytes(plan.fixed),
        mebibytes(plan.routes),
        mebibytes(plan.certificates),
        mebibytes(plan.connections),
        mebibytes(plan.headroom)
    )
}
