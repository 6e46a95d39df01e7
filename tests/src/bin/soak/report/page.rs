//! The page: verdicts, figures and plots, with nothing loaded from elsewhere.

use std::fmt::Write;

use super::plot::{Curve, Mark, Plot, escape};
use crate::arguments::Arguments;
use crate::run::Run;
use crate::sample::Sample;
use crate::verdict::Verdict;

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;max-width:940px;margin:2em auto;padding:0 1em;color:#222}\
figure{margin:1.6em 0}figcaption{margin-bottom:.3em}svg{width:100%;height:auto}svg text{font-size:11px;fill:#555}\
.grid{stroke:#ddd}.limit{stroke:#c00;stroke-dasharray:6 4}.curve{fill:none;stroke-width:1.4}.mark{fill:#f0c040;opacity:.25}\
table{border-collapse:collapse}td{padding:.15em .8em .15em 0}.failed{color:#c00;font-weight:bold}";

const MIB: f64 = 1_048_576.0;

/// The whole page.
pub(super) fn page(arguments: &Arguments, runs: &[(Run, Verdict)]) -> String {
    let mut html = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Postern soak</title><style>{STYLE}</style></head>\
         <body><h1>Soak: {} services, limit {:.0} MiB, {} s, seed {}</h1>\n",
        arguments.services,
        arguments.limit as f64 / MIB,
        arguments.duration.as_secs(),
        arguments.seed
    );
    for (run, verdict) in runs {
        html.push_str(&checks(run, verdict));
    }
    html.push_str("<p>Yellow: what the script did; its name shows under the pointer.</p>\n");
    for plot in plots(arguments, runs) {
        html.push_str(&plot.to_html());
    }
    html.push_str("</body></html>\n");
    html
}

fn checks(run: &Run, verdict: &Verdict) -> String {
    let class = |passed| if passed { "ok" } else { "failed" };
    let mut html = format!(
        "<h2 class=\"{}\">{}: {}</h2><table>",
        class(verdict.passed),
        run.subject,
        if verdict.passed { "passed" } else { "failed" }
    );
    if let Some(why) = &run.not_enforced {
        // Writing to a String does not fail.
        let _ = write!(html, "<tr><td colspan=\"2\">The limit was not enforced: {}</td></tr>", escape(why));
    }
    for check in &verdict.checks {
        let class = class(check.passed);
        let _ = write!(html, "<tr class=\"{class}\"><td>{}</td><td>{}</td></tr>", check.name, escape(&check.seen));
    }
    html.push_str("</table>\n");
    html
}

fn plots(arguments: &Arguments, runs: &[(Run, Verdict)]) -> Vec<Plot> {
    let limit = Some((arguments.limit as f64 / MIB, "limit"));
    let mut plots = vec![Plot {
        title: "Memory that the kernel counts".to_owned(),
        unit: "MiB",
        curves: runs
            .iter()
            .map(|(run, _)| curve(run, run.subject, |now, _| Some(now.working_set as f64 / MIB)))
            .collect(),
        marks: runs.first().map(|(run, _)| marks(run)).unwrap_or_default(),
        limit,
    }];
    for (run, _) in runs {
        plots.extend(of_run(run));
    }
    plots
}

fn of_run(run: &Run) -> Vec<Plot> {
    let plot = |title: &str, unit, curves| Plot {
        title: format!("{}: {title}", run.subject),
        unit,
        curves,
        marks: marks(run),
        limit: None,
    };
    let mut plots = vec![
        plot(
            "full handshakes",
            "ms",
            vec![
                curve(run, "p50", |now, _| (now.full.count > 0).then_some(now.full.p50)),
                curve(run, "p99", |now, _| (now.full.count > 0).then_some(now.full.p99)),
            ],
        ),
        plot(
            "resumed handshakes",
            "ms",
            vec![
                curve(run, "p50", |now, _| (now.resumed.count > 0).then_some(now.resumed.p50)),
                curve(run, "p99", |now, _| (now.resumed.count > 0).then_some(now.resumed.p99)),
            ],
        ),
        plot(
            "what failed, and what the script declared",
            "per second",
            vec![
                curve(run, "failures", |now, before| Some(per_second(now, before, |sample| sample.failures as f64))),
                curve(run, "refused", |now, before| Some(per_second(now, before, |sample| sample.refused as f64))),
                curve(run, "in outages", |now, before| Some(per_second(now, before, |sample| sample.in_outage as f64))),
            ],
        ),
        plot(
            "requests",
            "per second",
            vec![curve(run, "answered", |now, before| Some(per_second(now, before, |sample| sample.requests as f64)))],
        ),
        plot(
            "CPU",
            "processors",
            vec![curve(run, "gateway", |now, before| Some(per_second(now, before, |sample| sample.cpu)))],
        ),
    ];
    if run.series.iter().any(|sample| sample.gateway.is_some()) {
        let bytes = |now: &Sample, _: &Sample| now.gateway.map(|scrape| scrape.cache_bytes / MIB);
        plots.insert(0, plot("certificate cache", "MiB", vec![curve(run, "weighed", bytes)]));
        let hits = |now: &Sample, before: &Sample| now.hit_ratio(before).map(|ratio| 100.0 * ratio);
        plots.insert(1, plot("handshakes whose certificate was cached", "%", vec![curve(run, "hits", hits)]));
    }
    plots
}

/// A curve of what is computed from each sample and the one before it.
fn curve(run: &Run, name: &str, value: impl Fn(&Sample, &Sample) -> Option<f64>) -> Curve {
    let pairs = run.series.windows(2).filter_map(|pair| Some((pair[1].at, value(&pair[1], &pair[0])?)));
    Curve { name: name.to_owned(), points: pairs.collect() }
}

fn per_second(now: &Sample, before: &Sample, figure: fn(&Sample) -> f64) -> f64 {
    (figure(now) - figure(before)) / (now.at - before.at).max(0.001)
}

fn marks(run: &Run) -> Vec<Mark> {
    let mark = |event: &crate::script::Happened| Mark { at: event.at, lasted: event.lasted, name: event.what.clone() };
    run.events.iter().map(mark).collect()
}
