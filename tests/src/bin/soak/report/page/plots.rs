//! Which plots there are.

use super::super::plot::{Band, Curve, Mark, Plot};
use super::MIB;
use crate::arguments::Arguments;
use crate::order::Quantiles;
use crate::run::Run;
use crate::sample::Sample;
use crate::scrape::Scrape;
use crate::verdict::Verdict;

/// Classes of the stages of overload, from the first one on.
const STAGES: [&str; 3] = ["shrink", "close", "refuse"];

/// Short keys for the kinds of events.
#[derive(Debug)]
pub(super) struct Keys(Vec<String>);

impl Keys {
    /// The kinds in the order in which they came up; numbers in their names make no other kind.
    pub(super) fn of(runs: &[(Run, Verdict)]) -> Self {
        let mut kinds: Vec<String> = Vec::new();
        for event in runs.iter().flat_map(|(run, _)| &run.events) {
            let kind = kind(&event.what);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        Self(kinds)
    }

    /// Keys with what they stand for.
    pub(super) fn iter(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().enumerate().map(|(index, kind)| (key(index), kind.as_str()))
    }

    fn key(&self, what: &str) -> String {
        self.0.iter().position(|known| *known == kind(what)).map(key).unwrap_or_default()
    }
}

/// `10000 renewals` is a kind of renewals.
fn kind(what: &str) -> String {
    let words = what.split(' ').filter(|word| !word.bytes().all(|byte| byte.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

fn key(index: usize) -> String {
    (index + 1).to_string()
}

/// All plots; that of memory has all runs.
pub(super) fn all(arguments: &Arguments, runs: &[(Run, Verdict)], keys: &Keys) -> Vec<Plot> {
    let seconds = arguments.duration.as_secs_f64();
    let limit = arguments.limit as f64 / MIB;
    let working_set = |run: &Run| Curve {
        end: run.ended.as_ref().map(|how| if run.oom_kills > 0 { "OOM-killed".to_owned() } else { how.clone() }),
        // From its first sample on, so that even one that was killed at once has a point.
        points: run.series.iter().map(|now| (now.at, now.peak.max(now.working_set) as f64 / MIB)).collect(),
        name: run.subject.to_owned(),
    };
    let first = runs.first().map(|(run, _)| run);
    let mut plots = vec![Plot {
        title: "Working set, as the kernel counts it".to_owned(),
        unit: "MiB",
        seconds,
        curves: runs.iter().map(|(run, _)| working_set(run)).collect(),
        marks: first.map(|run| marks(run, keys)).unwrap_or_default(),
        bands: first.map(bands).unwrap_or_default(),
        limit: Some((limit, format!("limit: {limit:.0} MiB"))),
        ..Plot::default()
    }];
    for (run, _) in runs {
        plots.extend(of_run(run, seconds, keys));
    }
    plots
}

fn of_run(run: &Run, seconds: f64, keys: &Keys) -> Vec<Plot> {
    let has_cache = run.series.iter().any(|sample| sample.gateway.is_some());
    let plot = |title: &str, unit, curves| Plot {
        title: format!("{}: {title}", run.subject),
        unit,
        seconds,
        curves,
        marks: marks(run, keys),
        bands: bands(run),
        ..Plot::default()
    };
    let rate = |name, figure: fn(&Sample) -> f64| curve(run, name, |now, before| Some(per_second(now, before, figure)));
    let latencies = |title, pick: fn(Quantiles) -> f64| {
        let of = |name, kind: fn(&Sample) -> Quantiles| {
            curve(run, name, |now, _| Some(kind(now)).filter(|kind| kind.count > 0).map(pick))
        };
        // Below the others, which make it up.
        let mut curves = vec![of("all full", |now| now.full), of("resumed", |now| now.resumed)];
        if has_cache {
            curves.extend([of("full, loaded", |now| now.miss), of("full, cached", |now| now.hit)]);
        }
        Plot { is_logarithmic: true, ..plot(title, "ms", curves) }
    };
    let mut plots = Vec::new();
    if has_cache {
        plots.push(plot("memory, as the gateway counts it and as the kernel does", "MiB", memory(run)));
        let hits = |now: &Sample, before: &Sample| now.hit_ratio(before).map(|ratio| 100.0 * ratio);
        plots.push(plot("certificates found in the cache", "%", vec![curve(run, "hits", hits)]));
    }
    plots.extend([
        latencies("handshakes, median of each second", |quantiles| quantiles.p50),
        latencies("handshakes, 99th percentile of each second", |quantiles| quantiles.p99),
        plot(
            "what failed, what the gateway declared to refuse, and what failed in outages of the script",
            "per second",
            vec![
                rate("failed", |sample| sample.failures as f64),
                rate("refused as declared", |sample| sample.refused as f64),
                rate("without a certificate in outages", |sample| sample.in_outage as f64),
            ],
        ),
        plot(
            "what was done",
            "per second",
            vec![
                rate("requests answered", |sample| sample.requests as f64),
                curve(run, "handshakes", |now, before| {
                    Some((now.full.count + now.resumed.count) as f64 / (now.at - before.at).max(0.001))
                }),
            ],
        ),
        plot("connections that the load holds open", "count", vec![curve(run, "open", |now, _| Some(now.open as f64))]),
        plot("CPU", "processors", vec![rate("used", |sample| sample.cpu)]),
    ]);
    plots
}

/// Beside the kernel's own figures.
fn memory(run: &Run) -> Vec<Curve> {
    let of = |name, figure: fn(&Scrape) -> f64| {
        curve(run, name, |now, _| now.gateway.as_ref().map(|scrape| figure(scrape) / MIB))
    };
    let mut curves = vec![
        curve(run, "working set, kernel", |now, _| Some(now.working_set as f64 / MIB)),
        of("working set, gateway", |scrape| scrape.working_set),
        curve(run, "RSS, kernel", |now, _| Some(now.rss as f64 / MIB)),
        of("certificates, as weighed", |scrape| scrape.cache_bytes),
        of("certificates, as planned", |scrape| scrape.plan.certificates),
    ];
    if run.series.iter().any(|sample| sample.gateway.is_some_and(|scrape| scrape.buffered_bytes > 0.0)) {
        curves.push(of("bodies that wait", |scrape| scrape.buffered_bytes));
    }
    curves
}

/// A curve of what is computed from each sample and the one before it.
fn curve(run: &Run, name: &str, value: impl Fn(&Sample, &Sample) -> Option<f64>) -> Curve {
    let pairs = run.series.windows(2).filter_map(|pair| Some((pair[1].at, value(&pair[1], &pair[0])?)));
    Curve { name: name.to_owned(), points: pairs.collect(), end: None }
}

fn per_second(now: &Sample, before: &Sample, figure: fn(&Sample) -> f64) -> f64 {
    (figure(now) - figure(before)) / (now.at - before.at).max(0.001)
}

fn marks(run: &Run, keys: &Keys) -> Vec<Mark> {
    let mark = |event: &crate::script::Happened| Mark {
        at: event.at,
        lasted: event.lasted,
        key: keys.key(&event.what),
        name: event.what.clone(),
    };
    run.events.iter().map(mark).collect()
}

/// Stretches of time in which the gateway was in a stage of overload.
fn bands(run: &Run) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for pair in run.series.windows(2) {
        let [before, now] = pair else { continue };
        let stage = now.gateway.map_or(0.0, |scrape| scrape.overload_stage);
        let Some((_, class)) = (1_u32..).zip(STAGES).find(|(number, _)| (stage - f64::from(*number)).abs() < 0.5)
        else {
            continue;
        };
        match bands.last_mut() {
            Some(last) if last.class == class && last.to >= before.at => last.to = now.at,
            _ => bands.push(Band { from: before.at, to: now.at, class }),
        }
    }
    bands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Happened;

    #[test]
    fn a_stage_that_lasts_is_one_band() {
        let mut run = Run::of("Postern");
        for (at, stage) in (0_u32..).zip([0.0, 1.0, 1.0, 3.0, 3.0, 0.0, 2.0]) {
            let gateway = Some(Scrape { overload_stage: stage, ..Scrape::default() });
            run.series.push(Sample { at: at.into(), gateway, ..Sample::default() });
        }
        let bands: Vec<_> = bands(&run).into_iter().map(|band| (band.from, band.to, band.class)).collect();
        assert_eq!(bands, [(0.0, 2.0, "shrink"), (2.0, 4.0, "refuse"), (5.0, 6.0, "close")]);
    }

    #[test]
    fn renewals_are_one_kind_however_many_they_are() {
        let mut run = Run::of("Postern");
        for what in ["30 renewals", "SNI scan", "40 renewals"] {
            let event = Happened { at: 1.0, lasted: 1.0, what: what.to_owned(), renewed: 0, attack: false };
            run.events.push(event);
        }
        let arguments = <Arguments as clap::Parser>::parse_from(["soak"]);
        let verdict = Verdict::of(&arguments, &run);
        let runs = [(run, verdict)];
        let keys = Keys::of(&runs);
        assert_eq!(keys.iter().collect::<Vec<_>>(), [("1".to_owned(), "renewals"), ("2".to_owned(), "SNI scan")]);
        let keys: Vec<_> = marks(&runs[0].0, &keys).into_iter().map(|mark| mark.key).collect();
        assert_eq!(keys, ["1", "2", "1"]);
    }
}
