//! What a soak found: a verdict for people, JSON for programs, a page with plots for both.

use std::fmt;
use std::fs;
use std::path::Path;

use postern_tests::Result;
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::order::Quantiles;
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
                "oom_kills": run.oom_kills,
                "counts": run.totals.counts,
                "failures": run.totals.failures,
                "examples": run.examples,
                "handshakes": {"full": run.totals.all_full, "resumed": run.totals.all_resumed},
                "events": run.events,
                "series": run.series,
            })
        });
        json!({"soak": self.arguments, "machine": machine(), "passed": self.passed(), "runs": runs.collect::<Vec<_>>()})
    }

    /// Writes `report.json` and `report.html` into a directory.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
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
            for words in run.examples.iter().take(10) {
                writeln!(f, "  failure at {words}")?;
            }
        }
        Ok(())
    }
}

fn figures(f: &mut fmt::Formatter<'_>, run: &Run, verdict: &Verdict) -> fmt::Result {
    let figures = &verdict.figures;
    writeln!(
        f,
        "  ready after {:.1} s; working set {:.1} MiB at the peak, {:.1} at the end; {:.0} s of CPU",
        figures.start_seconds, figures.peak_working_set, figures.end_working_set, figures.cpu_seconds
    )?;
    if let Some(hits) = figures.cache_hits {
        writeln!(f, "  {hits:.1} % of handshakes found their certificate in the cache")?;
    }
    for (kind, quantiles) in [("full", run.totals.all_full), ("resumed", run.totals.all_resumed)] {
        let Quantiles { count, p50, p99, p999, max, .. } = quantiles;
        writeln!(f, "  {count} {kind} handshakes: p50 {p50:.1}, p99 {p99:.1}, p99.9 {p999:.1}, longest {max:.0} ms")?;
    }
    for burst in &verdict.bursts {
        writeln!(
            f,
            "  {} renewals at {:.0} s: working set {:.1} MiB before, {:.1} at the peak ({:+.1} %), {:.2} ms of CPU each",
            burst.renewals,
            burst.at,
            burst.steady,
            burst.peak,
            100.0 * (burst.peak / burst.steady - 1.0),
            burst.cpu_millis
        )?;
    }
    let counts: Vec<_> = run.totals.counts.iter().map(|(count, number)| format!("{count:?} {number}")).collect();
    writeln!(f, "  {}", counts.join(", "))
}

/// Processors, kernel and how the programs were built.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let build = if cfg!(debug_assertions) { "debug build: figures mean little" } else { "release build" };
    format!("{cores} processors, Linux {}, {build}", kernel.trim())
}
