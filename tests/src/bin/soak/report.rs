//! What a soak found: a verdict for people, JSON for programs, a page with plots for both.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use postern_tests::Result;
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::order::{Failure, Quantiles};
use crate::run::Run;
use crate::verdict::Verdict;

mod page;
mod plot;

/// Runs with their verdicts.
#[derive(Debug)]
pub(crate) struct Report {
    arguments: Arguments,
    runs: Vec<(Run, Verdict)>,
}

impl Report {
    /// Judges the runs.
    pub(crate) fn new(arguments: &Arguments, runs: Vec<Run>) -> Self {
        let judged = runs.into_iter().map(|run| {
            let verdict = Verdict::of(arguments, &run);
            (run, verdict)
        });
        Self { runs: judged.collect(), arguments: arguments.clone() }
    }

    /// Whether the gateway has held everything; what a peer did decides nothing.
    pub(crate) fn passed(&self) -> bool {
        self.runs.first().is_some_and(|(_, verdict)| verdict.passed)
    }

    /// Everything, for programs.
    pub(crate) fn to_json(&self) -> Value {
        let runs = self.runs.iter().map(|(run, verdict)| {
            json!({
                "subject": run.subject,
                "verdict": verdict,
                "limit_not_enforced": run.not_enforced,
                "ended": run.ended,
                "broken_off": run.broken_off,
                "oom_kills": run.oom_kills,
                "counts": run.totals.counts,
                "failures": by_kind(|failure| run.ledger.failed(failure)),
                "refused": by_kind(|failure| run.ledger.refused(failure).all()),
                "examples": run.ledger.examples,
                "refusals": run.ledger.refusals,
                "handshakes": run.totals.all,
                "events": run.events,
                "series": run.series,
            })
        });
        json!({"soak": self.arguments, "machine": machine(), "passed": self.passed(), "runs": runs.collect::<Vec<_>>()})
    }

    /// Makes the directory for [`Self::write`].
    pub(crate) fn prepare(directory: &Path) -> Result<()> {
        Ok(fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?)
    }

    /// Writes `report.json` and `report.html` into a directory.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        write("report.json", format!("{:#}\n", self.to_json()))?;
        write("report.html", page::page(&self.arguments, &self.runs))?;
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{} services, seed {}, on {}", self.arguments.services, self.arguments.seed, machine())?;
        for (run, verdict) in &self.runs {
            writeln!(f, "\n{}: {}", run.subject, if verdict.passed { "passed" } else { "FAILED" })?;
            for check in &verdict.checks {
                writeln!(f, "  {:6} {}: {}", if check.passed { "ok" } else { "FAILED" }, check.name, check.seen)?;
            }
            figures(f, run, verdict)?;
            for words in run.ledger.examples.iter().take(10) {
                writeln!(f, "  failure at {words}")?;
            }
            for words in run.ledger.refusals.iter().take(3) {
                writeln!(f, "  refused as declared at {words}")?;
            }
        }
        Ok(())
    }
}

fn figures(f: &mut fmt::Formatter<'_>, run: &Run, verdict: &Verdict) -> fmt::Result {
    let figures = &verdict.figures;
    writeln!(
        f,
        "  ready after {:.1} s; working set {:.1} MiB at the peak, {:.1} at the end; {:.1} s of CPU under load",
        figures.start_seconds, figures.peak_working_set, figures.end_working_set, figures.cpu_seconds
    )?;
    if let Some(hits) = figures.cache_hits {
        writeln!(f, "  {hits:.1} % of handshakes found their certificate in the cache")?;
    }
    for (kind, quantiles) in run.totals.all.kinds() {
        let Quantiles { count, p50, p99, p999, max, .. } = quantiles;
        if count > 0 {
            writeln!(
                f,
                "  {count} handshakes, {kind}: p50 {p50:.1}, p99 {p99:.1}, p99.9 {p999:.1}, longest {max:.0} ms"
            )?;
        }
    }
    if let Some(words) = misses(run, verdict) {
        writeln!(f, "  {words}")?;
    }
    for burst in &verdict.bursts {
        writeln!(
            f,
            "  {} renewals at {:.0} s{}: working set {:.1} MiB before, {:.1} at the peak ({:+.1} %)",
            burst.renewals,
            burst.at,
            burst.cached.map_or(String::new(), |cached| format!(", {:.0} % of them cached", 100.0 * cached)),
            burst.steady,
            burst.peak,
            100.0 * burst.above(),
        )?;
    }
    let counts: Vec<_> = run.totals.counts.iter().map(|(count, number)| format!("{count:?} {number}")).collect();
    writeln!(f, "  {}", counts.join(", "))
}

/// How exact hits and misses are, which the load infers from its own visits.
fn misses(run: &Run, verdict: &Verdict) -> Option<String> {
    let (counted, seen) = (verdict.figures.cache_misses?, run.totals.all.miss.count);
    Some(format!(
        "loaded are first visits to a service, {seen} of the {counted} misses that the gateway has counted; cached are those \
         within 5 s of another; the rest is neither"
    ))
}

/// Kinds of failures with how often each was.
fn by_kind(count: impl Fn(Failure) -> u64) -> BTreeMap<Failure, u64> {
    Failure::ALL.into_iter().map(|failure| (failure, count(failure))).filter(|(_, count)| *count > 0).collect()
}

/// Processors, kernel and how the programs were built.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let build = if cfg!(debug_assertions) { "debug build: figures mean little" } else { "release build" };
    format!("{cores} processors, Linux {}, {build}", kernel.trim())
}
