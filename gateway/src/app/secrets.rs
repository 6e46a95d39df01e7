//! Where certstore gets the data of Secrets from.

use certstore::{PrivateKeyPem, SecretData, SecretRef, SecretSource, SourceError};
use futures_util::future::BoxFuture;
use xds::ObjectRef;
use xds::source::api::{SecretFetchError, SecretReader};
use xds::source::dir::{SecretContent, SecretFiles, SecretReadError};

/// Secrets in a directory of manifests.
#[derive(Clone, Debug)]
pub(crate) struct DirSecrets(pub(crate) SecretFiles);

impl SecretSource for DirSecrets {
    fn load<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<SecretData, SourceError>> {
        let (files, object) = (self.0.clone(), object_ref(secret));
        Box::pin(async move {
            // A file system may hang; the deadline of the load must still pass.
            let read = tokio::task::spawn_blocking(move || files.read(&object)).await;
            match read {
                Ok(Ok(content)) => Ok(secret_data(content)),
                Ok(Err(error)) => Err(source_error(error)),
                Err(error) => Err(SourceError::Unavailable { source: error.into() }),
            }
        })
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

fn object_ref(secret: &SecretRef) -> ObjectRef {
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
        other => SourceError::Unavailable { source: other.into() },
    }
}
