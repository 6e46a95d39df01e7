//! The sealed tier: Secrets that were loaded once, encrypted in files, for when the source of Secrets is away.
//!
//! ```text
//!  load ─► seal (AES-256-GCM) ─► queue ─► thread ─► DIRECTORY/6f1c…9a.sealed
//!                                                        │
//!  load failed, the source is away ◄── open ◄────────────┘
//! ```
//!
//! The key is made when the directory is opened and lives in this process's memory alone, so that files of an earlier
//! process are useless; they are deleted. A file's name is random. The files take no more bytes than the limit: the one
//! that was used longest ago goes first. What is kept in memory is about 150 bytes a Secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::secret::{SecretData, SecretRef};

mod cipher;
mod figures;
mod shelf;
mod worker;

use cipher::Cipher;
use figures::{Figures, ReadOutcome, WriteOutcome};
use shelf::{Place, Shelf};
use worker::{Job, Queue};

pub(crate) use figures::describe_metrics;

/// What is kept in memory of a copy, in bytes, and what a small file has: a leaf on a curve and one intermediate.
const PER_COPY: u64 = 150;
const SMALL_FILE: u64 = 2048;

/// Why the sealed tier cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// The directory cannot be used.
    #[error("directory for sealed secrets {}: cannot be used: expected one that this process may create or write", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No key could be made.
    #[error("sealed secrets: there is no randomness for a key")]
    Randomness,
    /// No thread could be made.
    #[error("sealed secrets: cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// Encrypted copies of Secrets in a directory of this process's own. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct SealedTier {
    shared: Arc<Shared>,
}

struct Shared {
    cipher: Cipher,
    shelf: Arc<Mutex<Shelf>>,
    queue: Queue,
    figures: Arc<Figures>,
    /// Bytes of memory that all copies take that may be kept.
    memory: u64,
}

/// What a copy held.
pub(crate) struct Recovered {
    pub(crate) data: SecretData,
    /// The Secret has changed since.
    pub(crate) is_stale: bool,
}

/// A Secret that has been encrypted and is not in a file yet.
pub(crate) struct SealedText {
    place: Place,
    text: Vec<u8>,
}

/// Sums over the tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedStats {
    /// Secrets of which there is a copy.
    pub entries: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// The most bytes that they may have.
    pub limit: u64,
    /// Bytes of memory that it takes when the files have all bytes that they may have.
    pub memory: u64,
    /// Loads that a copy has replaced.
    pub served: u64,
    /// Of these, how often the Secret had changed since.
    pub stale: u64,
}

impl SealedTier {
    /// Opens a directory, makes a key, and deletes what an earlier process has left. Other files are left alone.
    ///
    /// `limit` is the most bytes that the files may have.
    ///
    /// # Errors
    /// When the directory cannot be made, read or written.
    pub fn open(directory: &Path, limit: u64) -> Result<Self, SealedError> {
        worker::prepare(directory).map_err(|source| SealedError::Directory { path: directory.to_owned(), source })?;
        let cipher = Cipher::new().map_err(|_| SealedError::Randomness)?;
        let figures = Figures::register();
        let shelf = Arc::new(Mutex::new(Shelf::new(limit, Arc::clone(&figures))));
        let queue = worker::start(directory.to_owned(), Arc::clone(&shelf), Arc::clone(&figures))
            .map_err(SealedError::Thread)?;
        let is_in_memory = worker::is_in_memory(directory);
        if is_in_memory {
            tracing::warn!(
                directory = %directory.display(),
                limit,
                "sealed secrets are kept in a file system in memory, where they count against the memory limit"
            );
        }
        let memory = limit / SMALL_FILE * PER_COPY + if is_in_memory { limit } else { 0 };
        Ok(Self { shared: Arc::new(Shared { cipher, shelf, queue, figures, memory }) })
    }

    /// Sums, as of now.
    pub fn stats(&self) -> SealedStats {
        let copies = self.shelf();
        let figures = &self.shared.figures;
        SealedStats {
            entries: copies.len(),
            bytes: copies.bytes(),
            limit: copies.limit(),
            memory: self.shared.memory,
            served: figures.read(ReadOutcome::Served).get() + figures.read(ReadOutcome::Stale).get(),
            stale: figures.read(ReadOutcome::Stale).get(),
        }
    }

    /// Encrypts a Secret, which takes some microseconds.
    pub(crate) fn seal(&self, secret: &SecretRef, data: &SecretData) -> Option<SealedText> {
        let place = Place::random(data.version.as_deref())?;
        let text = self.shared.cipher.seal(secret, place.file, data);
        if text.is_none() {
            self.shared.figures.wrote(WriteOutcome::Failed);
        }
        Some(SealedText { place, text: text? })
    }

    /// Keeps a copy, in place of an earlier one. Does not wait: when the queue to the disk is full, there is none.
    pub(crate) fn put(&self, secret: &SecretRef, sealed: SealedText) {
        let SealedText { place, text } = sealed;
        let mut copies = self.shelf();
        let bytes = text.len() as u64;
        if bytes > copies.limit() {
            copies.remove(secret);
            return self.shared.figures.wrote(WriteOutcome::TooLarge);
        }
        let file = place.file;
        copies.put(secret, place, bytes);
        if !self.shared.queue.send(Job::Write { secret: secret.clone(), file, text }) {
            copies.remove(secret);
            self.shared.figures.wrote(WriteOutcome::Dropped);
        }
    }

    /// The Secret is gone, or not for us any more: its copy is never given out again, and deleted.
    pub(crate) fn remove(&self, secret: &SecretRef) {
        if self.shelf().remove(secret) {
            // If the queue is full, whatever comes next deletes it.
            self.shared.queue.send(Job::Sweep);
        }
    }

    /// The Secret is at this version now.
    pub(crate) fn changed(&self, secret: &SecretRef, version: &str) {
        self.shelf().changed(secret, version);
    }

    /// The Secret was used until now.
    pub(crate) fn touch(&self, secret: &SecretRef) {
        self.shelf().touch(secret);
    }

    pub(crate) fn has(&self, secret: &SecretRef) -> bool {
        self.shelf().get(secret).is_some()
    }

    /// What the copy of a Secret holds, if there is one that can be read. To be asked only when the source is away.
    pub(crate) async fn read(&self, secret: &SecretRef) -> Option<Recovered> {
        let figures = &self.shared.figures;
        let Some(place) = self.shelf().touch(secret) else {
            figures.read(ReadOutcome::Absent).increment();
            return None;
        };
        let data = self.open_file(secret, place.file).await;
        let Some(data) = data else {
            figures.read(ReadOutcome::Failed).increment();
            self.shelf().forget(secret, place.file);
            self.shared.queue.send(Job::Sweep);
            return None;
        };
        figures.read(if place.is_stale { ReadOutcome::Stale } else { ReadOutcome::Served }).increment();
        Some(Recovered { data, is_stale: place.is_stale })
    }

    async fn open_file(&self, secret: &SecretRef, file: u128) -> Option<SecretData> {
        let (reply, text) = oneshot::channel();
        if !self.shared.queue.send(Job::Read { file, reply }) {
            return None;
        }
        match text.await.ok()? {
            Ok(text) => self.shared.cipher.open(secret, file, text),
            Err(error) => {
                tracing::warn!(%secret, %error, "cannot read a sealed secret");
                None
            }
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shared.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SealedTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedTier").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
