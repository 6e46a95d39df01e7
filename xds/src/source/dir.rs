//! A directory of manifests as a source.
//!
//! Every `*.yaml`, `*.yml` and `*.json` below the directory is read, whatever it is called and however many documents
//! or lists are in it; hidden files and folders are not. A thread of its own owns the state; a change costs what the
//! touched files cost, however many others there are.
//!
//! What is kept of an object is its name, its place and a hash. An object named in several places is in effect where
//! its path comes first. Something that cannot be read takes nothing away: the last good objects stay, and a
//! [`Fault`](crate::Fault) says what is wrong and where.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, thread};

use tokio::sync::mpsc;

mod changes;
mod claims;
mod document;
mod file;
mod index;
mod input;
mod kind;
mod links;
mod metrics;
mod namespaces;
mod read;
mod record;
mod report;
mod scan;
mod secret;
mod secret_document;
mod split;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod typed;
mod watch;
mod worker;

pub use file::ReadError;
pub use metrics::{Stats, describe_metrics};
pub use secret::{PrivateKey, SecretContent, SecretFiles, SecretReadError};
pub use watch::WatchError;

use self::metrics::Counters;
use self::watch::{Stop, Watcher};
use self::worker::Worker;
use crate::fault::Faults;
use crate::object::ObjectEvent;

/// Batches that wait for being taken. While they do, changes are coalesced.
const BATCHES: usize = 2;

/// How a directory is read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Larger files are not read. Default: 64 MiB, some 20,000 objects.
    pub max_file_bytes: u32,
    /// Larger documents are not read. Default: 4 MiB; an object in a cluster has at most 1.5 MiB (etcd's limit).
    pub max_document_bytes: u32,
    /// What the thread that reads does first. Default: nothing.
    pub on_thread_start: fn(),
}

impl Default for Options {
    fn default() -> Self {
        Self { max_file_bytes: 64 << 20, max_document_bytes: 4 << 20, on_thread_start: || {} }
    }
}

/// Why a directory cannot be a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is not there, or may not be read.
    #[error("{} cannot be read: expected a directory of manifests", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is not a directory: expected a directory of manifests", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Its changes cannot be followed.
    #[error("{} cannot be followed", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: WatchError,
    },
    /// The thread that reads it could not be started.
    #[error("{} cannot be followed: no thread can be started", path.display())]
    Thread {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    /// True if another path would do; otherwise something of the system is wrong.
    pub fn is_about_path(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::NotADirectory { .. })
    }
}

/// Sees whether there is a directory at a path that can be read, without opening it as a source.
///
/// # Errors
/// [`OpenError::Unreadable`] or [`OpenError::NotADirectory`].
pub fn look(path: impl AsRef<Path>) -> Result<(), OpenError> {
    find_root(path.as_ref()).map(drop)
}

fn find_root(path: &Path) -> Result<PathBuf, OpenError> {
    // Without a trailing slash or `.`, so that paths in events compare equal.
    let root: PathBuf = path.components().collect();
    let unreadable = |source| OpenError::Unreadable { path: root.clone(), source };
    if !std::fs::metadata(&root).map_err(unreadable)?.is_dir() {
        return Err(OpenError::NotADirectory { path: root });
    }
    std::fs::read_dir(&root).map_err(unreadable)?;
    Ok(root)
}

/// The objects in a directory of manifests, and their changes. Ends its thread when dropped.
#[derive(Debug)]
pub struct DirSource {
    batches: mpsc::Receiver<Vec<ObjectEvent>>,
    secrets: SecretFiles,
    counters: Arc<Counters>,
    _stop: Stop,
}

impl DirSource {
    /// Begins to read a directory and to follow it. What is wrong with files is told to `faults`.
    pub fn open(path: impl AsRef<Path>, options: Options, faults: Faults) -> Result<Self, OpenError> {
        let root = find_root(path.as_ref())?;
        let watch = |source| OpenError::Watch { path: root.clone(), source };
        let (mut watcher, stop) = Watcher::new().map_err(watch)?;
        watcher.watch(&root).map_err(watch)?;
        let (sender, batches) = mpsc::channel(BATCHES);
        let worker = Worker::new(root.as_path().into(), options, watcher, faults, sender);
        let secrets = SecretFiles::new(Arc::clone(&worker.index), options.max_file_bytes);
        let counters = Arc::clone(&worker.counters);
        thread::Builder::new()
            .name("postern-dir".to_owned())
            .spawn(move || {
                (options.on_thread_start)();
                worker.run();
            })
            .map_err(|source| OpenError::Thread { path: root.clone(), source })?;
        Ok(Self { batches, secrets, counters, _stop: stop })
    }

    /// What differs since the last call: first all there is, in batches that end with [`ObjectEvent::Synced`], then
    /// changes, coalesced. Waits until there is something; never empty. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Vec<ObjectEvent> {
        if let Some(batch) = self.batches.recv().await {
            return batch;
        }
        tracing::error!("the directory is no longer followed; what was read stays in effect");
        std::future::pending().await
    }

    /// What has been done so far and what is held.
    pub fn stats(&self) -> Stats {
        self.counters.stats(&self.secrets.index())
    }

    /// Access to the data of the Secrets.
    pub fn secrets(&self) -> SecretFiles {
        self.secrets.clone()
    }
}
