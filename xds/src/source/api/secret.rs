//! The data of Secrets, fetched one by one when somebody asks.
//!
//! What is read passes through buffers of hyper and rustls, which are not wiped; every buffer of ours is.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::api::GetParams;
use kube::core::Request;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::backoff::Backoff;
use super::metrics::Verb;
use super::rate::Rate;
use super::request::{self, Failure, place};
use crate::object::ObjectRef;
use crate::source::dir::{PrivateKey, SecretContent};

mod body;
mod denials;
mod wire;

use denials::Denials;
use wire::{Text, Wire};

/// A Secret holds at most 1 MiB; in base64, and once more where `kubectl apply` keeps it, that is less than this.
const MAX_BYTES: usize = 4 << 20;

/// How much of the server's time is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReaderOptions {
    /// Secrets fetched at a time. Default: 32.
    pub concurrency: usize,
    /// Requests per second, on average. Default: 500.
    pub rate: f64,
    /// Requests that may be made at once after a pause. Default: 1,000.
    pub burst: f64,
    /// A fetch is given up after this, waits included. Default: 10 s.
    pub deadline: Duration,
    /// One attempt is given up after this. Default: 4 s.
    pub attempt: Duration,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        let (deadline, attempt) = (Duration::from_secs(10), Duration::from_secs(4));
        Self { concurrency: 32, rate: 500.0, burst: 1_000.0, deadline, attempt }
    }
}

/// Why the data of a Secret was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFetchError {
    /// There is no such Secret.
    #[error("secret {secret} does not exist")]
    NotFound {
        /// Its name.
        secret: ObjectRef,
    },
    /// It cannot exist.
    #[error("secret {secret} cannot exist: expected a namespace and a name of a-z, 0-9, '-' and '.'")]
    InvalidName {
        /// What was asked for.
        secret: ObjectRef,
    },
    /// It may not be read.
    #[error(
        "secret {secret} may not be read: expected a rule with apiGroups: [\"\"], resources: [\"secrets\"], verbs: \
         [\"get\"] in namespace {}", secret.namespace
    )]
    Forbidden {
        /// Its name.
        secret: ObjectRef,
    },
    /// It is larger than a Secret can be.
    #[error("secret {secret} is larger than {limit} bytes as JSON")]
    TooLarge {
        /// Its name.
        secret: ObjectRef,
        /// What would have been read.
        limit: usize,
    },
    /// It has no such key.
    #[error("secret {secret} has no {key}: expected {expected}")]
    MissingKey {
        /// Its name.
        secret: ObjectRef,
        /// The key in `data`.
        key: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// It is not as Kubernetes has them.
    #[error("secret {secret}: {reason}")]
    Malformed {
        /// Its name.
        secret: ObjectRef,
        /// What is wrong; nothing of the data.
        reason: String,
    },
    /// The server did not give it in time.
    #[error("secret {secret} could not be fetched: {reason}")]
    Unavailable {
        /// Its name.
        secret: ObjectRef,
        /// What the last attempt said.
        reason: String,
    },
}

/// Fetches the data of Secrets. Holds none of it; a clone shares its limits.
#[derive(Clone)]
pub struct SecretReader {
    client: Client,
    options: ReaderOptions,
    permits: Arc<Semaphore>,
    rate: Arc<Rate>,
    denials: Arc<Denials>,
}

impl std::fmt::Debug for SecretReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretReader").field("options", &self.options).finish_non_exhaustive()
    }
}

impl SecretReader {
    /// A reader within these limits.
    pub fn new(client: Client, options: ReaderOptions) -> Self {
        Self {
            client,
            options,
            permits: Arc::new(Semaphore::new(options.concurrency.max(1))),
            rate: Arc::new(Rate::new(options.rate, options.burst)),
            denials: Arc::default(),
        }
    }

    /// Fetches a Secret. Where the server cannot answer it is asked again, as often as the deadline allows; and where it
    /// denies it, until that has lasted.
    ///
    /// If dropped, the request is abandoned and what has come of it is wiped.
    pub async fn load(&self, secret: &ObjectRef) -> Result<SecretContent, SecretFetchError> {
        if !is_name(&secret.namespace) || !is_name(&secret.name) {
            return Err(SecretFetchError::InvalidName { secret: secret.clone() });
        }
        let mut last = format!("no attempt was made within {} s", self.options.deadline.as_secs());
        let fetched = tokio::time::timeout(self.options.deadline, self.attempts(secret, &mut last)).await;
        fetched.unwrap_or_else(|_| Err(SecretFetchError::Unavailable { secret: secret.clone(), reason: last }))
    }

    async fn attempts(&self, secret: &ObjectRef, last: &mut String) -> Result<SecretContent, SecretFetchError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let failure = match self.fetch(secret).await {
                Ok(body) => {
                    self.denials.allow(&secret.namespace);
                    return content(secret, &body);
                }
                Err(failure) => failure,
            };
            let may_pass = failure.code() == Some(403) && !self.denials.deny(&secret.namespace);
            if !may_pass && let Some(error) = lasting(secret, &failure) {
                return Err(error);
            }
            *last = failure.to_string();
            if let Some(wait) = failure.retry_after() {
                self.rate.pause_until(Instant::now() + wait);
            }
            sleep(backoff.fail()).await;
        }
    }

    /// One attempt.
    async fn fetch(&self, secret: &ObjectRef) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let _permit = self.permits.acquire().await;
        self.rate.take().await;
        let path = format!("/api/v1/namespaces/{}/secrets", secret.namespace);
        let request = Request::new(path).get(&secret.name, &GetParams::default());
        let request = request.map_err(|error| Failure::Unreadable { reason: error.to_string() })?;
        let attempt = self.options.attempt;
        let body = request::send(&self.client, Verb::Get, request, attempt).await?;
        let read = tokio::time::timeout(attempt, body::read(body, MAX_BYTES)).await;
        read.unwrap_or(Err(Failure::Stalled { after: attempt }))
    }
}

/// The error that a failure is, unless another attempt may help.
fn lasting(secret: &ObjectRef, failure: &Failure) -> Option<SecretFetchError> {
    let secret = secret.clone();
    match failure {
        Failure::Refused { code: 404, .. } => Some(SecretFetchError::NotFound { secret }),
        Failure::Refused { code: 403, .. } => Some(SecretFetchError::Forbidden { secret }),
        Failure::TooLarge { limit } => Some(SecretFetchError::TooLarge { secret, limit: *limit }),
        // A token that has expired is read anew from its file within a minute.
        Failure::Refused { code, .. } if !matches!(code, 401 | 408 | 409 | 429 | 500..) => {
            Some(SecretFetchError::Unavailable { secret, reason: failure.to_string() })
        }
        _ => None,
    }
}

/// RFC 1123's subdomain, as the API has it for names; anything else could lead to another path.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 253 && bytes.iter().copied().all(inner) && ends(bytes.first()) && ends(bytes.last())
}

fn content(secret: &ObjectRef, body: &[u8]) -> Result<SecretContent, SecretFetchError> {
    let malformed = |reason| SecretFetchError::Malformed { secret: secret.clone(), reason };
    let wire: Wire<'_> = serde_json::from_slice(body).map_err(|error| malformed(place(&error)))?;
    let data = wire.data.unwrap_or_default();
    let take = |value: Option<Text<'_>>, key, expected| {
        let value = value.filter(|value| !value.as_str().is_empty());
        let missing = || SecretFetchError::MissingKey { secret: secret.clone(), key, expected };
        decode(value.ok_or_else(missing)?.as_str())
            .ok_or_else(|| malformed(format!("data.{key} is not base64 (standard alphabet, padded)")))
    };
    let mut chain = take(data.chain, "tls.crt", "the certificate chain in PEM, the server's certificate first")?;
    let private_key = PrivateKey::new(take(data.key, "tls.key", "the private key in PEM")?);
    let certificate_chain = std::mem::take(&mut *chain);
    let version = wire.metadata.resource_version;
    Ok(SecretContent { secret_type: wire.secret_type, certificate_chain, private_key, version })
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(test)]
mod tests;
