//! Whether a run has held what is promised, and by what figures.

use std::time::Duration;

use serde::Serialize;

use crate::arguments::{Arguments, Part};
use crate::order::{Count, Failure};
use crate::run::Run;
use crate::sample::Sample;
use crate::script::{Happened, warm_up};

mod line;

use line::Line;

/// After the warm-up the working set may grow by this share of the limit until the end, as the line through all samples
/// says,
const GROWTH: f64 = 0.03;

/// or by this, if it is more: what an allocator keeps or gives back by chance, in bytes.
const LEAST_GROWTH: f64 = 6.0 * MIB;

/// A burst is over for memory and CPU so long after its last renewal, in seconds.
const AFTER_BURST: f64 = 5.0;

const MIB: f64 = 1_048_576.0;

/// What held and what not.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) passed: bool,
    pub(crate) checks: Vec<Check>,
    pub(crate) figures: Figures,
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
    pub(crate) cpu_seconds: f64,
}

/// What renewing many certificates at once cost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Burst {
    pub(crate) at: f64,
    pub(crate) renewals: usize,
    /// MiB in the seconds before.
    pub(crate) steady: f64,
    /// MiB until a few seconds after.
    pub(crate) peak: f64,
    /// Milliseconds of the gateway's CPU for one renewal, what it used before taken off. Means something only without other
    /// load.
    pub(crate) cpu_millis: f64,
}

impl Verdict {
    /// Judges a run.
    pub(crate) fn of(arguments: &Arguments, run: &Run) -> Self {
        let checks = checks(arguments, run);
        let bursts = run.events.iter().filter_map(|event| Burst::of(event, &run.series)).collect();
        Self { passed: checks.iter().all(|check| check.passed), checks, figures: figures(arguments, run), bursts }
    }
}

fn checks(arguments: &Arguments, run: &Run) -> Vec<Check> {
    let check = |name, passed, seen: String| Check { name, passed, seen };
    let none = |name, failure| {
        let count = run.totals.failed(failure);
        check(name, count == 0, count.to_string())
    };
    let peak = run.series.iter().map(|sample| sample.working_set).max().unwrap_or_default();
    let limit = arguments.limit;
    let handshakes = run.totals.count(Count::FullHandshakes) + run.totals.count(Count::ResumedHandshakes);
    let mut checks = vec![
        check("no OOM kill", run.oom_kills == 0, format!("{} kills", run.oom_kills)),
        check("alive to the end", run.ended.is_none(), run.ended.clone().unwrap_or_else(|| "yes".to_owned())),
        check("below the limit", peak < limit, format!("{:.1} of {:.1} MiB", peak as f64 / MIB, limit as f64 / MIB)),
        check("ran for its time", !run.interrupted, if run.interrupted { "interrupted" } else { "yes" }.to_owned()),
        check("there was load", handshakes > 0, format!("{handshakes} handshakes")),
        none("no failed handshake", Failure::Handshake),
        none("no wrong certificate", Failure::WrongCertificate),
        none("no outdated certificate", Failure::StaleCertificate),
        none("no 5xx", Failure::ServerError),
        none("no broken request", Failure::Request),
        none("no broken WebSocket", Failure::WebSocket),
    ];
    if arguments.only != Some(Part::Burst) {
        checks.push(flat(arguments, run));
    }
    checks
}

/// Whether the working set is flat after the warm-up.
fn flat(arguments: &Arguments, run: &Run) -> Check {
    let name = "memory flat";
    let Some(line) = line_after(warm_up(arguments.duration), &run.series) else {
        return Check { name, passed: false, seen: "too few samples".to_owned() };
    };
    let grown = line.slope * line.length;
    let tolerated = (GROWTH * arguments.limit as f64).max(LEAST_GROWTH);
    Check {
        name,
        passed: grown <= tolerated,
        seen: format!(
            "{:+.2} MiB besides the cache in {:.0} s after the warm-up ({:+.1} MiB an hour); at most {:+.1} is tolerated",
            grown / MIB,
            line.length,
            line.slope * 3_600.0 / MIB,
            tolerated / MIB,
        ),
    }
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
        peak_working_set: series.iter().map(|sample| sample.working_set).max().unwrap_or_default() as f64 / MIB,
        end_working_set: mean(tail),
        slope_per_hour: line_after(warm_up, series).map(|line| line.slope * 3_600.0 / MIB),
        cache_hits: hits.map(|ratio| 100.0 * ratio),
        cpu_seconds: series.last().map_or(0.0, |sample| sample.cpu),
    }
}

/// The mean working set in MiB.
fn mean(series: &[Sample]) -> f64 {
    series.iter().map(|sample| sample.working_set as f64).sum::<f64>() / MIB / series.len().max(1) as f64
}

impl Burst {
    /// What an event cost, if it was a burst and there are samples before and after it.
    fn of(event: &Happened, series: &[Sample]) -> Option<Self> {
        let between = |from: f64, to: f64| -> Vec<Sample> {
            series.iter().filter(|sample| from <= sample.at && sample.at <= to).cloned().collect()
        };
        let end = event.at + event.lasted + AFTER_BURST;
        let before = between(event.at - AFTER_BURST, event.at);
        let during = between(event.at, end);
        let (Some(first), Some(begin), Some(last)) = (before.first(), before.last(), during.last()) else {
            return None;
        };
        if event.renewed == 0 {
            return None;
        }
        let idle = if begin.at > first.at { (begin.cpu - first.cpu) / (begin.at - first.at) } else { 0.0 };
        let cpu = (last.cpu - begin.cpu - idle * (last.at - begin.at)).max(0.0);
        Some(Self {
            at: event.at,
            renewals: event.renewed,
            steady: mean(&before),
            peak: during.iter().map(|sample| sample.working_set).max().unwrap_or_default() as f64 / MIB,
            cpu_millis: 1e3 * cpu / event.renewed as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::order::Tick;
    use crate::sample::Scrape;

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
            run.totals.failures.insert(failure, 1);
            assert_eq!(failed(&run), [name]);
        }
    }

    #[test]
    fn a_run_without_load_proves_nothing() {
        let mut run = run(0.0);
        run.totals = Tick::default();
        assert_eq!(failed(&run), ["there was load"]);
    }

    #[test]
    fn what_a_burst_costs_is_what_it_adds_to_the_time_before() {
        let mut run = run(0.0);
        run.series[51].working_set *= 2;
        for sample in run.series.iter_mut().skip(51) {
            sample.cpu += 1.0;
        }
        run.events.push(Happened { at: 50.0, lasted: 2.0, what: "1000 renewals".to_owned(), renewed: 1_000 });
        let burst = Verdict::of(&arguments(), &run).bursts.remove(0);
        assert!((burst.steady - 50.0).abs() < 0.1 && (burst.peak - 100.0).abs() < 0.1, "{burst:?}");
        assert!((burst.cpu_millis - 1.0).abs() < 0.01, "{burst:?}");
    }
}
