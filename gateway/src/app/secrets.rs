//! Where certstore gets the data of Secrets from.

use std::sync::Arc;
use std::time::Duration;

use certstore::{PrivateKeyPem, SecretData, SecretRef, SecretSource, SourceError};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use xds::ObjectRef;
use xds::source::api::{SecretFetchError, SecretReader};
use xds::source::dir::{SecretContent, SecretFiles, SecretReadError};

/// Files that are read at a time, those included that nobody waits for any more: a file system that hangs takes no more
/// threads than this.
const READERS: usize = 128;

/// Pauses before a file that was just being written is read again.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(25), Duration::from_millis(50), Duration::from_millis(150), Duration::from_millis(500)];

/// Secrets in a directory of manifests.
#[derive(Clone, Debug)]
pub(crate) struct DirSecrets {
    files: SecretFiles,
    readers: Arc<Semaphore>,
}

impl DirSecrets {
    /// Reads what `files` knows the places of.
    pub(crate) fn new(files: SecretFiles) -> Self {
        Self { files, readers: Arc::new(Semaphore::new(READERS)) }
    }

    /// Reads a Secret. A file that is overwritten in place holds half of it for a moment; so it is looked at again
    /// before that counts.
    async fn read(&self, object: &ObjectRef) -> Result<SecretData, SourceError> {
        for pause in PAUSES {
            match self.read_once(object).await? {
                Err(SecretReadError::Moved { .. } | SecretReadError::Malformed { .. }) => {
                    tokio::time::sleep(pause).await;
                }
                settled => return settled.map(secret_data).map_err(source_error),
            }
        }
        self.read_once(object).await?.map(secret_data).map_err(source_error)
    }

    /// Reads on a thread where blocking does no harm. If dropped, the reading goes on and its result is wiped.
    async fn read_once(&self, object: &ObjectRef) -> Result<Result<SecretContent, SecretReadError>, SourceError> {
        let unavailable = |source| SourceError::Unavailable { source };
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|error| unavailable(error.into()))?;
        let (files, object) = (self.files.clone(), object.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            files.read(&object)
        });
        reading.await.map_err(|error| unavailable(error.into()))
    }
}

impl SecretSource for DirSecrets {
    fn load<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<SecretData, SourceError>> {
        Box::pin(async move { self.read(&object_ref(secret)).await })
    }
}

/// Secrets of a cluster, fetched from its API.
#[derive(Clone, Debug)]
pub(crate) struct ApiSecrets(pub(crate) SecretReader);

impl SecretSource for ApiSecrets {
    fn load<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<SecretData, SourceError>> {
        Box::pin(async move { self.0.load(&object_ref(secret)).await.map(secret_data).map_err(fetch_error) })
    }
}

pub(crate) fn object_ref(secret: &SecretRef) -> ObjectRef {
    ObjectRef { namespace: secret.namespace.clone(), name: secret.name.clone() }
}

fn fetch_error(error: SecretFetchError) -> SourceError {
    match error {
        SecretFetchError::NotFound { .. } | SecretFetchError::InvalidName { .. } => SourceError::NotFound,
        SecretFetchError::Forbidden { .. } => SourceError::Forbidden,
        SecretFetchError::MissingKey { .. }
        | SecretFetchError::Malformed { .. }
        | SecretFetchError::TooLarge { .. } => SourceError::Malformed { reason: error.to_string() },
        other => SourceError::Unavailable { source: other.into() },
    }
}

/// The same content in certstore's words.
pub(crate) fn secret_data(content: SecretContent) -> SecretData {
    SecretData {
        certificate_chain: content.certificate_chain,
        private_key: PrivateKeyPem::new(content.private_key.into_bytes()),
        version: Some(content.version),
    }
}

fn source_error(error: SecretReadError) -> SourceError {
    match error {
        SecretReadError::NotFound { .. } => SourceError::NotFound,
        SecretReadError::Malformed { .. } | SecretReadError::MissingKey { .. } => {
            SourceError::Malformed { reason: error.to_string() }
        }
        other => SourceError::Unavailable { source: other.into() },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use xds::source::dir::{DirSource, Options};

    use super::*;

    const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: web, namespace: shop}\nstringData:\n  tls.crt: \
                          chain\n  tls.key: key\n";

    async fn source(folder: &Path) -> DirSource {
        std::fs::write(folder.join("web.yaml"), SECRET).unwrap();
        let mut source = DirSource::open(folder, Options::default(), xds::Faults::default()).unwrap();
        source.next().await;
        source
    }

    fn web() -> SecretRef {
        SecretRef::new("shop", "web")
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_half_written_is_read_again_before_that_counts() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path()).await;
        let secrets = DirSecrets::new(source.secrets());
        let file = folder.path().join("web.yaml");
        for half in ["", &SECRET[..SECRET.len() / 2], "apiVersion: v1\nkind: Secret\nmetadata: {name: we"] {
            std::fs::write(&file, half).unwrap();
            let web = web();
            let mut loading = secrets.load(&web);
            assert!(futures_util::poll!(&mut loading).is_pending());
            tokio::time::sleep(PAUSES[0]).await;
            assert!(futures_util::poll!(&mut loading).is_pending(), "half of a file counts: {half:?}");
            std::fs::write(&file, SECRET).unwrap();
            assert!(loading.await.is_ok());
        }
    }

    #[tokio::test]
    async fn reads_that_nobody_waits_for_any_more_keep_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path()).await;
        let secrets = DirSecrets::new(source.secrets());
        let hanging = Arc::clone(&secrets.readers).acquire_many_owned(u32::try_from(READERS).unwrap()).await.unwrap();
        let web = web();
        assert!(futures_util::poll!(secrets.load(&web)).is_pending());
        drop(hanging);
        assert!(secrets.load(&web).await.is_ok());
    }
}
