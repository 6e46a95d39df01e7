//! What the kernel says of folders: inotify(7), each folder watched by itself.
//!
//! Only what changes something is asked for: being told of reads as well, the source would be woken by its own.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::changes::{Changes, Touch, Touched};

/// Events that come within this are read together: a file that is written anew makes five.
const GATHER: Duration = Duration::from_millis(5);

/// Room for the events of one read; each takes up to 272 bytes, mostly 48.
const BUFFER: usize = 8192;

/// So many events are read before something else is done; more wait in the kernel.
const MAX_EVENTS: usize = 65_536;

/// How long nothing is done after an error that does not pass by itself.
const PAUSE: Duration = Duration::from_secs(1);

/// Whoever changes what is in a folder, and what becomes of the folder itself.
const CHANGES: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

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

/// Ends the waiting for good when dropped.
#[derive(Debug)]
pub(super) struct Stop {
    _writer: PipeWriter,
}

/// Watches folders and collects what happens in them.
///
/// While nobody waits, events pile up in the kernel, in a queue of bounded length (`fs.inotify.max_queued_events`); when
/// it overflows, everything is looked at again.
#[derive(Debug)]
pub(super) struct Watcher {
    inotify: OwnedFd,
    /// Hangs up when it is time to stop.
    stop: PipeReader,
    /// Folders by the number of their watch.
    folders: HashMap<i32, Arc<Path>>,
    watches: HashMap<Arc<Path>, i32>,
    changes: Changes,
}

impl Watcher {
    /// Begins to watch nothing.
    pub(super) fn new() -> Result<(Self, Stop), WatchError> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let (stop, writer) = io::pipe().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::MFILE))?;
        let (folders, watches, changes) = Default::default();
        Ok((Self { inotify, stop, folders, watches, changes }, Stop { _writer: writer }))
    }

    /// Watches a folder (what is directly in it).
    pub(super) fn watch(&mut self, dir: &Path) -> Result<(), WatchError> {
        let watch = inotify::add_watch(&self.inotify, dir, CHANGES)?;
        let dir: Arc<Path> = dir.into();
        self.folders.insert(watch, Arc::clone(&dir));
        if let Some(before) = self.watches.insert(Arc::clone(&dir), watch).filter(|before| *before != watch) {
            self.end(before, &dir);
        }
        Ok(())
    }

    /// Watches a folder no longer. It may be gone already.
    pub(super) fn unwatch(&mut self, dir: &Path) {
        if let Some(watch) = self.watches.remove(dir) {
            self.end(watch, dir);
        }
    }

    /// Ends the watch of a folder, unless the kernel has the same one for another path.
    fn end(&mut self, watch: i32, dir: &Path) {
        if self.folders.get(&watch).is_some_and(|known| **known == *dir) {
            self.folders.remove(&watch);
            if let Err(error) = inotify::remove_watch(&self.inotify, watch) {
                tracing::debug!(path = %dir.display(), %error, "was not watched any more");
            }
        }
    }

    /// Waits until a burst of changes is over.
    pub(super) fn wait(&mut self, patience: Duration) -> Wake {
        let deadline = Instant::now() + patience;
        loop {
            let now = Instant::now();
            let until = match self.changes.due() {
                None if deadline <= now => return Wake::Elapsed,
                Some(due) if due <= now => match self.changes.take(now) {
                    Some(touched) => return Wake::Changed(touched),
                    None => continue,
                },
                due => due.unwrap_or(deadline),
            };
            match self.poll(until.saturating_duration_since(now)) {
                Ready::Stop => return Wake::Stopped,
                Ready::Events if self.rest(GATHER) => self.take_in(),
                Ready::Events | Ready::Nothing => {}
            }
        }
    }

    fn poll(&self, patience: Duration) -> Ready {
        let mut polled = [PollFd::new(&self.stop, PollFlags::IN), PollFd::new(&self.inotify, PollFlags::IN)];
        match poll(&mut polled, Timespec::try_from(patience).ok().as_ref()) {
            Ok(_) if !polled[0].revents().is_empty() => Ready::Stop,
            Ok(_) if !polled[1].revents().is_empty() => Ready::Events,
            Ok(_) | Err(Errno::INTR) => Ready::Nothing,
            Err(error) => {
                tracing::error!(%error, "cannot wait for changes of files; they are seen late");
                self.rest(PAUSE.min(patience));
                Ready::Nothing
            }
        }
    }

    /// Lets time pass. False if it is time to stop.
    fn rest(&self, time: Duration) -> bool {
        let mut polled = [PollFd::new(&self.stop, PollFlags::IN)];
        poll(&mut polled, Timespec::try_from(time).ok().as_ref()) != Ok(1)
    }

    /// Takes in what has happened so far. Called now and then by who is busy, so that little piles up.
    pub(super) fn take_in(&mut self) {
        let Self { inotify, folders, watches, changes, .. } = self;
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&*inotify, &mut buffer);
        let now = Instant::now();
        for _ in 0..MAX_EVENTS {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    tracing::warn!(%error, "lost track of file changes, looking at everything");
                    return changes.lose_track(now);
                }
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                changes.lose_track(now);
                continue;
            }
            let Some(folder) = folders.get(&event.wd()) else { continue };
            if event.events().contains(ReadFlags::IGNORED) {
                // The folder is gone, and its watch with it.
                if watches.get(folder) == Some(&event.wd()) {
                    watches.remove(folder);
                }
                folders.remove(&event.wd());
                continue;
            }
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            changes.note(
                name.map_or_else(|| folder.to_path_buf(), |name| folder.join(name)),
                touch(event.events()),
                now,
            );
        }
    }
}

/// What there is to read.
enum Ready {
    Events,
    Stop,
    Nothing,
}

fn touch(events: ReadFlags) -> Touch {
    if events.contains(ReadFlags::MODIFY) {
        Touch::Written
    } else if events.contains(ReadFlags::ATTRIB) {
        Touch::Attributes
    } else {
        Touch::Done
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
    Failed(#[source] io::Error),
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

impl From<Errno> for WatchError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOSPC => Self::TooManyWatches,
            Errno::MFILE | Errno::NFILE => Self::TooManyInstances,
            other => Self::Failed(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// Longer than any burst: nothing in these tests waits for it.
    const LONG: Duration = Duration::from_secs(60);

    fn watching(dir: &Path) -> (Watcher, Stop) {
        let (mut watcher, stop) = Watcher::new().unwrap();
        watcher.watch(dir).unwrap();
        (watcher, stop)
    }

    fn changed(watcher: &mut Watcher) -> Touched {
        match watcher.wait(LONG) {
            Wake::Changed(touched) => touched,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_is_told_with_its_path_and_being_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "a").unwrap();
        let (mut watcher, _stop) = watching(dir.path());
        fs::read(&a).unwrap();
        fs::read_dir(dir.path()).unwrap().for_each(drop);
        assert_eq!(watcher.wait(GATHER), Wake::Elapsed);
        fs::rename(&a, &b).unwrap();
        assert_eq!(changed(&mut watcher).paths, BTreeSet::from([a, b]));
    }

    #[test]
    fn a_folder_that_is_made_again_is_watched_again() {
        let dir = tempfile::tempdir().unwrap();
        let (below, file) = (dir.path().join("below"), dir.path().join("below/a"));
        fs::create_dir(&below).unwrap();
        let (mut watcher, _stop) = watching(&below);
        for _ in 0..3 {
            fs::remove_dir_all(&below).unwrap();
            assert!(changed(&mut watcher).paths.contains(&below));
            fs::create_dir(&below).unwrap();
            watcher.watch(&below).unwrap();
            fs::write(&file, "").unwrap();
            assert_eq!(changed(&mut watcher).paths, BTreeSet::from([file.clone()]));
        }
        assert_eq!((watcher.folders.len(), watcher.watches.len()), (1, 1));
    }

    #[test]
    fn a_folder_that_is_watched_by_two_paths_loses_only_the_one_that_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let (mut watcher, _stop) = watching(&link);
        watcher.watch(&real).unwrap();
        watcher.unwatch(&link);
        fs::write(real.join("a"), "").unwrap();
        assert_eq!(changed(&mut watcher).paths, BTreeSet::from([real.join("a")]));
        watcher.unwatch(&real);
        fs::write(real.join("a"), "").unwrap();
        assert_eq!(watcher.wait(GATHER), Wake::Elapsed);
    }

    #[test]
    fn more_events_than_the_kernel_keeps_ask_for_a_rescan() {
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let [mut from, mut to] = ["a", "b"].map(|name| dir.path().join(name));
        fs::write(&from, "").unwrap();
        let (mut watcher, _stop) = watching(dir.path());
        // Two events each.
        for _ in 0..=limit / 2 {
            fs::rename(&from, &to).unwrap();
            std::mem::swap(&mut from, &mut to);
        }
        assert!(changed(&mut watcher).rescan);
    }

    #[test]
    fn stopping_ends_the_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let (mut watcher, stop) = watching(dir.path());
        let waiting = std::thread::spawn(move || watcher.wait(LONG));
        drop(stop);
        assert_eq!(waiting.join().unwrap(), Wake::Stopped);
    }

    #[test]
    fn only_folders_are_watched() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (mut watcher, _stop) = Watcher::new().unwrap();
        assert!(matches!(watcher.watch(file.path()), Err(WatchError::Failed(_))));
    }

    #[test]
    fn a_limit_of_the_kernel_is_named_with_what_raises_it() {
        let watches = WatchError::from(Errno::NOSPC).to_string();
        assert!(watches.contains("fs.inotify.max_user_watches"), "{watches}");
        let instances = WatchError::from(Errno::MFILE).to_string();
        assert!(instances.contains("fs.inotify.max_user_instances"), "{instances}");
    }
}
