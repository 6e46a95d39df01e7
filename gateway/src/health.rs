//! Health: whether the process lives, and whether it should be sent traffic.
//!
//! Alive means that its own loops turn; nothing outside the process is asked. Ready means that the first complete
//! configuration is applied, that no setting keeps everything from being served, and that no drain has begun.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use xds::settings::Withheld;

/// A loop that has not turned for this long is stuck. Kubelet asks every 10 s by default.
const STUCK_AFTER: Duration = Duration::from_secs(20);

/// How often each loop says that it turns.
const BEAT: Duration = Duration::from_secs(1);

/// The health of this process. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    configured: AtomicBool,
    draining: AtomicBool,
    loops: RwLock<Vec<Arc<Heartbeat>>>,
    broken: RwLock<Vec<&'static str>>,
    withheld: RwLock<Withheld>,
    is_withheld: AtomicBool,
}

#[derive(Debug)]
struct Heartbeat {
    name: &'static str,
    /// Milliseconds since `Shared::started`.
    last: AtomicU64,
}

impl Default for Health {
    fn default() -> Self {
        let shared = Shared {
            started: Instant::now(),
            configured: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            loops: RwLock::default(),
            broken: RwLock::default(),
            withheld: RwLock::default(),
            is_withheld: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Health {
    /// Whether traffic should be sent here.
    pub fn is_ready(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        is(&self.shared.configured) && !is(&self.shared.draining) && !is(&self.shared.is_withheld)
    }

    /// The first complete configuration is applied.
    pub fn set_configured(&self) {
        self.shared.configured.store(true, Ordering::Release);
    }

    /// A drain has begun.
    pub fn set_draining(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    /// Why no traffic should be sent here, if so.
    pub fn unready_reason(&self) -> Option<Cow<'static, str>> {
        if self.shared.draining.load(Ordering::Acquire) {
            return Some("draining".into());
        }
        let withheld = self.shared.withheld.read().unwrap_or_else(PoisonError::into_inner);
        if !withheld.is_empty() {
            let keys = withheld.join(", ");
            return Some(format!("not implemented, and not accepted by accept-unsupported: {keys}").into());
        }
        let is_configured = self.shared.configured.load(Ordering::Acquire);
        (!is_configured).then_some("the first complete configuration is not applied yet".into())
    }

    /// Notes the settings that keep everything from being served.
    pub fn set_withheld(&self, keys: &Withheld) {
        *self.shared.withheld.write().unwrap_or_else(PoisonError::into_inner) = Withheld::clone(keys);
        self.shared.is_withheld.store(!keys.is_empty(), Ordering::Release);
    }

    /// Follows the settings that keep everything from being served, until nobody can change them any more.
    pub async fn follow_withheld(self, mut withheld: watch::Receiver<Withheld>) {
        loop {
            let keys = Withheld::clone(&withheld.borrow_and_update());
            let is_news = *self.shared.withheld.read().unwrap_or_else(PoisonError::into_inner) != keys;
            self.set_withheld(&keys);
            match keys.is_empty() {
                true if is_news => tracing::info!("everything is served again"),
                false if is_news => {
                    let keys = keys.join(", ");
                    tracing::error!(keys, "nothing is served: not implemented, and not accepted by accept-unsupported");
                }
                _ => {}
            }
            if withheld.changed().await.is_err() {
                return;
            }
        }
    }

    /// The loops that are stuck, by name; none when the process is alive.
    pub fn stuck_loops(&self) -> Vec<&'static str> {
        let now = self.now();
        let loops = self.shared.loops.read().unwrap_or_else(PoisonError::into_inner);
        let stuck =
            |beat: &&Arc<Heartbeat>| now.saturating_sub(beat.last.load(Ordering::Relaxed)) > millis(STUCK_AFTER);
        let broken = self.shared.broken.read().unwrap_or_else(PoisonError::into_inner);
        loops.iter().filter(stuck).map(|beat| beat.name).chain(broken.iter().copied()).collect()
    }

    /// A loop has ended that never should have; only a restart mends it.
    pub fn set_broken(&self, name: &'static str) {
        self.shared.broken.write().unwrap_or_else(PoisonError::into_inner).push(name);
    }

    /// Beats for the runtime it is spawned on, until dropped: if its workers are all blocked, the beat stays away.
    pub async fn beat(self, name: &'static str) {
        let heartbeat = Arc::new(Heartbeat { name, last: AtomicU64::new(self.now()) });
        self.shared.loops.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&heartbeat));
        let mut tick = tokio::time::interval(BEAT);
        loop {
            tick.tick().await;
            heartbeat.last.store(self.now(), Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        millis(self.shared.started.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_from_the_first_configuration_to_the_drain() {
        let health = Health::default();
        assert!(!health.is_ready() && health.unready_reason().is_some());
        health.set_configured();
        assert!(health.is_ready() && health.unready_reason().is_none());
        health.set_draining();
        assert_eq!((health.is_ready(), health.unready_reason().as_deref()), (false, Some("draining")));
    }

    #[tokio::test]
    async fn it_is_not_ready_while_a_setting_keeps_everything_from_being_served() {
        let (health, keys) = (Health::default(), watch::Sender::new(Withheld::default()));
        health.set_configured();
        tokio::spawn(health.clone().follow_withheld(keys.subscribe()));
        keys.send_replace(Withheld::from(vec!["config-kourier extauthz-host".to_owned()]));
        while health.is_ready() {
            tokio::task::yield_now().await;
        }
        assert!(health.unready_reason().is_some_and(|reason| reason.contains("extauthz-host")));
        keys.send_replace(Withheld::default());
        while !health.is_ready() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_loop_that_does_not_turn_is_named() {
        let health = Health {
            shared: Arc::new(Shared {
                started: Instant::now().checked_sub(STUCK_AFTER * 2).expect("the clock is not that young"),
                configured: AtomicBool::new(true),
                draining: AtomicBool::new(false),
                loops: RwLock::default(),
                broken: RwLock::default(),
                withheld: RwLock::default(),
                is_withheld: AtomicBool::new(false),
            }),
        };
        assert!(health.stuck_loops().is_empty());
        let beat = Arc::new(Heartbeat { name: "traffic", last: AtomicU64::new(0) });
        health.shared.loops.write().expect("not poisoned").push(Arc::clone(&beat));
        assert_eq!(health.stuck_loops(), ["traffic"]);
        beat.last.store(health.now(), Ordering::Relaxed);
        assert!(health.stuck_loops().is_empty());
    }
}
