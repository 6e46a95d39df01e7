//! Denials (403), which count once they have lasted.
//!
//! An API server that has just started denies everything until its caches of roles are filled: for about two seconds, as
//! measured on Kubernetes 1.34. A denial that counted at once would fail handshakes and give up cached certificates.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time for which denials of a namespace must have followed one another.
const BELIEVED_AFTER: Duration = Duration::from_secs(5);

/// After this long without a denial, the next one is the first again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// Namespaces whose Secrets were denied last, with the times of the first and the last denial.
#[derive(Debug, Default)]
pub(super) struct Denials(Mutex<HashMap<Arc<str>, (Instant, Instant)>>);

impl Denials {
    /// Notes a denial. Returns `true` if denials have lasted, so that this one counts.
    pub(super) fn deny(&self, namespace: &Arc<str>) -> bool {
        let (now, mut denied) = (Instant::now(), self.denied());
        denied.retain(|_, (_, last)| now.duration_since(*last) < FORGOTTEN_AFTER);
        let (first, last) = denied.entry(Arc::clone(namespace)).or_insert((now, now));
        *last = now;
        now.duration_since(*first) >= BELIEVED_AFTER
    }

    /// Notes that the namespace may be read.
    pub(super) fn allow(&self, namespace: &str) {
        self.denied().remove(namespace);
    }

    fn denied(&self) -> MutexGuard<'_, HashMap<Arc<str>, (Instant, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_denial_counts_once_it_has_lasted_and_only_in_its_namespace() {
        let (denials, shop, news) = (Denials::default(), Arc::from("shop"), Arc::from("news"));
        assert!(!denials.deny(&shop));
        sleep(Duration::from_secs(4)).await;
        assert!(!denials.deny(&shop));
        sleep(Duration::from_secs(1)).await;
        assert!(denials.deny(&shop) && !denials.deny(&news));
        denials.allow("shop");
        assert!(!denials.deny(&shop), "what was allowed in between begins again");
    }

    #[tokio::test(start_paused = true)]
    async fn denials_that_are_far_apart_do_not_add_up() {
        let (denials, shop) = (Denials::default(), Arc::from("shop"));
        assert!(!denials.deny(&shop));
        sleep(FORGOTTEN_AFTER).await;
        assert!(!denials.deny(&shop));
    }
}
