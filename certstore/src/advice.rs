//! Advice: how much would be found in the cache if its budget were another one.
//!
//! The answer is simulated while the cache is used, with *miniature simulations* (Waldspurger, Saemundsson, Ahmad and
//! Park, "Cache Modeling and Optimization using Miniature Simulations", USENIX ATC 2017): small caches that follow the
//! real one's policy and hold only the names of a sample, chosen by their hash, are scaled down as the sample is. Their
//! misses, scaled up again, are those of the full caches. Each has as large a sample as it can take: the smaller the
//! cache, the less of it may be left to chance. Hits are what is left of all references, which are counted
//! exactly: a few names make up much of the traffic, whether they are in the sample is chance, but they are hardly ever
//! missed (the correction of Waldspurger et al., "Efficient MRC Construction with SHARDS", USENIX FAST 2015).
//!
//! moka's own objects are not used for that: those of seven caches take a mebibyte for a few hundred names. What is used
//! follows moka's policy step by step; `tests/advice` compares the two.
//!
//! A handshake pays for it with a hash and a comparison; if its name is in the sample, with a few hundred nanoseconds. It
//! never waits: when another thread is at it, the reference is left out and counted.

mod cost;
mod figures;
mod miniature;
mod model;
mod names;
mod sketch;

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::FixedState;
use tokio::time::Instant;

use crate::secret::SecretRef;
use cost::Waits;
pub(crate) use figures::describe;
use model::Model;

/// The budgets that are simulated, as shares of the present one.
pub const SHARES: [f64; 7] = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
/// [`SHARES`] as they are written.
pub const SHARE_NAMES: [&str; SHARES.len()] = ["0.125", "0.25", "0.5", "1", "2", "4", "8"];
/// The position of the present budget among [`SHARES`].
const PRESENT: usize = 3;

/// After this long, what was counted counts half: a daily cycle is followed.
const HALF_LIFE: Duration = Duration::from_secs(3600);
/// A budget that holds no longer than this is not followed: memory pressure comes and goes.
const SETTLED: Duration = Duration::from_secs(60);
/// The share of handshakes that [`SizeAdvice::certificate_p99`] leaves out.
const SLOWEST: f64 = 0.01;

/// What other budgets would bring, from the use of the last hours.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Advice {
    /// The budget that the shares are of, in bytes.
    pub budget: u64,
    /// In ascending order, those of which something is known: after a change of the budget, sizes that were not simulated
    /// before wait for the next reference. Empty as long as nothing was asked for.
    pub sizes: Vec<SizeAdvice>,
    /// For how long what is told of the present budget has been counted: since the process began, or since a budget of
    /// another size is followed.
    pub counted: Duration,
    /// References to the real cache since it has this budget; those of an hour ago count half.
    pub references: f64,
    /// How many of them were found in the real cache.
    pub measured_hit_ratio: Option<f64>,
    /// What is simulated for the present budget, less what is measured.
    pub error: Option<f64>,
    /// How long a handshake waited on average for a certificate that was not there.
    pub miss_mean: Option<Duration>,
    /// How long all but the slowest hundredth of those did.
    pub miss_p99: Option<Duration>,
    /// The share of names on which the present budget is simulated; smaller ones are simulated on more, larger ones on
    /// fewer.
    pub sampled: f64,
    /// References that were left out since the process began, as another thread was at it.
    pub dropped: u64,
    /// Bytes that the simulation takes.
    pub bytes: usize,
}

/// What one budget would bring.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SizeAdvice {
    /// Of the present budget.
    pub share: f64,
    /// Bytes.
    pub budget: u64,
    /// Of all that is asked for, what would be found.
    pub hit_ratio: f64,
    /// How long all but the slowest hundredth of handshakes would wait for their certificate; zero where so few are missed.
    pub certificate_p99: Duration,
}

/// Simulates other budgets while a cache is used.
#[derive(Debug)]
pub struct Advisor {
    hasher: FixedState,
    /// The greatest hash of any sample.
    threshold: AtomicU64,
    missed: AtomicU64,
    dropped: AtomicU64,
    state: Mutex<State>,
    half_life: Duration,
    figures: figures::Figures,
}

#[derive(Debug)]
struct State {
    model: Model,
    waits: Waits,
    window: Window,
    folded: Instant,
    /// The budget that is set, and since when.
    target: (u64, Instant),
}

/// References to the real cache, counted as the model's are.
#[derive(Debug)]
struct Window {
    found: f64,
    missed: f64,
    dropped: f64,
    /// For each size, all since it is simulated, and since when.
    simulated: [(f64, Instant); SHARES.len()],
    /// The counters' values when they were last looked at.
    seen: (u64, u64, u64),
}

impl Advisor {
    /// For a cache with this budget, of which up to `headroom` bytes are kept free as [`CertStore`](crate::CertStore) does.
    pub fn new(budget: u64, headroom: u64) -> Self {
        let now = Instant::now();
        let state = State {
            model: Model::new(budget, headroom),
            waits: Waits::new(),
            window: Window::new(now),
            folded: now,
            target: (budget, now),
        };
        Self {
            // Which names are in the sample differs from process to process, and so do the errors.
            hasher: FixedState::with_seed(fastrand::u64(..)),
            threshold: AtomicU64::new(state.model.threshold()),
            missed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            state: Mutex::new(state),
            half_life: HALF_LIFE,
            figures: figures::Figures::default(),
        }
    }

    /// With a sample that is the same each time.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        self.hasher = FixedState::with_seed(seed);
        self
    }

    /// With another time after which what was counted counts half; an hour by default.
    #[must_use]
    pub fn half_life(mut self, half_life: Duration) -> Self {
        self.half_life = half_life;
        self
    }

    /// The certificate of this Secret was asked for and there is one, of so many bytes.
    pub fn refer(&self, secret: &SecretRef, bytes: u64) {
        let hash = self.hasher.hash_one(secret);
        if hash > self.threshold.load(Relaxed) {
            return;
        }
        let Ok(mut state) = self.state.try_lock() else {
            self.dropped.fetch_add(1, Relaxed);
            return;
        };
        state.model.refer(hash, u32::try_from(bytes).unwrap_or(u32::MAX));
        self.threshold.store(state.model.threshold(), Relaxed);
    }

    /// It was not in the real cache, and came after this time.
    pub fn missed(&self, wait: Duration) {
        self.missed.fetch_add(1, Relaxed);
        if let Ok(mut state) = self.state.try_lock() {
            state.waits.record(wait);
        }
    }

    /// There is no such Secret any more.
    pub fn removed(&self, secret: &SecretRef) {
        let hash = self.hasher.hash_one(secret);
        if hash <= self.threshold.load(Relaxed) {
            self.state().model.remove(hash);
        }
    }

    /// The real cache has this budget now. If it lasts, its shares are simulated.
    pub fn set_budget(&self, budget: u64) {
        let mut state = self.state();
        if state.target.0 != budget {
            state.target = (budget, Instant::now());
        }
    }

    /// Lets time pass; `found` is how many references the real cache has answered since it was made. Call it now and then.
    pub fn fold(&self, found: u64) {
        let mut state = self.state();
        let now = Instant::now();
        let counters = (found, self.missed.load(Relaxed), self.dropped.load(Relaxed));
        let elapsed = now.saturating_duration_since(state.folded);
        let factor = 0.5_f64.powf(elapsed.as_secs_f64() / self.half_life.as_secs_f64());
        state.folded = now;
        state.model.fade(factor);
        state.waits.fade(factor);
        state.window.fade(factor);
        state.window.add(counters);
        let (target, since) = state.target;
        if target != state.model.budget() && now.saturating_duration_since(since) >= SETTLED {
            state.follow(target);
            self.threshold.store(state.model.threshold(), Relaxed);
        }
    }

    /// What was learned so far; [`fold`](Self::fold) brings it up to date.
    pub fn advice(&self) -> Advice {
        let state = self.state();
        let State { model, waits, window, .. } = &*state;
        let references = window.found + window.missed;
        let measured_hit_ratio = (references > 0.0).then(|| window.found / references);
        let sizes: Vec<_> = (0..SHARES.len()).filter_map(|position| state.size(position)).collect();
        let present = sizes.iter().find(|size| size.budget == model.budget());
        let error = measured_hit_ratio.zip(present).map(|(measured, size)| size.hit_ratio - measured);
        Advice {
            budget: model.budget(),
            counted: window.simulated[PRESENT].1.elapsed(),
            sizes,
            references,
            measured_hit_ratio,
            error,
            miss_mean: waits.mean(),
            miss_p99: waits.quantile(1.0 - SLOWEST),
            sampled: model.rate(),
            dropped: self.dropped.load(Relaxed),
            bytes: size_of::<Self>() + model.bytes(),
        }
    }

    /// Shows what was learned as metrics.
    pub(crate) fn publish(&self) {
        self.figures.publish(&self.advice());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panicking holder leaves may be off by a name, which is no more than an error of the simulation.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of [`SHARES`] of a budget.
fn share(position: usize, budget: u64) -> u64 {
    if position < PRESENT { budget >> (PRESENT - position) } else { budget.saturating_mul(1 << (position - PRESENT)) }
}

/// Which of the shares of the budget `before` has the size that this one has of `budget`.
fn simulated_as(position: usize, budget: u64, before: u64) -> Option<usize> {
    (0..SHARES.len()).find(|earlier| share(*earlier, before) == share(position, budget))
}

impl State {
    /// What is known of one of [`SHARES`].
    fn size(&self, position: usize) -> Option<SizeAdvice> {
        let Self { model, waits, window, .. } = self;
        let (references, _) = window.simulated[position];
        if references <= 0.0 {
            return None;
        }
        let left_out = if model.references() > 0.0 { window.dropped / model.references() } else { 0.0 };
        let miss_ratio = (model.misses(position) * (1.0 + left_out) / references).clamp(0.0, 1.0);
        let slowest = (miss_ratio > SLOWEST).then(|| waits.quantile(1.0 - SLOWEST / miss_ratio)).flatten();
        Some(SizeAdvice {
            share: SHARES[position],
            budget: share(position, model.budget()),
            hit_ratio: 1.0 - miss_ratio,
            certificate_p99: slowest.unwrap_or_default(),
        })
    }

    /// Simulates shares of this budget from now on. What was counted of sizes that were among the shares of the one before
    /// stays.
    fn follow(&mut self, budget: u64) {
        let before = self.model.budget();
        let now = Instant::now();
        let counted = |position| {
            simulated_as(position, budget, before).map_or((0.0, now), |earlier| self.window.simulated[earlier])
        };
        let simulated = std::array::from_fn(counted);
        self.model.set_budget(budget);
        self.window = Window { found: 0.0, missed: 0.0, simulated, ..self.window };
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { found: 0.0, missed: 0.0, dropped: 0.0, simulated: [(0.0, now); SHARES.len()], seen: (0, 0, 0) }
    }

    fn fade(&mut self, factor: f64) {
        for count in [&mut self.found, &mut self.missed, &mut self.dropped] {
            *count *= factor;
        }
        for (references, _) in &mut self.simulated {
            *references *= factor;
        }
    }

    fn add(&mut self, now: (u64, u64, u64)) {
        let before = std::mem::replace(&mut self.seen, now);
        let (found, missed) = (now.0.saturating_sub(before.0) as f64, now.1.saturating_sub(before.1) as f64);
        self.found += found;
        self.missed += missed;
        for (references, _) in &mut self.simulated {
            *references += found + missed;
        }
        self.dropped += now.2.saturating_sub(before.2) as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_what_they_are_called() {
        for (position, (number, name)) in SHARES.iter().zip(SHARE_NAMES).enumerate() {
            assert_eq!(number.to_string(), name);
            assert!((share(position, 8000) as f64 - number * 8000.0).abs() < 1e-9, "{name}");
        }
    }
}
