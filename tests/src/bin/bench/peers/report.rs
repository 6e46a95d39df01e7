//! Tables of all cases, for people and for programs.

use std::fmt;

use serde_json::{Value, json};

use super::AccessLog;
use super::case::Case;
use super::peer::Kind;
use super::round::Turn;
use super::wanted::at_most;
use crate::report::{machine, shown};
use crate::{Output, value_name};

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Table>);

/// The rounds of one case.
#[derive(Debug)]
pub(super) struct Table {
    case: Case,
    log: AccessLog,
    kinds: Vec<Kind>,
    rounds: Vec<Vec<Turn>>,
    /// KiB of each peer, where memory is measured.
    memory: Vec<(Kind, f64)>,
}

impl Report {
    /// Adds a table, and shows it to people at once.
    pub(super) fn add(&mut self, table: Table, output: Output) {
        if output == Output::Human {
            println!("{table}");
        }
        self.0.push(table);
    }

    pub(super) fn to_json(&self) -> Value {
        let tables: Vec<Value> = self.0.iter().map(Table::to_json).collect();
        json!({"benchmark": "peers", "machine": machine(), "cases": tables})
    }
}

impl Table {
    pub(super) fn new(case: Case, log: AccessLog, kinds: Vec<Kind>) -> Self {
        Self { case, log, kinds, rounds: Vec::new(), memory: Vec::new() }
    }

    pub(super) fn add(&mut self, round: Vec<Turn>) {
        self.rounds.push(round);
    }

    pub(super) fn add_memory(&mut self, kind: Kind, kibibytes: f64) {
        self.memory.push((kind, kibibytes));
    }

    fn turns(&self, kind: Kind) -> impl Iterator<Item = &Turn> {
        self.rounds.iter().flatten().filter(move |turn| turn.kind == kind)
    }

    fn kept(&self, kind: Kind) -> impl Iterator<Item = &Turn> {
        self.turns(kind).filter(|turn| turn.is_about_proxy())
    }

    /// Figures of each kept turn: CPU microseconds per request, or KiB.
    fn costs(&self, kind: Kind) -> Vec<f64> {
        let memory = self.memory.iter().filter(|(of, _)| *of == kind).map(|(_, kibibytes)| *kibibytes);
        sorted(self.kept(kind).map(Turn::micros).chain(memory))
    }

    /// Cost of Postern as a multiple of a peer's, of each round that both kept.
    fn ratios(&self, kind: Kind) -> Vec<f64> {
        let of = |round: &[Turn], kind: Kind| {
            round.iter().find(|turn| turn.kind == kind && turn.is_about_proxy()).map(Turn::micros)
        };
        let rounds = self.rounds.iter().filter_map(|round| Some(of(round, Kind::Postern)? / of(round, kind)?));
        let of_memory = |kind: Kind| self.memory.iter().find(|(of, _)| *of == kind).map(|(_, kibibytes)| *kibibytes);
        let memory = of_memory(Kind::Postern).zip(of_memory(kind)).map(|(own, other)| own / other);
        sorted(rounds.chain(memory))
    }

    /// The median of 99th percentiles in milliseconds, where the client says them.
    fn p99(&self, kind: Kind) -> Option<f64> {
        let all =
            sorted(self.turns(kind).filter(|turn| turn.outcome.succeeded > 0).filter_map(|turn| turn.outcome.p99));
        median(&all)
    }

    fn failed(&self, kind: Kind) -> u64 {
        self.turns(kind).map(|turn| turn.outcome.failed).sum()
    }

    fn dropped(&self, kind: Kind) -> usize {
        self.turns(kind).count() - self.kept(kind).count()
    }

    fn unit(&self) -> &'static str {
        if self.case.is_about_memory() { "KiB" } else { "µs" }
    }

    fn to_json(&self) -> Value {
        let peer = |kind: &Kind| {
            let (costs, ratios) = (self.costs(*kind), self.ratios(*kind));
            let turns: Vec<&Turn> = self.turns(*kind).collect();
            json!({
                "name": value_name(kind), "min": costs.first(), "median": median(&costs), "postern_is": ratios,
                "postern_is_median": median(&ratios), "wanted": at_most(self.case, *kind), "dropped": self.dropped(*kind),
                "failed": self.failed(*kind), "p99": self.p99(*kind), "turns": turns,
            })
        };
        let peers: Vec<Value> = self.kinds.iter().map(peer).collect();
        json!({"case": value_name(&self.case), "access_log": value_name(&self.log), "unit": self.unit(), "peers": peers})
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, access log {}: {} per request or connection",
            value_name(&self.case),
            value_name(&self.log),
            self.unit()
        )?;
        writeln!(
            f,
            "{:14} {:>8} {:>8}  {:>24} {:>8}  {:>8} {:>7} {:>8}",
            "", "min", "median", "Postern is (min med max)", "wanted", "p99 ms", "dropped", "failed"
        )?;
        for &kind in &self.kinds {
            let (costs, ratios) = (self.costs(kind), self.ratios(kind));
            let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), shown);
            let spread = [ratios.first().copied(), median(&ratios), ratios.last().copied()];
            let spread = spread.map(|ratio| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")));
            let spread = if kind == Kind::Postern { String::new() } else { spread.join("  ") + " ×" };
            let wanted = at_most(self.case, kind).map(|most| {
                let mark = if median(&ratios).is_none_or(|ratio| ratio <= most) { "" } else { "!" };
                format!("≤ {most:.2}{mark}")
            });
            writeln!(
                f,
                "{:14} {:>8} {:>8}  {spread:>24} {:>8}  {:>8} {:>7} {:>8}",
                kind.name(),
                figure(costs.first().copied()),
                figure(median(&costs)),
                wanted.unwrap_or_default(),
                figure(self.p99(kind)),
                format!("{}/{}", self.dropped(kind), self.rounds.len()),
                self.failed(kind),
            )?;
        }
        for &kind in &self.kinds {
            if let Some(failures) = self.turns(kind).find_map(|turn| turn.outcome.failures.as_deref()) {
                writeln!(f, "failures of {}, first round with any: {failures}", kind.name())?;
            }
        }
        Ok(())
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle one.
fn median(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::super::client::Outcome;
    use super::*;

    fn turn(kind: Kind, proxy: f64, client: f64) -> Turn {
        let outcome = Outcome { succeeded: 1_000, failed: 1, ..Outcome::default() };
        Turn { kind, proxy, client, upstream: 0.1, rate: 1_000.0, outcome }
    }

    #[test]
    fn a_round_whose_client_was_busier_than_the_proxy_is_dropped_and_its_failures_count() {
        let mut table = Table::new(Case::H1, AccessLog::Off, vec![Kind::Postern, Kind::Nginx]);
        table.add(vec![turn(Kind::Postern, 1.0, 0.5), turn(Kind::Nginx, 2.0, 0.5)]);
        table.add(vec![turn(Kind::Postern, 1.0, 0.5), turn(Kind::Nginx, 9.0, 9.5)]);
        assert_eq!(table.ratios(Kind::Nginx), [0.5]);
        assert_eq!((table.dropped(Kind::Nginx), table.dropped(Kind::Postern)), (1, 0));
        assert_eq!((table.costs(Kind::Nginx), table.failed(Kind::Nginx)), (vec![2_000.0], 2));
    }
}
