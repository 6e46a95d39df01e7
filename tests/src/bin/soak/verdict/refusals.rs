//! How much was refused: a gateway that refuses everything holds nothing.

use serde::Serialize;

use super::Check;
use crate::ledger::Refused;
use crate::order::{Count, Sign};
use crate::run::Run;
use crate::script::Happened;

/// Of what was tried outside of attacks so much may be refused,
const OUTSIDE: f64 = 0.01;

/// and of all that was tried so much.
const ALTOGETHER: f64 = 0.25;

/// What an attack brings about may last so much longer than the attack, in seconds: stages end one after the other.
const AFTER_ATTACK: f64 = 10.0;

/// What was refused as declared. Shares are of handshakes and requests that were tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Refusals {
    pub(crate) refused: Refused,
    /// Handshakes without a certificate while the script had silenced the API server; in none of the shares.
    pub(crate) in_outages: u64,
    pub(crate) share: f64,
    /// While the script attacked nobody.
    pub(crate) share_outside_attacks: f64,
    /// Connections that clients have seen refused in a stage, and how many the gateway has counted.
    pub(crate) connections: (u64, f64),
    /// The same of requests.
    pub(crate) requests: (u64, f64),
}

impl Refusals {
    pub(super) fn of(run: &Run) -> Self {
        let counted = run.series.iter().rev().find_map(|sample| sample.gateway).unwrap_or_default();
        let (mut all, mut outside) = (Tried::default(), Tried::default());
        for pair in run.series.windows(2) {
            let [before, now] = pair else { continue };
            let (done, failed) = (now.full.count + now.resumed.count, now.failures - before.failures);
            let tried = Tried {
                refused: now.refused - before.refused,
                others: done + failed + now.requests.saturating_sub(before.requests),
            };
            all.add(tried);
            if !run.events.iter().any(|event| is_attacked(event, now.at)) {
                outside.add(tried);
            }
        }
        Self {
            refused: run.ledger.refusals(),
            in_outages: run.totals.count(Count::RefusedInOutage),
            share: all.share(),
            share_outside_attacks: outside.share(),
            connections: (run.ledger.refused_by_stage(Sign::Closed), counted.refused_connections),
            requests: (run.ledger.refused_by_stage(Sign::RetryAfter), counted.refused_requests),
        }
    }

    pub(super) fn checks(&self) -> [Check; 2] {
        let is_few = self.share_outside_attacks <= OUTSIDE && self.share <= ALTOGETHER;
        let seen = format!(
            "{} in stages of overload, {} by caps: {:.2} % of what was tried (at most {:.0}), {:.2} % outside of attacks (at \
             most {:.0})",
            self.refused.by_stage,
            self.refused.by_cap,
            100.0 * self.share,
            100.0 * ALTOGETHER,
            100.0 * self.share_outside_attacks,
            100.0 * OUTSIDE,
        );
        let of = |(seen, counted): (u64, f64)| (seen as f64 <= counted, format!("{seen} of {counted}"));
        let (connections, requests) = (of(self.connections), of(self.requests));
        let counted = format!("{} connections, {} requests that the gateway has counted", connections.1, requests.1);
        [
            Check::new("few refusals", is_few, seen),
            Check::new("refusals are counted", connections.0 && requests.0, counted),
        ]
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    refused: u64,
    others: u64,
}

impl Tried {
    fn add(&mut self, other: Self) {
        self.refused += other.refused;
        self.others += other.others;
    }

    fn share(self) -> f64 {
        self.refused as f64 / (self.refused + self.others).max(1) as f64
    }
}

fn is_attacked(event: &Happened, at: f64) -> bool {
    event.attack && event.at <= at && at <= event.at + event.lasted + AFTER_ATTACK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{Failure, Quantiles, Tick, Trouble};
    use crate::sample::Sample;
    use crate::scrape::Scrape;

    /// A hundred seconds with ten handshakes in each, in which so many are refused from one second on and as long as that
    /// stage lasts; the gateway counts so many.
    fn run(refused: u64, from: u32, lasts: u32, counted: f64) -> Run {
        let mut run = Run::of("Postern");
        for second in 0..100_u32 {
            let during = (from..from + lasts).contains(&second);
            let overload_stage = if during { 3.0 } else { 0.0 };
            let refused_connections = if second >= from { counted } else { 0.0 };
            run.series.push(Sample {
                at: second.into(),
                full: Quantiles { count: 10, ..Quantiles::default() },
                gateway: Some(Scrape { overload_stage, refused_connections, ..Scrape::default() }),
                ..Sample::default()
            });
            if during {
                let (failure, sign) = (Failure::Handshake, Sign::Closed);
                let trouble = Trouble { failure, sign, millis_ago: 0, count: refused, words: None };
                run.ledger.hear(second.into(), &Tick { troubles: vec![trouble], ..Tick::default() });
            }
        }
        run.ledger.close(&mut run.series);
        assert_eq!(run.ledger.failures(), 0);
        run
    }

    fn passed(run: &Run) -> [bool; 2] {
        Refusals::of(run).checks().map(|check| check.passed)
    }

    #[test]
    fn a_gateway_that_refuses_much_does_not_pass_unless_it_was_attacked() {
        let mut run = run(10, 50, 10, 1e9);
        assert_eq!(passed(&run), [false, true]);
        run.events.push(Happened { at: 45.0, lasted: 9.0, what: "flood".to_owned(), renewed: 0, attack: true });
        let refusals = Refusals::of(&run);
        assert!(
            (refusals.share - 100.0 / 1_090.0).abs() < 1e-3 && refusals.share_outside_attacks < 1e-9,
            "{refusals:?}"
        );
        assert_eq!(passed(&run), [true, true]);
        run.events[0].attack = false;
        assert_eq!(passed(&run), [false, true]);
    }

    #[test]
    fn not_even_an_attack_excuses_that_most_is_refused() {
        let mut run = run(100, 50, 10, 1e9);
        run.events.push(Happened { at: 45.0, lasted: 9.0, what: "flood".to_owned(), renewed: 0, attack: true });
        assert_eq!(passed(&run), [false, true]);
    }

    #[test]
    fn a_refusal_that_the_gateway_has_not_counted_shows() {
        assert_eq!(passed(&run(1, 50, 3, 3.0)), [true, true]);
        assert_eq!(passed(&run(1, 50, 3, 2.0)), [true, false]);
    }
}
