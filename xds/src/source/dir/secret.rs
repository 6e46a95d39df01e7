//! Secrets, read from their files when somebody asks for them.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use foldhash::fast::RandomState;
use zeroize::Zeroizing;

use super::document::{self, Text};
use super::file::{self, ReadError};
use super::index::Index;
use super::input::ParseError;
use super::record::Place;
use super::secret_document::SecretDocument;
use super::split::split;
use super::typed::version_text;
use crate::object::{ObjectKind, ObjectRef};

/// Reads the data of Secrets from a directory. Holds none of it; a clone shares the index with the source.
#[derive(Clone, Debug)]
pub struct SecretFiles {
    index: Arc<RwLock<Index>>,
    max_file_bytes: u32,
}

/// What a TLS Secret holds.
#[derive(Debug)]
pub struct SecretContent {
    /// `type`, for example `kubernetes.io/tls`.
    pub secret_type: Option<Arc<str>>,
    /// `tls.crt`: the certificate chain in PEM.
    pub certificate_chain: Vec<u8>,
    /// `tls.key`: the private key in PEM.
    pub private_key: PrivateKey,
    /// The version of what was read, as [`SecretMeta::version`](crate::object::SecretMeta) gives it.
    pub version: Arc<str>,
}

/// A private key as it was written. Not shown by `Debug`; wiped when dropped.
pub struct PrivateKey(Zeroizing<Vec<u8>>);

impl PrivateKey {
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes the bytes out; who takes them wipes them.
    pub fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.0)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// Why the data of a Secret cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretReadError {
    /// There is no such Secret.
    #[error("secret {object} is in no file")]
    NotFound {
        /// Its name.
        object: ObjectRef,
    },
    /// Its file does not have it any more; what has changed will be seen soon.
    #[error("secret {object} is no longer in {}", path.display())]
    Moved {
        /// Its name.
        object: ObjectRef,
        /// The file that had it.
        path: PathBuf,
    },
    /// Its file cannot be read.
    #[error("secret {object}: {} cannot be used", path.display())]
    Unreadable {
        /// Its name.
        object: ObjectRef,
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// It is not a Secret as Kubernetes has them.
    #[error("secret {object} in {}: {reason}", path.display())]
    Malformed {
        /// Its name.
        object: ObjectRef,
        /// The file.
        path: PathBuf,
        /// The field and what is wrong with it; nothing of the data.
        reason: String,
    },
    /// A part of it is missing.
    #[error("secret {object} has no {key}: expected {expected}")]
    MissingKey {
        /// Its name.
        object: ObjectRef,
        /// The key in `data`.
        key: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// The program is ending.
    #[error("secret {object} was not read: the program is ending")]
    Cancelled {
        /// Its name.
        object: ObjectRef,
    },
}

impl SecretFiles {
    pub(super) fn new(index: Arc<RwLock<Index>>, max_file_bytes: u32) -> Self {
        Self { index, max_file_bytes }
    }

    /// Reads a Secret's data from its file. Blocks on the file system; see [`load`](Self::load).
    ///
    /// Reads just the bytes where the Secret was found, and the whole file if it is no longer there.
    pub fn read(&self, object: &ObjectRef) -> Result<SecretContent, SecretReadError> {
        let at = self.locate(object).ok_or_else(|| SecretReadError::NotFound { object: object.clone() })?;
        let found = self.find(object, &at);
        let path = at.path;
        let found = match found {
            Ok(found) => found,
            Err(source) => return Err(SecretReadError::Unreadable { object: object.clone(), path, source }),
        };
        match found {
            Some(Ok(secret)) => content(object, secret),
            Some(Err(error)) => Err(SecretReadError::Malformed { object: object.clone(), path, reason: reason(error) }),
            None => Err(SecretReadError::Moved { object: object.clone(), path }),
        }
    }

    /// As [`read`](Self::read), on a thread where blocking does no harm. If dropped, the reading goes on and its result
    /// is wiped.
    pub async fn load(&self, object: ObjectRef) -> Result<SecretContent, SecretReadError> {
        let files = self.clone();
        let wanted = object.clone();
        let read = tokio::task::spawn_blocking(move || files.read(&wanted)).await;
        read.unwrap_or(Err(SecretReadError::Cancelled { object }))
    }

    /// The index, as the source keeps it.
    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a Secret stood when its file was read.
    fn locate(&self, object: &ObjectRef) -> Option<Located> {
        let index = self.index();
        let file = index.owner(ObjectKind::Secret, object)?;
        let entry = index.record(file)?.find(ObjectKind::Secret, object)?;
        let (place, fingerprint) = (entry.place, entry.fingerprint);
        Some(Located { path: index.path(file), place, fingerprint, hasher: index.hasher() })
    }

    fn find(&self, object: &ObjectRef, at: &Located) -> Result<Option<Result<SecretDocument, ParseError>>, ReadError> {
        let (file, status) = file::open(&at.path)?;
        let json = at.path.file_name().and_then(|name| name.to_str()).is_some_and(file::is_json);
        if at.place.item == 0 {
            let part = file::read_range(&file, at.place.start, at.place.length);
            let part = part.ok().filter(|text| Text { text, json }.fingerprint(&at.hasher) == at.fingerprint);
            if let Some(text) = part {
                return Ok(document::secret_in(Text { text: &text, json }, object));
            }
        }
        let text = file::read_text(&file, &status, self.max_file_bytes)?;
        Ok(search(&text, json, object))
    }
}

/// Where a Secret stood when its file was read, and the hash of its text.
struct Located {
    path: PathBuf,
    place: Place,
    fingerprint: u64,
    hasher: RandomState,
}

/// Looks for a Secret in all of a file.
fn search(text: &str, json: bool, object: &ObjectRef) -> Option<Result<SecretDocument, ParseError>> {
    if json {
        return document::find_secret(Text { text, json }, object);
    }
    split(text).find_map(|part| document::find_secret(Text { text: &text[part.range], json }, object))
}

fn content(object: &ObjectRef, mut secret: SecretDocument) -> Result<SecretContent, SecretReadError> {
    let version = version_text(secret.version());
    let mut take = |key, expected| {
        let missing = || SecretReadError::MissingKey { object: object.clone(), key, expected };
        secret.take(key).filter(|value| !value.is_empty()).ok_or_else(missing)
    };
    let mut chain = take("tls.crt", "the certificate chain in PEM, the server's certificate first")?;
    let private_key = PrivateKey(take("tls.key", "the private key in PEM")?);
    let certificate_chain = std::mem::take(&mut *chain);
    Ok(SecretContent { secret_type: secret.secret_type, certificate_chain, private_key, version })
}

fn reason(error: ParseError) -> String {
    match error.field {
        Some(field) => format!("{field} {}", error.message),
        None => error.message,
    }
}
