//! Whether a run has held what is promised, and by what figures.

use std::time::Duration;

use serde::Serialize;

use crate::arguments::{Arguments, Part};
use crate::order::{Count, Failure};
use crate::run::Run;
use crate::sample::Sample;
use crate::script::warm_up;

mod burst;
mod line;
mod refusals;

pub(crate) use burst::Burst;
use line::Line;
pub(crate) use refusals::Refusals;

/// After the warm-up the working set may grow by this share of the limit until the end, as the line through all samples
/// says,
const GROWTH: f64 = 0.03;

/// or by this, if it is more: what an allocator keeps or gives back by chance, in bytes.
const LEAST_GROWTH: f64 = 6.0 * MIB;

const MIB: f64 = 1_048_576.0;

/// What held and what not.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) passed: bool,
    pub(crate) checks: Vec<Check>,
    pub(crate) figures: Figures,
    pub(crate) refusals: Refusals,
    pub(crate) bursts: Vec<Burst>,
}

/// One thing that was to hold.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) passed: bool,
    pub(crate) seen: String,
}

/// Figures of a run; memory in MiB.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) start_seconds: f64,
    pub(crate) peak_working_set: f64,
    /// The mean of the last tenth.
    pub(crate) end_working_set: f64,
    /// Of the line through the working set without the cache after the warm-up; nothing if there were too few samples.
    pub(crate) slope_per_hour: Option<f64>,
    /// Of handshakes after the warm-up, in percent.
    pub(crate) cache_hits: Option<f64>,
    /// Of the whole run: how many certificates the gateway had to load for handshakes.
    pub(crate) cache_misses: Option<f64>,
    /// Under load, without the start.
    pub(crate) cpu_seconds: f64,
}

impl Verdict {
    /// Judges a run.
    pub(crate) fn of(arguments: &Arguments, run: &Run) -> Self {
        let bursts: Vec<_> = run.events.iter().filter_map(|event| Burst::of(event, &run.series)).collect();
        let refusals = Refusals::of(run);
        let mut checks = checks(arguments, run);
        checks.extend(refusals.checks());
        if arguments.only == Some(Part::Burst) {
            checks.extend(burst::checks(&bursts));
        } else {
            checks.push(flat(arguments, run));
        }
        let passed = checks.iter().all(|check| check.passed);
        Self { passed, checks, figures: figures(arguments, run), refusals, bursts }
    }
}

impl Check {
    fn new(name: &'static str, passed: bool, seen: impl Into<String>) -> Self {
        Self { name, passed, seen: seen.into() }
    }
}

fn checks(arguments: &Arguments, run: &Run) -> Vec<Check> {
    let none = |name, failure| {
        let (failed, refused) = (run.ledger.failed(failure), run.ledger.refused(failure).all());
        let refused = if refused > 0 { format!("; {refused} more were refused as declared") } else { String::new() };
        Check::new(name, failed == 0, format!("{failed}{refused}"))
    };
    let peak = highest(&run.series);
    let limit = arguments.limit;
    let handshakes = run.totals.count(Count::FullHandshakes) + run.totals.count(Count::ResumedHandshakes);
    let short = run.totals.count(Count::OutOfFiles);
    let not_made = format!("{short} connections could not be made; the load needs more open files (ulimit -n)");
    vec![
        Check::new("no OOM kill", run.oom_kills == 0, format!("{} kills", run.oom_kills)),
        Check::new("alive to the end", run.ended.is_none(), run.ended.as_deref().unwrap_or("yes")),
        Check::new("below the limit", peak < limit, format!("{:.1} of {:.1} MiB", mebibytes(peak), mebibytes(limit))),
        Check::new("ran for its time", run.broken_off.is_none(), run.broken_off.as_deref().unwrap_or("yes")),
        Check::new("there was load", handshakes > 0, format!("{handshakes} handshakes")),
        Check::new("the load had files", short == 0, if short == 0 { "yes".to_owned() } else { not_made }),
        none("no failed handshake", Failure::Handshake),
        none("no wrong certificate", Failure::WrongCertificate),
        none("no outdated certificate", Failure::StaleCertificate),
        none("no 5xx", Failure::ServerError),
        none("no broken request", Failure::Request),
        none("no broken WebSocket", Failure::WebSocket),
    ]
}

/// Whether the working set is flat after the warm-up.
fn flat(arguments: &Arguments, run: &Run) -> Check {
    let name = "memory flat";
    let Some(line) = line_after(warm_up(arguments.duration), &run.series) else {
        return Check::new(name, false, "too few samples");
    };
    let grown = line.slope * line.length;
    let tolerated = (GROWTH * arguments.limit as f64).max(LEAST_GROWTH);
    let seen = format!(
        "{:+.2} MiB besides the cache in {:.0} s after the warm-up ({:+.1} MiB an hour); at most {:+.1} is tolerated",
        grown / MIB,
        line.length,
        line.slope * 3_600.0 / MIB,
        tolerated / MIB,
    );
    Check::new(name, grown <= tolerated, seen)
}

/// Through the working set without what the cache says that it holds: a cache that fills up to its budget is no leak.
fn line_after(warm_up: Duration, series: &[Sample]) -> Option<Line> {
    let has_cache = series.iter().any(|sample| sample.gateway.is_some());
    let after = series.iter().filter(|sample| sample.at >= warm_up.as_secs_f64());
    Line::through(after.filter_map(|sample| {
        let cached = if has_cache { sample.gateway?.cache_bytes } else { 0.0 };
        Some((sample.at, sample.working_set as f64 - cached))
    }))
}

fn figures(arguments: &Arguments, run: &Run) -> Figures {
    let warm_up = warm_up(arguments.duration);
    let series = &run.series;
    let tail = &series[series.len() - series.len().div_ceil(10)..];
    let first = series.iter().find(|sample| sample.at >= warm_up.as_secs_f64());
    let hits = first.zip(series.last()).and_then(|(first, last)| last.hit_ratio(first));
    Figures {
        start_seconds: run.start_seconds,
        peak_working_set: mebibytes(highest(series)),
        end_working_set: mean(tail),
        slope_per_hour: line_after(warm_up, series).map(|line| line.slope * 3_600.0 / MIB),
        cache_hits: hits.map(|ratio| 100.0 * ratio),
        cache_misses: series.iter().rev().find_map(|sample| Some(sample.gateway?.misses)),
        cpu_seconds: series.last().map_or(0.0, |sample| sample.cpu),
    }
}

/// The highest working set, between samples too, in bytes.
fn highest(series: &[Sample]) -> u64 {
    series.iter().map(|sample| sample.peak.max(sample.working_set)).max().unwrap_or_default()
}

/// The mean working set in MiB.
fn mean(series: &[Sample]) -> f64 {
    let sum: u64 = series.iter().map(|sample| sample.working_set).sum();
    mebibytes(sum) / series.len().max(1) as f64
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::order::{Sign, Tick, Trouble};
    use crate::scrape::Scrape;

    fn arguments() -> Arguments {
        Arguments::parse_from(["soak", "--duration", "100s", "--limit", "100MiB"])
    }

    /// A run of 100 seconds whose working set grows by so much a second from 50 MiB on.
    fn run(growth: f64) -> Run {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few MiB")]
        let sample = |second: u32| Sample {
            at: f64::from(second),
            working_set: (MIB * (50.0 + growth * f64::from(second))) as u64,
            cpu: f64::from(second) * 0.1,
            ..Sample::default()
        };
        let mut totals = Tick::default();
        totals.counts.insert(Count::FullHandshakes, 1);
        Run { start_seconds: 1.0, series: (0..100).map(sample).collect(), totals, ..Run::of("Postern") }
    }

    fn failed(run: &Run) -> Vec<&'static str> {
        Verdict::of(&arguments(), run).checks.iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }

    #[test]
    fn a_run_in_which_nothing_failed_passes() {
        assert!(failed(&run(0.0)).is_empty());
    }

    #[test]
    fn memory_that_grows_fails_and_memory_that_shrinks_does_not() {
        assert_eq!(failed(&run(0.2)), ["memory flat"]);
        assert!(failed(&run(-0.2)).is_empty());
    }

    #[test]
    fn a_cache_that_fills_is_no_growth() {
        let mut filling = run(0.2);
        for sample in &mut filling.series {
            let cache_bytes = MIB * 0.2 * sample.at;
            sample.gateway = Some(Scrape { cache_bytes, ..Scrape::default() });
        }
        assert!(failed(&filling).is_empty());
    }

    #[test]
    fn whatever_must_not_be_fails_a_run() {
        let mut killed = run(0.0);
        (killed.oom_kills, killed.ended) = (1, Some("signal: 9 (SIGKILL) after 7 s".to_owned()));
        assert_eq!(failed(&killed), ["no OOM kill", "alive to the end"]);
        let failures = [
            (Failure::Handshake, "no failed handshake"),
            (Failure::WrongCertificate, "no wrong certificate"),
            (Failure::StaleCertificate, "no outdated certificate"),
            (Failure::ServerError, "no 5xx"),
            (Failure::Request, "no broken request"),
            (Failure::WebSocket, "no broken WebSocket"),
        ];
        for (failure, name) in failures {
            let mut run = run(0.0);
            hear(&mut run, failure, 1);
            assert_eq!(failed(&run), [name]);
        }
        let mut short = run(0.0);
        short.totals.counts.insert(Count::OutOfFiles, 1);
        assert_eq!(failed(&short), ["the load had files"]);
        let mut interrupted = run(0.0);
        interrupted.broken_off = Some("interrupted after 3 s".to_owned());
        assert_eq!(failed(&interrupted), ["ran for its time"]);
    }

    /// In the middle of the run, as connections that were closed.
    fn hear(run: &mut Run, failure: Failure, count: u64) {
        let trouble = Trouble { failure, sign: Sign::Closed, millis_ago: 0, count, words: None };
        run.ledger.hear(50.0, &Tick { troubles: vec![trouble], ..Tick::default() });
        run.ledger.close(&mut run.series);
    }

    #[test]
    fn what_the_gateway_declared_is_refused_and_does_not_fail_a_run() {
        let mut refusing = run(0.0);
        for sample in &mut refusing.series {
            let during = (48.0..52.0).contains(&sample.at);
            let refused_connections = if sample.at < 48.0 { 0.0 } else { 1.0 };
            let overload_stage = if during { 3.0 } else { 0.0 };
            sample.gateway = Some(Scrape { overload_stage, refused_connections, ..Scrape::default() });
            sample.full.count = 10;
        }
        hear(&mut refusing, Failure::Handshake, 1);
        let verdict = Verdict::of(&arguments(), &refusing);
        assert!(verdict.passed, "{verdict:#?}");
        let handshakes = verdict.checks.iter().find(|check| check.name == "no failed handshake").unwrap();
        assert_eq!(handshakes.seen, "0; 1 more were refused as declared");
    }

    #[test]
    fn a_run_without_load_proves_nothing() {
        let mut run = run(0.0);
        run.totals = Tick::default();
        assert_eq!(failed(&run), ["there was load"]);
    }
}
