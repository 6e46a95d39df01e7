//! The kernel's counters of the gateway's group, taken often enough to see a peak.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_tests::cgroup::Counter;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

const BETWEEN: Duration = Duration::from_millis(20);

/// Takes samples until dropped.
#[derive(Debug)]
pub(super) struct Watch {
    peaks: Arc<Peaks>,
    sampling: JoinHandle<()>,
}

/// The highest samples so far, in bytes.
#[derive(Debug, Default)]
struct Peaks {
    usage: AtomicU64,
    working_set: AtomicU64,
    sockets: AtomicU64,
    with_sockets: AtomicU64,
    fault: Mutex<Option<String>>,
}

impl Watch {
    pub(super) fn start(counter: Counter) -> Self {
        let peaks = Arc::new(Peaks::default());
        let shared = Arc::clone(&peaks);
        let sampling = tokio::spawn(async move {
            let mut ticks = interval(BETWEEN);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match counter.memory() {
                    Ok(memory) => {
                        shared.usage.fetch_max(memory.usage, Relaxed);
                        shared.working_set.fetch_max(memory.working_set, Relaxed);
                        shared.sockets.fetch_max(memory.sockets, Relaxed);
                        shared.with_sockets.fetch_max(memory.with_sockets, Relaxed);
                    }
                    Err(error) => {
                        *shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                        return;
                    }
                }
            }
        });
        Self { peaks, sampling }
    }

    /// Bytes counted against the limit.
    pub(super) fn usage(&self) -> u64 {
        self.peaks.usage.load(Relaxed)
    }

    /// The same without what the kernel reclaims first.
    pub(super) fn working_set(&self) -> u64 {
        self.peaks.working_set.load(Relaxed)
    }

    /// Bytes in the buffers of sockets.
    pub(super) fn sockets(&self) -> u64 {
        self.peaks.sockets.load(Relaxed)
    }

    /// Bytes counted against the limit by version 2.
    pub(super) fn with_sockets(&self) -> u64 {
        self.peaks.with_sockets.load(Relaxed)
    }

    /// The error that ended the sampling, if one did.
    pub(super) fn fault(&self) -> Option<String> {
        self.peaks.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.sampling.abort();
    }
}
