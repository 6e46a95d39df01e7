//! A memory-bounded store of TLS server certificates: *which certificate answers for this server name, right now?*
//!
//! ```text
//!  server name ──► TlsIndex ──► SecretRef ──► CertStore ──► Certificate (chain and key, for rustls)
//!                  every name,                cached: at once
//!                  65 bytes each              else: one load ──► SecretSource ──► PEM ──► checks
//!                                                  ▲      (away: SealedTier)
//!                  secret_changed, secret_removed ─┘ (reload in the background, removal at once)
//! ```
//!
//! The *index* is complete, cheap and never evicted. The *store* may be emptied without a wrong answer: what it doesn't
//! have it loads when a handshake asks for it, and it holds no more than its budget of bytes.
//!
//! ```
//! use certstore::testing::{ScriptedSource, TestCa};
//! use certstore::{CertStore, SecretRef, SniPattern, TlsBinding, TlsIndex};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = SecretRef::new("shop", "web-tls");
//! let mut index = TlsIndex::default();
//! index.insert(SniPattern::try_from("*.shop.test")?, TlsBinding { secret: secret.clone(), policy: () });
//!
//! // For tests; a real source reads an API, a directory, …
//! let source = ScriptedSource::new();
//! source.put(&secret, TestCa::new().issue(&["*.shop.test"]).at("1"));
//! let store = CertStore::builder(source).budget(1024 * 1024).build();
//!
//! let name = "eu.shop.test";
//! let binding = index.lookup(name).expect("the wildcard covers it");
//! let certificate = store.certificate(binding.secret, name).await?;
//! assert!(certificate.details().covers(name));
//! let _for_rustls = certificate.certified_key();
//! # Ok(())
//! # }
//! ```
//!
//! `examples/lazy_tls.rs` is a TLS server, `examples/weigh.rs` prints what certificates and names cost, and
//! `examples/advise.rs` what a cached lookup does.
//!
//! # Guarantees
//! Each has a test of nearly the same words.
//! * Two hundred first handshakes make one load; no more loads run at a time than allowed; no handshake waits longer
//!   than the deadline, and those beyond the waiting limit fail at once.
//! * A load that is late is found by the next handshake. What says nothing about a secret is not held against it.
//! * A client that asks for many names in turn does not keep another one waiting, nor evicts what others use.
//! * All names keep working under a budget for a few. Accounted bytes are resident bytes within a fifth.
//! * A smaller budget keeps what was used often, then what was used last; a larger one keeps everything. Memory follows the
//!   budget downwards, when what is left has been moved together. What is removed or renewed meanwhile does not come back.
//! * A rejected certificate leaves the old one serving, and says why. A change that could not be read is read later
//!   without being reported again.
//! * From `secret_removed` on the certificate is not handed out. A load begun before a change or removal never outlives
//!   it.
//! * A missing secret is asked for once until its backoff is over, and a change ends the backoff.
//! * A change of a secret that is not cached costs no load, unless it was refused.
//! * No key is in any log, error or debug text, nor in plain text on disk.
//! * What is advised for other budgets is what full caches do, to two points of the hit ratio.
//! * With a [`SealedTier`], what was loaded once and evicted is still served while the source is away, or while the newest
//!   version cannot be served: and neither when the source says no, nor after `secret_removed`.
//! * A certificate whose newest version was rejected is not evicted while there is room for it, within a bound.
//! * What is refused is a fault, and what is wrong with what is served, until it heals or goes; bounded in number.
//! * A refusal names the kind and size of what was found. No block of a PEM text is dropped without a word.
//! * A dropped store ends its loads and its tasks.
//!
//! # What is held once
//! Hosts that share a Secret share its entry. Of the chains of different Secrets, intermediates that at least three have
//! are held once, in a pool of at most 64 certificates and 128 KiB for the whole process; the budget doesn't count them.
//! rustls wants a chain's bytes owned or borrowed for `'static`, so what is in the pool stays there; what doesn't fit is
//! owned by each chain and weighed with it. Leaves and keys are never shared.
//!
//! # Not here
//! * Whether a listener may offer a name: that is for the policy in the [`TlsBinding`], and for whoever asks the index.
//! * Watching Secrets: someone who does tells the store by [`CertStore::secret_changed`] and
//!   [`CertStore::secret_removed`].
//! * Verifying chains up to a root, OCSP, issuing certificates.
//! * Kubernetes, HTTP, sockets.

pub mod advice;
mod certificate;
mod chain;
mod details;
mod error;
pub mod fairness;
mod found;
pub mod index;
mod inspect;
mod intermediates;
mod key_info;
mod metrics;
pub mod name_map;
mod names;
mod pem;
pub mod sealed;
pub mod secret;
mod signing_key;
pub mod sni;
pub mod source;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod warning;
mod weight;

pub use advice::{Advice, SizeAdvice};
pub use certificate::Certificate;
pub use details::{Details, KeyKind};
pub use error::{CertError, Field, PemFault, SecretError};
pub use fairness::ClientKey;
pub use index::{Bound, TlsBinding, TlsIndex};
pub use inspect::{Inspection, inspect};
pub use metrics::describe_metrics;
pub use names::CoveredNames;
pub use sealed::{SealedError, SealedTier};
pub use secret::{PrivateKeyPem, SecretData, SecretRef};
pub use sni::{SniError, SniPattern};
pub use source::{SecretSource, SourceError};
pub use store::{Builder, CertStore, EntryInfo, FaultInfo, Page, RefusalInfo, Refused, SecretState, Serving, Stats};
pub use warning::Warning;

/// The most bytes of PEM, chain and key together, that are accepted of one Secret.
///
/// The API server's own limit is 1 MiB; ten certificates and an RSA-4096 key are under 64 KiB.
pub const MAX_SECRET_BYTES: usize = 256 * 1024;

/// The most bytes of one certificate, in DER.
///
/// A client with rustls or Java takes no handshake message that is longer than 64 or 32 KiB.
pub const MAX_CERTIFICATE_BYTES: usize = 65_535;

/// The most certificates in a chain, with the leaf. OpenSSL and browsers stop at about ten as well.
pub const MAX_CHAIN: usize = 10;
