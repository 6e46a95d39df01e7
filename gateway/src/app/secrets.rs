//! Where certstore gets its Secrets from.

use certstore::{PrivateKeyPem, SecretData, SecretRef, SecretSource, SourceError};
use futures_util::future::BoxFuture;
use xds::ObjectRef;
use xds::source::dir::{SecretContent, SecretFiles, SecretReadError};

/// Secrets in a directory of manifests.
#[derive(Clone, Debug)]
pub(crate) struct DirSecrets(pub(crate) SecretFiles);

impl SecretSource for DirSecrets {
    fn load<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<SecretData, SourceError>> {
        let files = self.0.clone();
        let object = ObjectRef { namespace: secret.namespace.clone(), name: secret.name.clone() };
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
