//! Files as bytes: which are read, how much of them, and how to tell that one is unchanged.

use std::fs::{File, Metadata, OpenOptions};
use std::hash::BuildHasher;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use zeroize::{Zeroize, Zeroizing};

/// True for names that are read: `*.yaml`, `*.yml` and `*.json`, unless hidden.
pub(super) fn is_manifest(name: &str) -> bool {
    !is_hidden(name)
        && Path::new(name)
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// True for names that are passed over, among them `..data` and what it points to in volumes of Kubernetes.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// True for files that hold one JSON document.
pub(super) fn is_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// Differs when a file has changed, but for one in four billion; never 0. Only looked at when events may be lost.
pub(super) fn stamp(status: &Metadata, hasher: &impl BuildHasher) -> u32 {
    let modified = (status.mtime(), status.mtime_nsec(), status.ctime(), status.ctime_nsec());
    let hash = hasher.hash_one((status.dev(), status.ino(), status.size(), modified));
    u32::try_from(hash >> 32).unwrap_or(0).max(1)
}

/// What a folder is known by, whatever paths lead to it: device and inode.
pub(super) type Identity = (u64, u64);

/// The identity of a folder.
pub(super) fn identity(status: &Metadata) -> Identity {
    (status.dev(), status.ino())
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system's reason.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// The file is larger than files may be.
    #[error("is larger than {limit} bytes, the limit for a file; split it")]
    TooLarge {
        /// The limit.
        limit: u32,
    },
    /// The bytes are not text.
    #[error("is not UTF-8 text from byte {at} on")]
    NotText {
        /// The first byte that is wrong, counted from 1.
        at: usize,
    },
    /// It is something else than a file.
    #[error("is not a regular file")]
    NotAFile,
}

/// Opens a file that can be read without waiting for anybody.
pub(super) fn open(path: &Path) -> Result<(File, Metadata), ReadError> {
    // Otherwise opening a fifo would wait for somebody who writes.
    let without_waiting = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let file = match without_waiting {
        // A socket.
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => return Err(ReadError::NotAFile),
        opened => opened.map_err(ReadError::Io)?,
    };
    let status = file.metadata().map_err(ReadError::Io)?;
    if status.is_file() { Ok((file, status)) } else { Err(ReadError::NotAFile) }
}

/// Reads a whole file as text. The text is wiped when dropped, as there may be a Secret in it.
pub(super) fn read_text(file: &File, status: &Metadata, limit: u32) -> Result<Zeroizing<String>, ReadError> {
    if status.len() > u64::from(limit) {
        return Err(ReadError::TooLarge { limit });
    }
    // One byte more, so that the buffer is not moved when the end is looked for.
    let capacity = usize::try_from(status.len()).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(u64::from(limit) + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if bytes.len() > limit as usize {
        return Err(ReadError::TooLarge { limit });
    }
    into_text(std::mem::take(&mut *bytes))
}

/// Reads a part of a file as text.
pub(super) fn read_range(file: &File, start: u32, length: u32) -> Result<Zeroizing<String>, ReadError> {
    let mut bytes = Zeroizing::new(vec![0; length as usize]);
    file.read_exact_at(&mut bytes, u64::from(start)).map_err(ReadError::Io)?;
    into_text(std::mem::take(&mut *bytes))
}

fn into_text(bytes: Vec<u8>) -> Result<Zeroizing<String>, ReadError> {
    String::from_utf8(bytes).map(Zeroizing::new).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        error.into_bytes().zeroize();
        ReadError::NotText { at }
    })
}
