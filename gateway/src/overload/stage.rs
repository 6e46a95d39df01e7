//! Stages of overload: when each begins, and when it ends.

use std::time::{Duration, Instant};

/// How far below its threshold the figure must be before a stage ends, in points of percent: what a stage frees must not
/// end it at once, or it would come and go.
const HYSTERESIS: f64 = 3.0;

/// For so long. A burst of closing connections or a purge takes about a second to show.
const HOLD: Duration = Duration::from_secs(2);

/// What is done about memory that runs short. Each stage includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing.
    #[default]
    Calm,
    /// The certificate cache has its floor only, and free memory goes back to the system.
    Shrink,
    /// Idle connections are closed, others after their response.
    Close,
    /// New connections are closed, and requests are answered with 503.
    Refuse,
}

impl Stage {
    /// All stages, as they follow one another.
    pub const ALL: [Self; 4] = [Self::Calm, Self::Shrink, Self::Close, Self::Refuse];

    /// The name in logs, metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Shrink => "shrink",
            Self::Close => "close",
            Self::Refuse => "refuse",
        }
    }

    fn lower(self) -> Self {
        Self::ALL[(self as usize).saturating_sub(1)]
    }
}

/// The share of the limit at which each stage begins, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// [`Stage::Shrink`]: 85, so that a cache is given up before anybody notices.
    pub shrink: u8,
    /// [`Stage::Close`]: 92.
    pub close: u8,
    /// [`Stage::Refuse`]: 96. The rest is for what is under way.
    pub refuse: u8,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { shrink: 85, close: 92, refuse: 96 }
    }
}

impl Thresholds {
    /// Where a stage begins; the first has no beginning.
    pub(super) fn of(self, stage: Stage) -> f64 {
        match stage {
            Stage::Calm => f64::NEG_INFINITY,
            Stage::Shrink => f64::from(self.shrink),
            Stage::Close => f64::from(self.close),
            Stage::Refuse => f64::from(self.refuse),
        }
    }

    fn reached(self, percent: f64) -> Stage {
        Stage::ALL.into_iter().rev().find(|stage| percent >= self.of(*stage)).unwrap_or_default()
    }
}

/// Climbs at once, as high as need be; descends one stage at a time, each after a while below it.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    stage: Stage,
    below_since: Option<Instant>,
}

impl Ladder {
    /// Takes in how much of the limit is used, in percent; true if the stage has changed.
    pub(super) fn observe(&mut self, percent: f64, thresholds: Thresholds, now: Instant) -> bool {
        let reached = thresholds.reached(percent);
        if reached > self.stage {
            (self.stage, self.below_since) = (reached, None);
            return true;
        }
        if self.stage == Stage::Calm || percent >= thresholds.of(self.stage) - HYSTERESIS {
            self.below_since = None;
            return false;
        }
        let since = *self.below_since.get_or_insert(now);
        let is_over = now.duration_since(since) >= HOLD;
        if is_over {
            (self.stage, self.below_since) = (self.stage.lower(), Some(now));
        }
        is_over
    }

    /// The stage as it is.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stages that a ladder is on after each reading, which come with half a second between them.
    fn climbed(readings: &[f64]) -> Vec<Stage> {
        let (mut ladder, began) = (Ladder::default(), Instant::now());
        let mut now = began;
        let observe = |percent: &f64| {
            let before = ladder.stage();
            let has_changed = ladder.observe(*percent, Thresholds::default(), now);
            assert_eq!(has_changed, ladder.stage() != before);
            now += Duration::from_millis(500);
            ladder.stage()
        };
        readings.iter().map(observe).collect()
    }

    #[test]
    fn each_stage_begins_at_its_threshold_and_stages_may_be_skipped() {
        use Stage::{Calm, Close, Refuse, Shrink};
        assert_eq!(
            climbed(&[10.0, 84.9, 85.0, 91.9, 92.0, 96.0, 120.0]),
            [Calm, Calm, Shrink, Shrink, Close, Refuse, Refuse]
        );
        assert_eq!(climbed(&[10.0, 99.0]), [Calm, Refuse]);
    }

    #[test]
    fn a_stage_ends_after_a_while_well_below_its_threshold_and_one_at_a_time() {
        use Stage::{Calm, Close, Refuse, Shrink};
        let stages = climbed(&[97.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0]);
        assert_eq!(stages[..6], [Refuse, Refuse, Refuse, Refuse, Refuse, Close]);
        assert_eq!(stages[6..], [Close, Close, Close, Shrink, Shrink, Shrink, Shrink, Calm]);
    }

    #[test]
    fn a_figure_that_swings_about_a_threshold_keeps_the_stage() {
        let swinging: Vec<f64> = [86.0, 84.0, 82.1].into_iter().cycle().take(60).collect();
        assert!(climbed(&swinging).iter().all(|stage| *stage == Stage::Shrink));
        // Well below, but never for long enough.
        let dipping: Vec<f64> = [86.0, 60.0, 60.0, 60.0, 60.0].into_iter().cycle().take(60).collect();
        assert!(climbed(&dipping).iter().all(|stage| *stage == Stage::Shrink));
    }

    #[test]
    fn it_climbs_again_while_it_descends() {
        let stages = climbed(&[97.0, 20.0, 20.0, 20.0, 20.0, 20.0, 93.0, 97.0]);
        assert_eq!(stages[5..], [Stage::Close, Stage::Close, Stage::Refuse]);
    }
}
