//! Moving what is cached closer together, after most of it has gone.
//!
//! An allocator gives pages back that are wholly free. What a smaller budget keeps was chosen by its use, so a little of it
//! lies on nearly every page of the larger cache, and all of them stay. Copied one after another by a thread that caches
//! nothing it frees, or that has an arena of its own, it lies together on a few.

use std::sync::Arc;

use super::{CertStore, Shared};
use crate::certificate::Certificate;

/// So many are there twice at most, and so many are moved between two questions whether to go on.
const BATCH: usize = 32;

impl CertStore {
    /// Moves each cached certificate, key included, into memory that the calling thread allocates now, and returns how many
    /// it has moved. Hits, loads and removals go on meanwhile.
    ///
    /// It takes about 100 µs for each on a curve, a millisecond for RSA. `go_on` is asked now and then, and can wait to
    /// leave processors to others; false ends it. Where most of the cache stays in place anyway, it is not worth the work.
    pub fn gather(&self, mut go_on: impl FnMut() -> bool) -> usize {
        let mut entries = self.shared.cache.entries();
        // The last to be put in place is the last to go.
        entries.sort_by_cached_key(|certificate| certificate.last_used());
        let mut moved = 0;
        for (count, certificate) in entries.into_iter().enumerate() {
            if count % BATCH == 0 {
                self.shared.cache.settle();
                if !go_on() {
                    break;
                }
            }
            moved += usize::from(self.shared.relocate(&certificate));
        }
        self.shared.cache.settle();
        moved
    }
}

impl Shared {
    /// Puts a copy in the certificate's place, if it is still there.
    fn relocate(&self, certificate: &Arc<Certificate>) -> bool {
        let Some(copy) = certificate.copy_out(|bytes| self.metrics.hold(bytes)) else { return false };
        let _desk = self.desk();
        let present = self.cache.peek(certificate.secret());
        let is_present = present.is_some_and(|present| Arc::ptr_eq(&present, certificate));
        if is_present {
            copy.stand_in_for(certificate);
            self.cache.insert(&Arc::new(copy));
        }
        is_present
    }
}
