//! Which stage comes next for which object, and when. Pure: time and objects are given.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::kind::Kind;
use super::super::object::Key;
use super::{Stage, Stages};

#[cfg(test)]
mod tests;

/// An object.
type Id = (Kind, Key);

/// What is to happen, and when; times are simulated times since the cluster's start.
///
/// Invariant: an object has at most one stage ahead, and `due` holds exactly those of `pending`. A stage ahead stays, with
/// its time, for as long as the object matches it, whatever events arrive; otherwise the one that matches takes its place in the
/// same step (KWOK#958: it cancelled first, and events that changed nothing then lost the stage).
#[derive(Debug)]
pub struct Schedule {
    stages: Vec<Arc<Stage>>,
    seed: u64,
    pending: HashMap<Id, (usize, Duration)>,
    due: BTreeSet<(Duration, Id)>,
    /// How often an object has been given a stage: so that the same stage takes another time the next time.
    rounds: HashMap<Id, u64>,
}

impl Schedule {
    /// Nothing is to happen yet.
    pub fn new(stages: &Stages, seed: u64) -> Self {
        let stages = stages.iter().cloned().map(Arc::new).collect();
        Self { stages, seed, pending: HashMap::new(), due: BTreeSet::new(), rounds: HashMap::new() }
    }

    /// Whether anything happens to objects of this kind.
    pub fn concerns(&self, kind: Kind) -> bool {
        self.stages.iter().any(|stage| stage.kind == kind)
    }

    /// Takes notice of an object's present state (`None`: it is gone).
    pub fn observe(&mut self, now: Duration, kind: Kind, key: &Key, object: Option<&Value>) {
        let id = (kind, Arc::clone(key));
        let matching: Vec<usize> = object.map_or_else(Vec::new, |object| self.matching(kind, object));
        let ahead = self.pending.get(&id).copied();
        if ahead.is_some_and(|(stage, _)| matching.contains(&stage)) {
            return;
        }
        let next = self.choose(&id, &matching, now);
        if let Some((_, at)) = ahead {
            self.due.remove(&(at, id.clone()));
        }
        if let Some((stage, at)) = next {
            self.pending.insert(id.clone(), (stage, at));
            self.due.insert((at, id));
        } else {
            self.pending.remove(&id);
            if object.is_none() {
                self.rounds.remove(&id);
            }
        }
    }

    /// When the next stage is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the stage that is due, if one is.
    pub fn take_due(&mut self, now: Duration) -> Option<(Kind, Key, Arc<Stage>)> {
        if self.next_due()? > now {
            return None;
        }
        let (_, id) = self.due.pop_first()?;
        let (stage, _) = self.pending.remove(&id)?;
        Some((id.0, id.1, Arc::clone(&self.stages[stage])))
    }

    fn matching(&self, kind: Kind, object: &Value) -> Vec<usize> {
        let candidates = self.stages.iter().enumerate();
        let suits = |stage: &Stage| stage.kind == kind && stage.weight > 0 && stage.matches(object);
        candidates.filter(|(_, stage)| suits(stage)).map(|(index, _)| index).collect()
    }

    /// One of the stages by weight, and its time.
    fn choose(&mut self, id: &Id, matching: &[usize], now: Duration) -> Option<(usize, Duration)> {
        let total: u64 = matching.iter().map(|&stage| self.stages[stage].weight).sum();
        if total == 0 {
            return None;
        }
        let round = self.rounds.entry(id.clone()).or_default();
        *round += 1;
        let mut random = fastrand::Rng::with_seed(self.seed ^ hash(id) ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut drawn = random.u64(..total);
        let chosen = matching.iter().copied().find(|&stage| {
            let weight = self.stages[stage].weight;
            let found = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            found
        })?;
        Some((chosen, now + self.stages[chosen].delay.with(random.u64(..))))
    }
}

/// FNV-1a, which is the same in every release and on every machine.
fn hash((kind, key): &Id) -> u64 {
    let bytes = kind.facts().plural.bytes().chain(key.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
