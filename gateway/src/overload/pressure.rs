//! Memory pressure as connections and requests see it: one stage to read, a call to leave, and the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use metrics::{Counter, counter};
use tokio::sync::Notify;

use super::Stage;
use crate::ledger::Ledger;
use crate::listener::ListenerName;

/// What a client that is refused should wait, in seconds (RFC 9110 §10.2.3): a stage lasts for some seconds at least.
pub(crate) const RETRY_AFTER: u32 = 5;

/// Idle connections are told apart into so many groups, of which one at a time is called to leave: not all wake up for
/// each call, and what leaving frees can be seen before the next ones go.
const GROUPS: usize = 32;

/// Who is called, from one pass through all groups to the next: those idle for longest go first.
const IDLE_AT_LEAST: [Duration; 3] = [Duration::from_secs(10), Duration::from_secs(1), Duration::ZERO];

/// From this pass on connections with streams are told to go away too.
const BUSY_PASS: usize = 3;

/// The longest that a connection idles from [`Stage::Close`] on.
const SHORT_IDLE: Duration = Duration::from_secs(5);

/// The longest that a client may take nothing while memory is short.
const SHORT_STALL: Duration = Duration::from_secs(10);

/// In [`Stage::Close`], one response out of so many closes its connection: clients come back over time.
const CLOSING_SHARE: u32 = 4;

/// How short memory is. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Pressure(Arc<Shared>);

struct Shared {
    stage: AtomicU8,
    /// How many connections there is memory for.
    places: AtomicUsize,
    /// Calls since [`Stage::Close`] began.
    calls: AtomicU32,
    responses: AtomicU32,
    groups: [Notify; GROUPS],
    refused: [Counter; Refused::ALL.len()],
    ledger: Ledger,
}

/// What is refused in [`Stage::Refuse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Connection,
    Handshake,
    Request,
}

impl Refused {
    const ALL: [Self; 3] = [Self::Connection, Self::Handshake, Self::Request];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Handshake => "handshake",
            Self::Request => "request",
        }
    }
}

impl Pressure {
    /// There is memory.
    pub(crate) fn new() -> Self {
        let refused = |what: Refused| counter!("postern_overload_refused_total", "what" => what.as_str());
        Self(Arc::new(Shared {
            stage: AtomicU8::new(0),
            places: AtomicUsize::new(usize::MAX),
            calls: AtomicU32::new(0),
            responses: AtomicU32::new(0),
            groups: Default::default(),
            refused: Refused::ALL.map(refused),
            ledger: Ledger::default(),
        }))
    }

    /// The stage as it is now.
    pub(crate) fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.0.stage.load(Relaxed)) % Stage::ALL.len()]
    }

    /// How many connections there is memory for by the plan.
    pub(crate) fn places(&self) -> usize {
        self.0.places.load(Relaxed)
    }

    /// Changes how many; those that are open stay.
    pub(crate) fn set_places(&self, connections: usize) {
        self.0.places.store(connections, Relaxed);
    }

    /// Returns the ledger of what clients hold.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// A stage begins.
    pub(crate) fn set(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Relaxed);
        if stage < Stage::Close {
            self.0.calls.store(0, Relaxed);
        }
    }

    /// Whether something new is refused on this listener, which is counted. Probes are let in: they tell that we live.
    pub(crate) fn refuses(&self, listener: ListenerName, what: Refused) -> bool {
        let refuses = self.stage() == Stage::Refuse && !listener.is_probe();
        if refuses {
            self.0.refused[what as usize].increment(1);
        }
        refuses
    }

    /// Whether a connection should end with the response that is being made.
    pub(crate) fn closes_after_response(&self) -> bool {
        match self.stage() {
            Stage::Calm | Stage::Shrink => false,
            Stage::Close => self.0.responses.fetch_add(1, Relaxed).is_multiple_of(CLOSING_SHARE),
            Stage::Refuse => true,
        }
    }

    /// How long a connection may idle that could for `configured`.
    pub(crate) fn idle_timeout(&self, configured: Duration) -> Duration {
        if self.stage() >= Stage::Close { configured.min(SHORT_IDLE) } else { configured }
    }

    /// Returns the time for which a client may take nothing of what waits for it, of `configured`.
    pub(crate) fn write_stall(&self, configured: Duration) -> Duration {
        if self.stage() > Stage::Calm { configured.min(SHORT_STALL) } else { configured }
    }

    /// Returns at the next call to a connection that may be busy.
    pub(crate) async fn called(&self, number: usize) -> Call {
        self.0.groups[number % GROUPS].notified().await;
        let calls = self.0.calls.load(Relaxed) as usize;
        Call { pass: calls.saturating_sub(1) / GROUPS }
    }

    /// Calls the next group.
    pub(super) fn call(&self) {
        let group = self.0.calls.fetch_add(1, Relaxed) as usize % GROUPS;
        self.0.groups[group].notify_waiters();
    }
}

/// A call to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pass: usize,
}

impl Call {
    /// Returns the time for which a connection has been idle that leaves at this call.
    pub(crate) fn idle_at_least(self) -> Duration {
        IDLE_AT_LEAST[self.pass.min(IDLE_AT_LEAST.len() - 1)]
    }

    /// Whether a connection goes that has requests under way.
    pub(crate) fn is_for_busy(self) -> bool {
        self.pass >= BUSY_PASS
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("stage", &self.stage).field("calls", &self.calls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::time::Instant;

    use super::*;

    fn at(stage: Stage) -> Pressure {
        let pressure = Pressure::new();
        pressure.set(stage);
        pressure
    }

    fn pass(pressure: &Pressure) {
        (0..GROUPS).for_each(|_| pressure.call());
    }

    /// Returns when a connection that has been idle since `since` leaves.
    async fn leave(pressure: &Pressure, number: usize, since: Instant) {
        while since.elapsed() < pressure.called(number).await.idle_at_least() {}
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_idle_for_longest_leave_first() {
        let pressure = at(Stage::Close);
        let oldest = Instant::now();
        tokio::time::advance(Duration::from_secs(9)).await;
        let middle = Instant::now();
        tokio::time::advance(Duration::from_millis(1_500)).await;
        let idle = [oldest, middle, Instant::now()];
        let mut waiting: Vec<_> =
            (1..).zip(idle).map(|(number, since)| Box::pin(leave(&pressure, number, since))).collect();
        for left in 1..=3 {
            for future in &mut waiting {
                assert!(poll!(future.as_mut()).is_pending(), "before pass {left}");
            }
            pass(&pressure);
            assert!(poll!(waiting.remove(0).as_mut()).is_ready(), "in pass {left}");
        }
    }

    #[tokio::test]
    async fn one_group_at_a_time_is_called() {
        let pressure = at(Stage::Close);
        let mut waiting: Vec<_> = (0..GROUPS).map(|number| Box::pin(pressure.called(number))).collect();
        for future in &mut waiting {
            assert!(poll!(future.as_mut()).is_pending());
        }
        pressure.call();
        let mut woken = 0;
        for future in &mut waiting {
            woken += usize::from(poll!(future.as_mut()).is_ready());
        }
        assert_eq!(woken, 1);
    }

    #[tokio::test]
    async fn connections_with_streams_go_last_and_a_new_stage_begins_anew() {
        let pressure = at(Stage::Close);
        for (passes, is_for_busy) in [(0, false), (1, false), (0, true)] {
            for _ in 0..passes {
                pass(&pressure);
            }
            let call = pressure.called(0);
            tokio::pin!(call);
            assert!(poll!(&mut call).is_pending());
            pass(&pressure);
            assert_eq!(call.await.is_for_busy(), is_for_busy);
            if is_for_busy {
                pressure.set(Stage::Shrink);
                assert_eq!(pressure.0.calls.load(Relaxed), 0);
            }
        }
    }

    #[test]
    fn stages_refuse_and_close_more_and_more() {
        let https = ListenerName::ExternalHttps;
        let closing = |pressure: &Pressure| (0..40).filter(|_| pressure.closes_after_response()).count();
        let long = Duration::from_secs(60);
        for (stage, refuses, closed, idle) in [
            (Stage::Calm, false, 0, long),
            (Stage::Shrink, false, 0, long),
            (Stage::Close, false, 10, SHORT_IDLE),
            (Stage::Refuse, true, 40, SHORT_IDLE),
        ] {
            let pressure = at(stage);
            assert_eq!(pressure.stage(), stage);
            assert_eq!(pressure.refuses(https, Refused::Connection), refuses);
            assert!(!pressure.refuses(ListenerName::ProbeHttps, Refused::Request));
            assert_eq!(closing(&pressure), closed);
            assert_eq!(pressure.idle_timeout(long), idle);
            assert_eq!(pressure.idle_timeout(Duration::from_secs(1)), Duration::from_secs(1));
        }
    }
}
