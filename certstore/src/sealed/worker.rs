//! The thread that owns the directory: no async thread waits for the disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise, statfs};
use tokio::sync::oneshot;

use super::figures::{Figures, WriteOutcome};
use super::shelf::Shelf;
use crate::secret::SecretRef;

/// Jobs that may wait; a further one is not taken.
const QUEUE: usize = 1024;
/// Bytes of copies that may wait to be written: about a thousand.
const QUEUED_BYTES: usize = 4 << 20;
/// Nothing that was sealed is longer: a Secret's limit, and what is added to it.
const MAX_FILE_BYTES: u64 = 2 * crate::MAX_SECRET_BYTES as u64;
/// How files are named: 32 hexadecimal digits and this.
const SUFFIX: &str = ".sealed";
const UNFINISHED: &str = ".sealed-tmp";
/// No more than one log line in this time about a disk that fails.
const QUIET: Duration = Duration::from_secs(60);

/// What is done with the disk.
pub(super) enum Job {
    /// Writes a copy.
    Write { secret: SecretRef, file: u128, text: Vec<u8> },
    /// Reads one.
    Read { file: u128, reply: oneshot::Sender<io::Result<Vec<u8>>> },
    /// Deletes what is doomed, as every job does first.
    Sweep,
}

/// The way to the thread, which ends when this is dropped and all is done.
pub(super) struct Queue {
    jobs: SyncSender<Job>,
    bytes: Arc<AtomicUsize>,
    figures: Arc<Figures>,
}

impl Queue {
    /// False, if too much waits.
    pub(super) fn send(&self, job: Job) -> bool {
        let bytes = job.bytes();
        if self.bytes.fetch_add(bytes, Relaxed) + bytes > QUEUED_BYTES || self.jobs.try_send(job).is_err() {
            self.bytes.fetch_sub(bytes, Relaxed);
            return false;
        }
        self.figures.queued.increment(1.0);
        true
    }
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Write { text, .. } => text.len(),
            Self::Read { .. } | Self::Sweep => 0,
        }
    }
}

/// Makes the directory if need be, for nobody else to look into, deletes our files in it, and tries to write there.
pub(super) fn prepare(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_ours) {
            fs::remove_file(entry.path())?;
        }
    }
    let trial = directory.join(format!("{:032x}{UNFINISHED}", 0));
    drop(create(&trial)?);
    fs::remove_file(trial)
}

/// Whether what is in the directory is in memory (`statfs(2)`): an `emptyDir` of medium Memory is.
pub(super) fn is_in_memory(directory: &Path) -> bool {
    // TMPFS_MAGIC and RAMFS_MAGIC.
    statfs(directory).is_ok_and(|about| matches!(about.f_type, 0x0102_1994 | 0x8584_58f6))
}

/// Starts the thread.
pub(super) fn start(directory: PathBuf, shelf: Arc<Mutex<Shelf>>, figures: Arc<Figures>) -> io::Result<Queue> {
    let (jobs, queue) = sync_channel(QUEUE);
    let bytes = Arc::new(AtomicUsize::new(0));
    let worker = Worker { directory, shelf, figures: Arc::clone(&figures), bytes: Arc::clone(&bytes), said: None };
    std::thread::Builder::new().name("postern-sealed".to_owned()).spawn(move || worker.run(&queue))?;
    Ok(Queue { jobs, bytes, figures })
}

struct Worker {
    directory: PathBuf,
    shelf: Arc<Mutex<Shelf>>,
    figures: Arc<Figures>,
    bytes: Arc<AtomicUsize>,
    said: Option<Instant>,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            self.figures.queued.decrement(1.0);
            self.bytes.fetch_sub(job.bytes(), Relaxed);
            self.delete_doomed();
            match job {
                Job::Write { secret, file, text } => self.write(&secret, file, &text),
                // Whoever asked may have gone.
                Job::Read { file, reply } => drop(reply.send(self.read(file))),
                Job::Sweep => {}
            }
        }
    }

    fn delete_doomed(&mut self) {
        let doomed = self.shelf.lock().unwrap_or_else(PoisonError::into_inner).doomed();
        for file in doomed {
            match fs::remove_file(self.path(file, SUFFIX)) {
                // One that was doomed before it was written.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.complain(&error),
                Ok(()) => {}
            }
        }
    }

    fn write(&mut self, secret: &SecretRef, file: u128, text: &[u8]) {
        let wanted = |place: super::Place| place.file == file;
        if !self.shelf.lock().unwrap_or_else(PoisonError::into_inner).get(secret).is_some_and(wanted) {
            return;
        }
        match self.write_file(file, text) {
            Ok(()) => self.figures.wrote(WriteOutcome::Written),
            Err(error) => {
                self.figures.wrote(WriteOutcome::Failed);
                self.shelf.lock().unwrap_or_else(PoisonError::into_inner).forget(secret, file);
                self.complain(&error);
            }
        }
    }

    /// Whole or not at all. Not flushed: after a crash the key is gone, and the file of no use.
    fn write_file(&self, file: u128, text: &[u8]) -> io::Result<()> {
        let unfinished = self.path(file, UNFINISHED);
        let written = create(&unfinished)
            .and_then(|mut file| file.write_all(text))
            .and_then(|()| fs::rename(&unfinished, self.path(file, SUFFIX)));
        if written.is_err() {
            // What cannot be deleted now is deleted by the next process.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    fn read(&self, file: u128) -> io::Result<Vec<u8>> {
        let path = self.path(file, SUFFIX);
        let bytes = fs::metadata(&path)?.len();
        if bytes > MAX_FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than any that was written"));
        }
        let mut file = File::open(path)?;
        let mut text = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        file.read_to_end(&mut text)?;
        // What is in memory from now on is the certificate. Left in the page cache and read again, the file would count
        // against the memory limit; if the kernel keeps it all the same, no harm is done.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        Ok(text)
    }

    fn path(&self, file: u128, suffix: &str) -> PathBuf {
        self.directory.join(format!("{file:032x}{suffix}"))
    }

    fn complain(&mut self, error: &io::Error) {
        if self.said.is_none_or(|said| said.elapsed() >= QUIET) {
            self.said = Some(Instant::now());
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "cannot keep sealed secrets; what is in memory is served as before");
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn is_ours(name: &str) -> bool {
    let digits = name.strip_suffix(SUFFIX).or_else(|| name.strip_suffix(UNFINISHED));
    digits.is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_in_memory_is_known_as_one() {
        assert!(is_in_memory(Path::new("/dev/shm")), "Linux keeps shared memory there (shm_overview(7))");
        assert!(!is_in_memory(Path::new("/proc")) && !is_in_memory(Path::new("/nowhere")));
    }
}
