//! References to names, as traffic has them; the same each time for a seed.

use fastrand::Rng;

/// What traffic is like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The n-th name is asked for in proportion to 1/n^0.9.
    Zipf,
    /// The same, and every third reference is the next of all names in turn.
    Scan,
    /// The same as Zipf, over names that move on: every 20 references one leaves and a new one comes.
    Churn,
    /// By day as Zipf; by night half of the traffic is to other names. Four days.
    Daily,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace {
    pub(crate) kind: Kind,
    pub(crate) names: usize,
    pub(crate) references: usize,
    pub(crate) seed: u64,
}

impl Trace {
    pub(crate) fn references(&self) -> impl Iterator<Item = usize> {
        let mut random = Rng::with_seed(self.seed);
        let cumulative: Vec<f64> = (1..=self.names)
            .scan(0.0, |sum, rank| {
                *sum += (rank as f64).powf(-0.9);
                Some(*sum)
            })
            .collect();
        let Self { kind, names, references, .. } = *self;
        (0..references).map(move |time| {
            let point = random.f64() * cumulative.last().copied().unwrap_or(0.0);
            let rank = cumulative.partition_point(|sum| *sum < point).min(names - 1);
            match kind {
                Kind::Scan if time % 3 == 0 => (time / 3) % names,
                Kind::Zipf | Kind::Scan => rank,
                Kind::Churn => (rank + time / 20) % names,
                Kind::Daily => {
                    let is_night = (time * 8 / references) % 2 == 1;
                    if is_night && random.bool() { names - 1 - rank } else { rank }
                }
            }
        })
    }
}
