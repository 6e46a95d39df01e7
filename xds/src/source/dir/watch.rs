//! What the file system says has changed, coalesced.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// A burst of changes is over when nothing has happened for so long.
const QUIET: Duration = Duration::from_millis(50);

/// A burst is not waited for longer than this.
const LONGEST_BURST: Duration = Duration::from_millis(500);

/// A file that is written to is not read before it is closed, but for no longer than this.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// More touched paths than this are not told apart: everything is looked at instead.
const MAX_TOUCHED: usize = 65_536;

/// What has been touched since it was last asked for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    touched: BTreeSet<PathBuf>,
    /// Files that are written to, since when.
    writing: HashMap<PathBuf, Instant>,
    rescan: bool,
    /// First and last event of the burst.
    burst: Option<(Instant, Instant)>,
    stopped: bool,
}

/// Why waiting has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Something has changed.
    Changed(Touched),
    /// The time given has passed.
    Elapsed,
    /// Nobody is interested any more.
    Stopped,
}

/// What has been touched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Files and folders that may have changed.
    pub(super) paths: BTreeSet<PathBuf>,
    /// Events were lost: anything may have changed.
    pub(super) rescan: bool,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the waiting for good.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_all();
    }

    /// Takes an event in.
    pub(super) fn note(&self, event: notify::Result<Event>, now: Instant) {
        let mut state = self.lock();
        match event {
            Ok(event) if event.need_rescan() => state.rescan = true,
            Ok(event) => {
                if !state.take_in(event, now) {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "lost track of file changes, looking at everything");
                state.rescan = true;
            }
        }
        let first = state.burst.map_or(now, |(first, _)| first);
        state.burst = Some((first, now));
        drop(state);
        self.wake.notify_all();
    }

    /// Waits until a burst of changes is over.
    pub(super) fn wait(&self, patience: Duration) -> Wake {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.stopped {
                return Wake::Stopped;
            }
            let until = match state.due() {
                None if deadline <= now => return Wake::Elapsed,
                Some(due) if due <= now => {
                    if let Some(touched) = state.take_out(now) {
                        return Wake::Changed(touched);
                    }
                    continue;
                }
                due => due.unwrap_or(deadline),
            };
            let wait = until.saturating_duration_since(now);
            state = self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// When the burst is over, if there is one.
    fn due(&self) -> Option<Instant> {
        self.burst.map(|(first, last)| (first + LONGEST_BURST).min(last + QUIET))
    }

    /// Notes the paths of an event. False if it is of no interest.
    fn take_in(&mut self, event: Event, now: Instant) -> bool {
        let writing = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => true,
            _ => false,
        };
        for path in event.paths {
            if writing {
                self.writing.entry(path.clone()).or_insert(now);
            } else if !matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_))) {
                self.writing.remove(&path);
            }
            self.touched.insert(path);
        }
        if self.touched.len() > MAX_TOUCHED {
            self.touched.clear();
            self.writing.clear();
            self.rescan = true;
        }
        true
    }

    /// Ends a burst. Files that are still written to begin the next one; `None` if there is nothing else.
    fn take_out(&mut self, now: Instant) -> Option<Touched> {
        self.writing.retain(|_, since| now.saturating_duration_since(*since) < WRITER_PATIENCE);
        let (later, paths) =
            std::mem::take(&mut self.touched).into_iter().partition(|path| self.writing.contains_key(path));
        self.touched = later;
        self.burst = if self.touched.is_empty() { None } else { Some((now, now)) };
        let touched = Touched { paths, rescan: std::mem::take(&mut self.rescan) };
        (touched.rescan || !touched.paths.is_empty()).then_some(touched)
    }
}

/// Watches folders, each by itself; what happens in them is noted in a [`Pending`].
#[derive(Debug)]
pub(super) struct Watcher {
    inner: RecommendedWatcher,
}

impl Watcher {
    /// Begins to watch nothing.
    pub(super) fn new(pending: Arc<Pending>) -> Result<Self, WatchError> {
        let note = move |event| pending.note(event, Instant::now());
        let inner = notify::recommended_watcher(note).map_err(WatchError::from)?;
        Ok(Self { inner })
    }

    /// Watches a folder (what is directly in it).
    pub(super) fn watch(&mut self, dir: &Path) -> Result<(), WatchError> {
        self.inner.watch(dir, RecursiveMode::NonRecursive).map_err(WatchError::from)
    }

    /// Watches a folder no longer. It may be gone already.
    pub(super) fn unwatch(&mut self, dir: &Path) {
        if let Err(error) = self.inner.unwatch(dir) {
            tracing::debug!(path = %dir.display(), %error, "was not watched");
        }
    }
}

/// Why a folder cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The kernel's limit for watched folders of a user is reached.
    #[error(
        "the limit for watched folders is reached: raise it with `sysctl fs.inotify.max_user_watches=...` \
         (one is needed for each folder)"
    )]
    TooManyWatches,
    /// The kernel's limit for watching processes of a user is reached.
    #[error(
        "the limit for inotify instances or open files is reached: raise it with \
         `sysctl fs.inotify.max_user_instances=...` or `ulimit -n`"
    )]
    TooManyInstances,
    /// Something else.
    #[error("watching for changes failed")]
    Failed(#[source] notify::Error),
}

impl WatchError {
    /// The whole reason, with its cause.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Failed(cause) => format!("{self}: {cause}"),
            _ => self.to_string(),
        }
    }
}

impl From<notify::Error> for WatchError {
    fn from(error: notify::Error) -> Self {
        /// Too many open files: per process, and in the system.
        const EMFILE: i32 = 24;
        const ENFILE: i32 = 23;
        match &error.kind {
            notify::ErrorKind::MaxFilesWatch => Self::TooManyWatches,
            notify::ErrorKind::Io(io) if matches!(io.raw_os_error(), Some(EMFILE | ENFILE)) => Self::TooManyInstances,
            _ => Self::Failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, Flag, RenameMode};

    use super::*;

    /// Longer than any burst: nothing in these tests waits for it.
    const LONG: Duration = Duration::from_secs(60);

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(path.into())
    }

    const RENAMED: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));

    fn changed(pending: &Pending) -> Touched {
        match pending.wait(LONG) {
            Wake::Changed(touched) => touched,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_of_a_burst_are_told_together_and_once() {
        let (pending, now) = (Pending::default(), Instant::now());
        for path in ["a", "b", "a", "a"] {
            pending.note(Ok(event(RENAMED, path)), now);
        }
        assert_eq!(changed(&pending).paths, BTreeSet::from(["a".into(), "b".into()]));
        assert_eq!(pending.wait(Duration::ZERO), Wake::Elapsed);
    }

    #[test]
    fn being_read_is_no_change() {
        let pending = Pending::default();
        pending.note(Ok(event(EventKind::Access(AccessKind::Open(AccessMode::Any)), "a")), Instant::now());
        assert_eq!(pending.wait(Duration::ZERO), Wake::Elapsed);
    }

    #[test]
    fn a_file_that_is_written_to_waits_for_its_end_and_holds_up_no_other() {
        let (pending, now) = (Pending::default(), Instant::now());
        pending.note(Ok(event(WRITTEN, "open")), now);
        pending.note(Ok(event(RENAMED, "done")), now);
        assert_eq!(changed(&pending).paths, BTreeSet::from(["done".into()]));
        pending.note(Ok(event(CLOSED, "open")), Instant::now());
        assert_eq!(changed(&pending).paths, BTreeSet::from(["open".into()]));
    }

    #[test]
    fn a_writer_that_never_ends_is_not_waited_for_for_ever() {
        let Some(long_ago) = Instant::now().checked_sub(WRITER_PATIENCE) else { return };
        let pending = Pending::default();
        pending.note(Ok(event(WRITTEN, "open")), long_ago);
        assert_eq!(changed(&pending).paths, BTreeSet::from(["open".into()]));
    }

    #[test]
    fn lost_events_and_too_many_paths_ask_for_a_rescan() {
        let pending = Pending::default();
        pending.note(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), Instant::now());
        assert!(changed(&pending).rescan);
        for n in 0..=MAX_TOUCHED {
            pending.note(Ok(event(RENAMED, &n.to_string())), Instant::now());
        }
        let touched = changed(&pending);
        assert!(touched.rescan && touched.paths.len() < MAX_TOUCHED);
    }

    #[test]
    fn stopping_ends_the_waiting() {
        let pending = Pending::default();
        pending.stop();
        assert_eq!(pending.wait(LONG), Wake::Stopped);
    }

    #[test]
    fn a_limit_of_the_kernel_is_named_with_what_raises_it() {
        let watches = WatchError::from(notify::Error::new(notify::ErrorKind::MaxFilesWatch)).to_string();
        assert!(watches.contains("fs.inotify.max_user_watches"), "{watches}");
        let instances = WatchError::from(notify::Error::io(std::io::Error::from_raw_os_error(24))).to_string();
        assert!(instances.contains("fs.inotify.max_user_instances"), "{instances}");
    }
}
