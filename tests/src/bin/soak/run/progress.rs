//! A line of progress.

use std::io::{IsTerminal, Write};

use super::Run;
use crate::arguments::Arguments;
use crate::sample::Sample;

/// Without a terminal there is a line every so many seconds.
const EVERY: usize = 10;

/// What the stages of overload are called.
const STAGES: [&str; 4] = ["", "shrinks, ", "closes, ", "refuses, "];

/// One line for people: rewritten each second on a terminal, a new one now and then elsewhere. Failures and refusals are
/// those that could be told apart by now.
pub(super) fn show(arguments: &Arguments, run: &Run, now: &Sample) {
    let terminal = std::io::stderr().is_terminal();
    if !terminal && !run.series.len().is_multiple_of(EVERY) {
        return;
    }
    let hits = run.series.last().and_then(|before| now.hit_ratio(before));
    let hits = hits.map_or_else(|| "–".to_owned(), |ratio| format!("{:.0} %", 100.0 * ratio));
    let stage = now.gateway.map_or(0.0, |scrape| scrape.overload_stage);
    let stage = (1..).zip(&STAGES[1..]).find(|(number, _)| (stage - f64::from(*number)).abs() < 0.5);
    let line = format!(
        "{:4.0} of {} s: {}working set {:.1} of {:.0} MiB, cache {:.1} MiB, hits {hits}, {} handshakes/s (p99 {:.1} ms), \
         {} resumed, {} open, {} in outages, {} refused, {} failures; {}",
        now.at,
        arguments.duration.as_secs(),
        stage.map_or(STAGES[0], |(_, name)| name),
        mebibytes(now.working_set as f64),
        mebibytes(arguments.limit as f64),
        mebibytes(now.gateway.map_or(0.0, |scrape| scrape.cache_bytes)),
        now.full.count + now.resumed.count,
        now.full.p99,
        now.resumed.count,
        now.open,
        now.in_outage,
        run.ledger.refusals().all(),
        run.ledger.failures(),
        run.events.last().map_or("", |event| event.what.as_str()),
    );
    let mut stderr = std::io::stderr().lock();
    // Nobody may be reading.
    let _shown = if terminal { write!(stderr, "\r\x1b[K{line}") } else { writeln!(stderr, "{line}") };
}

fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}
