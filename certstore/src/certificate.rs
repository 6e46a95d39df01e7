//! A certificate entry: parsed, checked, ready to sign.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::sign::{CertifiedKey, SigningKey};

use crate::details::Details;
use crate::error::CertError;
use crate::inspect::Checked;
use crate::intermediates;
use crate::metrics::Held;
use crate::names::CoveredNames;
use crate::secret::SecretRef;
use crate::signing_key::PrivateKey;
use crate::weight;

/// How far uses are counted: as far as moka counts them.
const MAX_USES: u8 = 15;

/// A certificate that was loaded, with its key.
///
/// What can be read from the leaf again is not kept beside it: [`details`](Self::details) parses it when asked.
pub struct Certificate {
    secret: SecretRef,
    certified: Arc<CertifiedKey>,
    /// The one in `certified`, which cannot be copied through what rustls makes of it.
    key: PrivateKey,
    /// For connections, which keep them.
    names: CoveredNames,
    version: Option<Arc<str>>,
    /// The server name it was first asked for, which reloads check too.
    asked_for: Box<str>,
    not_after: SystemTime,
    loaded_at: SystemTime,
    /// Milliseconds on the store's clock.
    last_used: AtomicU64,
    /// Up to [`MAX_USES`].
    uses: AtomicU8,
    /// What stands in for the source, if it is from an encrypted copy.
    copy: Option<Copied>,
    /// A server name that it does not cover was reported.
    uncovered_reported: AtomicBool,
    /// Why the last attempt to load a newer version failed.
    last_error: Mutex<Option<CertError>>,
    held: Held,
}

/// A certificate that is not from its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The Secret has changed since it was copied.
    pub(crate) is_stale: bool,
}

impl Certificate {
    pub(crate) fn new(
        secret: SecretRef,
        checked: Checked,
        version: Option<Arc<str>>,
        asked_for: &str,
        held: impl FnOnce(u64) -> Held,
    ) -> Self {
        let Checked { certified, key, details, kind, .. } = checked;
        let names = CoveredNames::of(&details);
        let certified = CertifiedKey { cert: intermediates::share(certified.cert, &secret), ..certified };
        let bytes = weight::fixed(kind)
            + weight::allocated(size_of::<Self>() + 2 * size_of::<usize>())
            + weight::allocated(size_of::<CertifiedKey>() + 2 * size_of::<usize>())
            + weight::allocated(size_of_val(&*certified.cert))
            + certified.cert.iter().map(|der| weight::allocated(intermediates::own_bytes(der))).sum::<usize>()
            + weight::allocated(asked_for.len())
            + weight::allocated(names.bytes())
            + version.as_ref().map_or(0, |version| weight::allocated(version.len() + 2 * size_of::<usize>()));
        Self {
            secret,
            certified: Arc::new(certified),
            key,
            names,
            version,
            asked_for: asked_for.into(),
            not_after: details.not_after,
            loaded_at: SystemTime::now(),
            last_used: AtomicU64::new(0),
            uses: AtomicU8::new(0),
            copy: None,
            uncovered_reported: AtomicBool::new(false),
            last_error: Mutex::new(None),
            held: held(bytes as u64),
        }
    }

    /// The same, from a copy that was taken since the source failed.
    pub(crate) fn copied(self, copy: Copied, why: CertError) -> Self {
        Self { copy: Some(copy), last_error: Mutex::new(Some(why)), ..self }
    }

    /// The same in memory that is allocated now, key included; `None` if the key cannot be copied. What is known of its
    /// use is not copied; [`stand_in_for`](Self::stand_in_for) does that.
    pub(crate) fn copy_out(&self, held: impl FnOnce(u64) -> Held) -> Option<Self> {
        let key = self.key.copy()?;
        let chain = intermediates::copy(&self.certified.cert);
        Some(Self {
            secret: self.secret.clone(),
            certified: Arc::new(CertifiedKey::new(chain, Arc::new(key.clone()))),
            key,
            names: self.names.clone(),
            version: self.version.as_deref().map(Arc::from),
            asked_for: self.asked_for.clone(),
            not_after: self.not_after,
            loaded_at: self.loaded_at,
            last_used: AtomicU64::new(0),
            uses: AtomicU8::new(0),
            copy: self.copy,
            uncovered_reported: AtomicBool::new(false),
            last_error: Mutex::new(None),
            held: held(self.bytes()),
        })
    }

    /// Whether it is from an encrypted copy, since the source was away.
    pub(crate) fn copy(&self) -> Option<Copied> {
        self.copy
    }

    /// Chain and key, as rustls wants them.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// Chain and key for a client that offers these signature schemes; `None` if the key signs by none of them.
    ///
    /// In TLS 1.2, a key on a curve signs with any hash (RFC 5246 §7.4.1.4.1); in TLS 1.3, with the one of its curve.
    pub fn certified_key_for(&self, offered: &[SignatureScheme], is_tls13: bool) -> Option<Arc<CertifiedKey>> {
        if self.key.choose_scheme(offered).is_some() {
            return Some(Arc::clone(&self.certified));
        }
        let key = self.key.with_any_hash().filter(|key| !is_tls13 && key.choose_scheme(offered).is_some())?;
        Some(Arc::new(CertifiedKey::new(self.certified.cert.clone(), Arc::new(key))))
    }

    /// Names that it covers, for as long as a connection lasts.
    pub fn names(&self) -> &CoveredNames {
        &self.names
    }

    /// What the leaf says: parsed on each call, which takes about 20 µs.
    ///
    /// # Panics
    /// Never: the leaf was parsed when it was loaded, and does not change.
    pub fn details(&self) -> Details {
        Details::parse(&self.certified.cert[0]).expect("the leaf was parsed when it was loaded")
    }

    /// The Secret it came from.
    pub fn secret(&self) -> &SecretRef {
        &self.secret
    }

    /// The version of the Secret it came from, if the source knew it.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// When it expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// When it was loaded.
    pub fn loaded_at(&self) -> SystemTime {
        self.loaded_at
    }

    /// The bytes it is weighed with.
    pub fn bytes(&self) -> u64 {
        self.held.bytes()
    }

    /// Why the last attempt to load a newer version failed, until one succeeds.
    pub fn last_error(&self) -> Option<CertError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns `true` if a newer version was rejected for what it holds, so that this is the last good one.
    pub(crate) fn is_last_good(&self) -> bool {
        let error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        error.as_ref().is_some_and(CertError::is_rejection)
    }

    /// A source that is away does not hide that a newer version was rejected.
    pub(crate) fn set_last_error(&self, error: CertError) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        if error.is_fault() || !last.as_ref().is_some_and(CertError::is_rejection) {
            *last = Some(error);
        }
    }

    pub(crate) fn asked_for(&self) -> &str {
        &self.asked_for
    }

    /// True once: the first time that a name which isn't covered is to be reported.
    pub(crate) fn claim_uncovered_report(&self) -> bool {
        !self.uncovered_reported.load(Relaxed) && !self.uncovered_reported.swap(true, Relaxed)
    }

    pub(crate) fn last_used(&self) -> u64 {
        self.last_used.load(Relaxed)
    }

    /// How often it was used, up to [`MAX_USES`].
    pub(crate) fn uses(&self) -> u8 {
        self.uses.load(Relaxed)
    }

    /// Counts one more use. Of two at the same time one may be lost; once it is used often, nothing is written.
    pub(crate) fn count_use(&self) {
        let uses = self.uses.load(Relaxed);
        if uses < MAX_USES {
            self.uses.store(uses + 1, Relaxed);
        }
    }

    /// Takes the place of one that it is a copy of, with all that is known of it.
    pub(crate) fn stand_in_for(&self, other: &Self) {
        self.succeed(other);
        self.uncovered_reported.store(other.uncovered_reported.load(Relaxed), Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = other.last_error();
    }

    /// Takes the place of another one, with what is known of its use.
    pub(crate) fn succeed(&self, old: &Self) {
        self.touch(old.last_used());
        self.uses.store(old.uses(), Relaxed);
    }

    /// Writes only when the stamp changes, so that a hot entry's cache line stays shared.
    pub(crate) fn touch(&self, millis: u64) {
        if self.last_used.load(Relaxed) < millis {
            self.last_used.store(millis, Relaxed);
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("secret", &self.secret)
            .field("version", &self.version)
            .field("not_after", &self.not_after)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
