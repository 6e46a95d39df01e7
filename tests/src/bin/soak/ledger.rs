//! Which failures the gateway had declared: refusals, by its stages of overload and by its caps.
//!
//! The gateway says once a second in which stage it is and what it has refused. A failure that looks as a stage's refusals
//! do, at a time when the gateway was in that stage, is a refusal; so is one that looks as what a cap refuses, as long as
//! there are not more of them than the gateway has counted. Anything else is a failure. What the script declares, an API
//! server that is silent, the load takes into account itself.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::order::{Failure, Sign, Tick};
use crate::sample::Sample;
use crate::scrape::Scrape;

/// A client may see a refusal so much before or after the gateway says that it refuses, in seconds.
const MARGIN: f64 = 1.0;

/// How far a scrape reaches at most, in seconds: a gateway that was not to be asked for long has declared nothing.
const REACH: f64 = 5.0;

/// Failures are judged when their time has been sampled, and after so many seconds in any case.
const PATIENCE: f64 = 10.0;

/// Stages as the gateway's metric has them: close and refuse.
const CLOSE: f64 = 2.0;
const REFUSE: f64 = 3.0;

/// Failures that are kept word by word.
const EXAMPLES: usize = 50;

/// What was judged so far, and what waits for it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    waiting: VecDeque<Seen>,
    judged: Vec<Judged>,
    /// Of what caps have refused between two samples, how much was set against failures; by the time of the later one.
    spent: BTreeMap<(u64, Cap), f64>,
    /// The first failures, word by word.
    pub(crate) examples: Vec<String>,
    /// The first refusals, word by word.
    pub(crate) refusals: Vec<String>,
}

/// Failures that were seen at about the same time.
#[derive(Debug)]
struct Seen {
    at: f64,
    failure: Failure,
    sign: Sign,
    count: u64,
    words: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Judged {
    at: f64,
    failure: Failure,
    sign: Sign,
    refused: Refused,
    failed: u64,
}

/// How many were refused, by what the gateway has declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    /// In a stage of overload.
    pub(crate) by_stage: u64,
    /// By a cap.
    pub(crate) by_cap: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cap {
    Connections,
    Loads,
    Bodies,
}

impl Refused {
    /// By whatever it was.
    pub(crate) fn all(self) -> u64 {
        self.by_stage + self.by_cap
    }
}

impl Cap {
    fn refused(self, scrape: &Scrape) -> f64 {
        match self {
            Self::Connections => scrape.capped_connections,
            Self::Loads => scrape.capped_loads,
            Self::Bodies => scrape.capped_bodies,
        }
    }
}

impl Sign {
    /// The stage from which on refusals look like this.
    fn stage(self) -> Option<f64> {
        match self {
            Self::Closed | Self::RetryAfter => Some(REFUSE),
            Self::Leaving => Some(CLOSE),
            Self::NoCertificate | Self::Cut | Self::Other => None,
        }
    }

    /// The cap whose refusals look like this.
    fn cap(self) -> Option<Cap> {
        match self {
            Self::Closed => Some(Cap::Connections),
            Self::NoCertificate => Some(Cap::Loads),
            Self::RetryAfter | Self::Cut => Some(Cap::Bodies),
            Self::Leaving | Self::Other => None,
        }
    }
}

impl Ledger {
    /// Takes in the failures of a report that came so many seconds after the start.
    pub(crate) fn hear(&mut self, at: f64, tick: &Tick) {
        self.waiting.extend(tick.troubles.iter().map(|trouble| Seen {
            at: (at - trouble.millis_ago as f64 / 1e3).max(0.0),
            failure: trouble.failure,
            sign: trouble.sign,
            count: trouble.count,
            words: trouble.words.clone(),
        }));
    }

    /// Judges failures whose time has been sampled.
    pub(crate) fn settle(&mut self, series: &[Sample], now: f64) {
        let scraped = series.iter().rev().find(|sample| sample.gateway.is_some()).map_or(f64::MIN, |sample| sample.at);
        self.settle_if(series, |seen| scraped > seen.at + MARGIN || now > seen.at + PATIENCE);
    }

    /// Judges all that are left, and enters the sums into the series.
    pub(crate) fn close(&mut self, series: &mut [Sample]) {
        self.settle_if(series, |_| true);
        self.judged.sort_by(|a, b| a.at.total_cmp(&b.at));
        let (mut judged, mut failures, mut refused) = (self.judged.iter().peekable(), 0, 0);
        for sample in series {
            while let Some(next) = judged.next_if(|next| next.at <= sample.at) {
                failures += next.failed;
                refused += next.refused.all();
            }
            (sample.failures, sample.refused) = (failures, refused);
        }
    }

    fn settle_if(&mut self, series: &[Sample], is_due: impl Fn(&Seen) -> bool) {
        while self.waiting.front().is_some_and(&is_due)
            && let Some(seen) = self.waiting.pop_front()
        {
            self.judge(seen, series);
        }
    }

    fn judge(&mut self, seen: Seen, series: &[Sample]) {
        let near = near(series, seen.at);
        let mut refused = Refused::default();
        if seen.sign.stage().is_some_and(|wanted| highest_stage(near, seen.at) >= wanted) {
            refused.by_stage = seen.count;
        } else if let Some(cap) = seen.sign.cap() {
            refused.by_cap = self.spend(near, &seen, cap);
        }
        let failed = seen.count - refused.all();
        if let Some(words) = seen.words {
            let examples = if failed > 0 { &mut self.examples } else { &mut self.refusals };
            if examples.len() < EXAMPLES {
                examples.push(format!("{:.0} s: {words}", seen.at));
            }
        }
        self.judged.push(Judged { at: seen.at, failure: seen.failure, sign: seen.sign, refused, failed });
    }

    /// How many of these a cap has refused that were not set against others.
    fn spend(&mut self, near: &[Sample], seen: &Seen, cap: Cap) -> u64 {
        let mut left = seen.count;
        for (before, after) in scraped(near) {
            if !touches(before.0, after.0, seen.at) {
                continue;
            }
            let spent = self.spent.entry((after.0.to_bits(), cap)).or_default();
            let counted = (cap.refused(after.1) - cap.refused(before.1) - *spent).max(0.0);
            // Counts of things that happened are whole and small.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most `left`")]
            let taken = counted.min(left as f64) as u64;
            *spent += taken as f64;
            left -= taken;
        }
        seen.count - left
    }

    /// How many of a kind failed that were not declared.
    pub(crate) fn failed(&self, failure: Failure) -> u64 {
        self.judged.iter().filter(|judged| judged.failure == failure).map(|judged| judged.failed).sum()
    }

    /// How many of a kind were refused as declared.
    pub(crate) fn refused(&self, failure: Failure) -> Refused {
        self.sum_refused(|judged| judged.failure == failure)
    }

    /// How many were refused in a stage and looked so.
    pub(crate) fn refused_by_stage(&self, sign: Sign) -> u64 {
        self.sum_refused(|judged| judged.sign == sign).by_stage
    }

    /// Failures of all kinds so far.
    pub(crate) fn failures(&self) -> u64 {
        self.judged.iter().map(|judged| judged.failed).sum()
    }

    /// Refusals of all kinds so far.
    pub(crate) fn refusals(&self) -> Refused {
        self.sum_refused(|_| true)
    }

    fn sum_refused(&self, of: impl Fn(&Judged) -> bool) -> Refused {
        let add = |sum: Refused, judged: &Judged| Refused {
            by_stage: sum.by_stage + judged.refused.by_stage,
            by_cap: sum.by_cap + judged.refused.by_cap,
        };
        self.judged.iter().filter(|judged| of(judged)).fold(Refused::default(), add)
    }
}

/// The samples that can say something about this time.
fn near(series: &[Sample], at: f64) -> &[Sample] {
    let from = series.partition_point(|sample| sample.at < at - MARGIN - REACH);
    let to = series.partition_point(|sample| sample.at <= at + MARGIN + REACH);
    // And one that was taken before, since when something may have been counted.
    &series[from.saturating_sub(1)..to]
}

/// What the gateway has said at two times after one another.
fn scraped(series: &[Sample]) -> impl Iterator<Item = ((f64, &Scrape), (f64, &Scrape))> {
    let said = move || series.iter().filter_map(|sample| Some((sample.at, sample.gateway.as_ref()?)));
    said().zip(said().skip(1))
}

/// The highest stage that the gateway has declared around a time.
fn highest_stage(near: &[Sample], at: f64) -> f64 {
    let mut highest = 0.0_f64;
    for (before, after) in scraped(near) {
        if touches(before.0, after.0.min(before.0 + REACH), at) {
            highest = highest.max(before.1.overload_stage);
        }
        if touches(before.0.max(after.0 - REACH), after.0, at) {
            highest = highest.max(after.1.overload_stage);
            // It may have come and gone in between.
            if after.1.refuse_stages > before.1.refuse_stages {
                highest = highest.max(REFUSE);
            } else if after.1.close_stages > before.1.close_stages {
                highest = highest.max(CLOSE);
            }
        }
    }
    // After the last time that it said something.
    let last = near.iter().rev().find_map(|sample| Some((sample.at, sample.gateway?.overload_stage)));
    let held = last.filter(|(said, _)| touches(*said, *said, at)).map_or(0.0, |(_, stage)| stage);
    highest.max(held)
}

/// Whether a time is in a stretch, give or take the margin.
fn touches(from: f64, to: f64, at: f64) -> bool {
    from - MARGIN <= at && at <= to + MARGIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Trouble;

    /// A sample a second, with what the gateway says in it.
    fn series(scrapes: &[Option<Scrape>]) -> Vec<Sample> {
        (0_u32..)
            .zip(scrapes)
            .map(|(at, gateway)| Sample { at: at.into(), gateway: *gateway, ..Sample::default() })
            .collect()
    }

    fn stages(stages: &[f64]) -> Vec<Sample> {
        let of = |overload_stage: &f64| Some(Scrape { overload_stage: *overload_stage, ..Scrape::default() });
        series(&stages.iter().map(of).collect::<Vec<_>>())
    }

    /// What becomes of failures that look like this at a time.
    fn judged(series: &[Sample], at: f64, sign: Sign, count: u64) -> Ledger {
        let trouble =
            Trouble { failure: Failure::Handshake, sign, millis_ago: 500, count, words: Some("no".to_owned()) };
        let mut ledger = Ledger::default();
        ledger.hear(at + 0.5, &Tick { troubles: vec![trouble], ..Tick::default() });
        ledger.close(&mut series.to_vec());
        ledger
    }

    #[test]
    fn what_a_stage_refuses_is_refused_within_a_second_of_it_and_fails_at_other_times() {
        let refusing = stages(&[0.0, 0.0, 0.0, 3.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        for (at, refused) in [(0.5, 0), (1.2, 7), (4.0, 7), (5.5, 7), (6.2, 0), (9.0, 0)] {
            let ledger = judged(&refusing, at, Sign::Closed, 7);
            assert_eq!(ledger.refused(Failure::Handshake), Refused { by_stage: refused, by_cap: 0 }, "at {at}");
            assert_eq!(ledger.failed(Failure::Handshake), 7 - refused, "at {at}");
        }
    }

    #[test]
    fn each_stage_refuses_in_its_own_way() {
        let closing = stages(&[2.0; 10]);
        let refusing = stages(&[3.0; 10]);
        for (sign, in_closing, in_refusing) in [
            (Sign::Leaving, 1, 1),
            (Sign::Closed, 0, 1),
            (Sign::RetryAfter, 0, 1),
            (Sign::NoCertificate, 0, 0),
            (Sign::Cut, 0, 0),
            (Sign::Other, 0, 0),
        ] {
            assert_eq!(judged(&closing, 5.0, sign, 1).refusals().all(), in_closing, "{sign:?}");
            assert_eq!(judged(&refusing, 5.0, sign, 1).refusals().all(), in_refusing, "{sign:?}");
        }
    }

    #[test]
    fn a_stage_that_came_and_went_between_two_samples_counts() {
        let mut scrapes = vec![Some(Scrape::default()); 10];
        for scrape in scrapes.iter_mut().skip(5).flatten() {
            scrape.refuse_stages = 1.0;
        }
        assert_eq!(judged(&series(&scrapes), 4.5, Sign::Closed, 1).failures(), 0);
        assert_eq!(judged(&series(&scrapes), 7.5, Sign::Closed, 1).failures(), 1);
    }

    #[test]
    fn a_gateway_that_was_not_to_be_asked_for_long_has_declared_nothing_meanwhile() {
        let refusing = Some(Scrape { overload_stage: 3.0, refuse_stages: 1.0, ..Scrape::default() });
        let mut scrapes = vec![None; 30];
        (scrapes[0], scrapes[29]) = (Some(Scrape::default()), refusing);
        let silent = series(&scrapes);
        assert_eq!(judged(&silent, 15.0, Sign::Closed, 1).failures(), 1);
        assert_eq!(judged(&silent, 28.0, Sign::Closed, 1).failures(), 0);
        assert_eq!(judged(&[], 15.0, Sign::Closed, 1).failures(), 1);
    }

    #[test]
    fn no_more_is_set_down_to_a_cap_than_it_has_refused() {
        let mut scrapes = vec![Some(Scrape::default()); 10];
        for scrape in scrapes.iter_mut().skip(5).flatten() {
            (scrape.capped_connections, scrape.capped_loads, scrape.capped_bodies) = (4.0, 1.0, 2.0);
        }
        let series = series(&scrapes);
        let ledger = judged(&series, 4.5, Sign::Closed, 10);
        assert_eq!((ledger.refusals(), ledger.failures()), (Refused { by_stage: 0, by_cap: 4 }, 6));
        assert_eq!(judged(&series, 4.5, Sign::NoCertificate, 1).failures(), 0);
        assert_eq!(judged(&series, 4.5, Sign::Cut, 3).failures(), 1);
        assert_eq!(judged(&series, 4.5, Sign::Leaving, 1).failures(), 1);
        assert_eq!(judged(&series, 8.5, Sign::Closed, 1).failures(), 1);
        let mut twice = Ledger::default();
        let trouble = Trouble { failure: Failure::Handshake, sign: Sign::Closed, millis_ago: 0, count: 3, words: None };
        twice.hear(4.5, &Tick { troubles: vec![trouble.clone(), trouble], ..Tick::default() });
        twice.close(&mut series.clone());
        assert_eq!((twice.refusals().by_cap, twice.failures()), (4, 2));
    }

    #[test]
    fn failures_wait_until_the_gateway_has_said_what_it_did() {
        let mut ledger = Ledger::default();
        let trouble = Trouble { failure: Failure::Handshake, sign: Sign::Closed, millis_ago: 0, count: 1, words: None };
        ledger.hear(4.5, &Tick { troubles: vec![trouble], ..Tick::default() });
        let mut samples = stages(&[0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0]);
        ledger.settle(&samples[..5], 5.0);
        assert_eq!((ledger.failures(), ledger.refusals().all()), (0, 0));
        ledger.settle(&samples[..7], 7.0);
        assert_eq!((ledger.failures(), ledger.refusals().all()), (0, 1));
        ledger.close(&mut samples);
        assert_eq!(samples.iter().map(|sample| sample.refused).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 1, 1]);
    }
}
