//! Which service is asked for: Zipf's law over all of them.
//!
//! The service of rank r is asked for in proportion to 1/r (Breslau et al., "Web caching and Zipf-like distributions",
//! 1999). Ranks are dealt at random, so that neighbours in number are not neighbours in favour.

use fastrand::Rng;
use postern_tests::cluster::numbered_service;

/// The services and their popularity.
#[derive(Debug)]
pub(crate) struct Names {
    /// Numbers of services, the most popular first.
    by_rank: Vec<u32>,
    /// Share of all requests that go to a rank or one before it.
    cumulative: Vec<f64>,
}

impl Names {
    /// This many services.
    pub(crate) fn new(services: usize, seed: u64) -> Self {
        let mut by_rank: Vec<u32> = (0..services).filter_map(|number| u32::try_from(number).ok()).collect();
        Rng::with_seed(seed).shuffle(&mut by_rank);
        let mut sum = 0.0;
        let weigh = |rank| {
            sum += 1.0 / (rank as f64 + 1.0);
            sum
        };
        let weights: Vec<f64> = (0..by_rank.len()).map(weigh).collect();
        let cumulative = weights.into_iter().map(|weight| weight / sum).collect();
        Self { by_rank, cumulative }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_rank.len()
    }

    /// A service, by popularity.
    pub(crate) fn pick(&self, rng: &mut Rng) -> usize {
        let share = rng.f64();
        let rank = self.cumulative.partition_point(|&upto| upto < share);
        self.by_rank.get(rank).or(self.by_rank.last()).map_or(0, |&number| number as usize)
    }
}

/// The external host of a service.
pub(crate) fn host(number: usize) -> String {
    numbered_service(number, &[]).external_host()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rank_is_asked_for_twice_as_often_as_the_second() {
        let names = Names::new(100, 7);
        let mut rng = Rng::with_seed(7);
        let mut counts = [0_u32; 100];
        for _ in 0..100_000 {
            counts[names.pick(&mut rng)] += 1;
        }
        let [first, second] = [0, 1].map(|rank| f64::from(counts[names.by_rank[rank] as usize]));
        assert!((1.8..2.2).contains(&(first / second)), "{first} and {second}");
        assert!(counts.iter().all(|&count| count > 0));
    }
}
