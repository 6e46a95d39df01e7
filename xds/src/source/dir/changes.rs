//! What has been touched, coalesced.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A burst of changes is over when nothing has happened for so long.
const QUIET: Duration = Duration::from_millis(50);

/// A burst is not waited for longer than this.
const LONGEST_BURST: Duration = Duration::from_millis(500);

/// A file that is written to is not read before it is closed, but for no longer than this.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// More touched paths than this are not told apart: everything is looked at instead.
const MAX_TOUCHED: usize = 65_536;

/// What has been touched since it was last taken.
#[derive(Debug, Default)]
pub(super) struct Changes {
    touched: BTreeSet<PathBuf>,
    /// Files that are written to, since when.
    writing: HashMap<PathBuf, Instant>,
    rescan: bool,
    /// First and last event of the burst.
    burst: Option<(Instant, Instant)>,
}

/// What has happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// It has come, gone, or been closed by who wrote to it.
    Done,
    /// It has been written to; more may follow.
    Written,
    /// Owner, permissions or times have changed.
    Attributes,
}

/// What has been touched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Files and folders that may have changed.
    pub(super) paths: BTreeSet<PathBuf>,
    /// Events were lost: anything may have changed.
    pub(super) rescan: bool,
}

impl Changes {
    /// Takes an event in.
    pub(super) fn note(&mut self, path: PathBuf, touch: Touch, now: Instant) {
        match touch {
            Touch::Done => drop(self.writing.remove(&path)),
            Touch::Written => drop(self.writing.entry(path.clone()).or_insert(now)),
            Touch::Attributes => {}
        }
        self.touched.insert(path);
        if self.touched.len() > MAX_TOUCHED {
            self.touched.clear();
            self.writing.clear();
            self.rescan = true;
        }
        self.extend_burst(now);
    }

    /// Events have been lost.
    pub(super) fn lose_track(&mut self, now: Instant) {
        self.rescan = true;
        self.extend_burst(now);
    }

    fn extend_burst(&mut self, now: Instant) {
        let first = self.burst.map_or(now, |(first, _)| first);
        self.burst = Some((first, now));
    }

    /// When the burst is over, if there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        self.burst.map(|(first, last)| (first + LONGEST_BURST).min(last + QUIET))
    }

    /// Ends a burst. Files that are still written to begin the next one; `None` if there is nothing else.
    pub(super) fn take(&mut self, now: Instant) -> Option<Touched> {
        self.writing.retain(|_, since| now.saturating_duration_since(*since) < WRITER_PATIENCE);
        let (later, paths) =
            std::mem::take(&mut self.touched).into_iter().partition(|path| self.writing.contains_key(path));
        self.touched = later;
        self.burst = if self.touched.is_empty() { None } else { Some((now, now)) };
        let touched = Touched { paths, rescan: std::mem::take(&mut self.rescan) };
        (touched.rescan || !touched.paths.is_empty()).then_some(touched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(touched: Option<Touched>) -> Vec<String> {
        let paths = touched.unwrap_or_default().paths;
        paths.into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn events_of_a_burst_are_told_together_and_once() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        for path in ["a", "b", "a", "a"] {
            changes.note(path.into(), Touch::Done, now);
        }
        assert_eq!(paths(changes.take(now)), ["a", "b"]);
        assert_eq!((changes.take(now), changes.due()), (None, None));
    }

    #[test]
    fn a_burst_is_over_when_it_is_quiet_and_after_a_while_in_any_case() {
        let (mut changes, began) = (Changes::default(), Instant::now());
        changes.note("a".into(), Touch::Done, began);
        assert_eq!(changes.due(), Some(began + QUIET));
        for n in 1..=100 {
            changes.note("a".into(), Touch::Done, began + n * QUIET / 2);
        }
        assert_eq!(changes.due(), Some(began + LONGEST_BURST));
    }

    #[test]
    fn a_file_that_is_written_to_waits_for_its_end_and_holds_up_no_other() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        changes.note("open".into(), Touch::Written, now);
        changes.note("open".into(), Touch::Attributes, now);
        changes.note("done".into(), Touch::Done, now);
        assert_eq!(paths(changes.take(now)), ["done"]);
        changes.note("open".into(), Touch::Done, now);
        assert_eq!(paths(changes.take(now)), ["open"]);
    }

    #[test]
    fn a_writer_that_never_ends_is_not_waited_for_for_ever() {
        let (mut changes, began) = (Changes::default(), Instant::now());
        changes.note("open".into(), Touch::Written, began);
        assert_eq!(changes.take(began + WRITER_PATIENCE / 2), None);
        assert_eq!(paths(changes.take(began + WRITER_PATIENCE)), ["open"]);
    }

    #[test]
    fn lost_events_and_too_many_paths_ask_for_a_rescan() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        changes.lose_track(now);
        assert!(changes.take(now).is_some_and(|touched| touched.rescan));
        for n in 0..=MAX_TOUCHED {
            changes.note(n.to_string().into(), Touch::Done, now);
        }
        let touched = changes.take(now).unwrap_or_default();
        assert!(touched.rescan && touched.paths.len() < MAX_TOUCHED);
    }
}
