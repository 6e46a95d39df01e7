//! The monitor: looks at the figure, climbs the ladder, and acts.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::cgroup::Reading;
use super::figures::Figures;
use super::meter::{Meter, SELF};
use super::plan::{DEFAULT_CACHE, Demand, FIXED, MARGIN, Plan};
use super::pressure::Pressure;
use super::stage::{Ladder, Stage, Thresholds};
use super::{CertBudget, MemoryLimit};
use crate::allocator;
use crate::health::Health;
use crate::live::Live;
use crate::tables::Tables;

/// Between two looks while there is memory; and when it runs short: at a gigabyte a second, what can be used in between is
/// a part of what is left above [`Thresholds::refuse`] of a small limit.
const CALM: Duration = Duration::from_millis(200);
const TENSE: Duration = Duration::from_millis(25);

/// So many points below the first threshold it is looked more often.
const TENSION: f64 = 15.0;

/// Between two purges: each takes a lock of every arena.
const PURGE: Duration = Duration::from_secs(2);

/// Between two calls to leave; a pass through all idle connections takes 32 of them.
const CALL: Duration = Duration::from_millis(200);

/// How often the limit and the number of services are looked at: a pod can be resized while it runs (KEP-1287).
const REPLAN: Duration = Duration::from_secs(10);

/// Between two steps by which the certificate cache grows after memory was short.
const GROW: Duration = Duration::from_secs(60);

/// A plan takes milliseconds, and up to a second where it makes a large cache smaller. Whoever waits for longer goes on.
const PATIENCE: Duration = Duration::from_secs(3);

/// Bytes that clients may hold where no memory limit is known.
const DEFAULT_RESERVABLE: u64 = 1 << 30;

/// A host with its routes, where too few are there to measure it.
const PER_HOST: u64 = 300;

/// A host that was asked for in the last minutes has its routes unpacked and its clusters made, of which no more than so
/// many are kept.
const PER_HOST_IN_USE: u64 = 2 * 1024;
const MOST_IN_USE: usize = 8_192;

const TOO_SMALL: &str = "the memory limit is too small for all that may be asked for";

/// Fewer hosts than this are lost in the noise of a measurement.
const MEASURABLE: usize = 1_000;

/// What operators can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) memory_limit: MemoryLimit,
    pub(crate) thresholds: Thresholds,
    /// Bytes; `None` for what the plan leaves.
    pub(crate) cert_cache: Option<u64>,
    /// How many may be open.
    pub(crate) max_connections: usize,
    /// Fewer, where the plan has no room for them.
    pub(crate) fit_connections: bool,
    /// Bytes that clients may hold; `None` for what the plan leaves.
    pub(crate) max_buffered: Option<u64>,
}

/// The monitor's outside. It looks until this is dropped.
#[derive(Debug)]
pub(crate) struct Overload {
    settings: Live<Settings>,
    view: Arc<View>,
    certs: Arc<CertBudget>,
    wake: SyncSender<()>,
}

/// What can be seen of it.
#[derive(Debug)]
struct View {
    pressure: Pressure,
    /// In bytes; 0 for none.
    limit: AtomicU64,
    working_set: AtomicU64,
    plan: Live<Option<Plan>>,
    /// What is wrong with it.
    warning: Live<Option<String>>,
    is_configured: AtomicBool,
    rounds: Rounds,
}

/// How often new settings were asked to be planned with, and how many of those askings have been answered.
#[derive(Debug, Default)]
struct Rounds {
    asked: AtomicU64,
    answered: Mutex<u64>,
    news: Condvar,
}

impl Rounds {
    /// The askings so far. What was set before them is what a plan that begins now is made of.
    fn asked(&self) -> u64 {
        self.asked.load(SeqCst)
    }

    fn answer(&self, asked: u64) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        self.news.notify_all();
    }

    /// Asks, by what `wake` does, and waits for the answer.
    fn ask(&self, wake: impl FnOnce()) {
        let number = self.asked.fetch_add(1, SeqCst) + 1;
        wake();
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.news.wait_timeout_while(answered, PATIENCE, |answered| *answered < number));
    }
}

/// Says so if the monitor's thread ends by a panic: the stage would stay what it is for ever, and that may be "refuse".
struct Watchman(Health);

impl Drop for Watchman {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("memory is no longer watched; this process needs a restart");
            self.0.set_broken("memory");
        }
    }
}

impl Overload {
    /// Begins to look, on a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be started.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn start(
        settings: Settings,
        certs: CertBudget,
        tables: Tables,
        pressure: Pressure,
        health: Health,
    ) -> io::Result<Arc<Self>> {
        let view = Arc::new(View {
            pressure,
            limit: AtomicU64::new(0),
            working_set: AtomicU64::new(0),
            plan: None.into(),
            warning: None.into(),
            is_configured: AtomicBool::new(false),
            rounds: Rounds::default(),
        });
        let (settings, certs) = (Live::from(settings), Arc::new(certs.gathering()?));
        // One wake-up is enough, however many have a reason for it.
        let (wake, woken) = sync_channel(1);
        let mut monitor = Monitor::new(settings.clone(), Arc::clone(&view), Arc::clone(&certs), tables);
        // certstore may have work for the runtime when its budget changes.
        let runtime = Handle::current();
        thread::Builder::new().name("postern-memory".to_owned()).spawn(move || {
            let _runtime = runtime.enter();
            let _watchman = Watchman(health);
            allocator::keep_for_long();
            monitor.run(&woken);
        })?;
        Ok(Arc::new(Self { settings, view, certs, wake }))
    }

    /// From now on these settings hold. On return they are planned with, which takes some milliseconds.
    pub(crate) fn configure(&self, settings: Settings) {
        if **self.settings.load() != settings {
            self.settings.set(settings);
            self.view.rounds.ask(|| self.wake());
        }
    }

    /// What the certificate cache is to have, in bytes, as soon as there is memory for it.
    pub(crate) fn cert_cache(&self) -> u64 {
        self.certs.wanted()
    }

    /// The first complete configuration is applied: what routes take can be measured.
    pub(crate) fn set_configured(&self) {
        self.view.is_configured.store(true, Relaxed);
        self.wake();
    }

    fn wake(&self) {
        // Full: it is about to look anyway.
        let _ = self.wake.try_send(());
    }

    /// The stage as it is now.
    pub(crate) fn stage(&self) -> Stage {
        self.view.pressure.stage()
    }

    /// The limit and what counts against it, in bytes; `None` without a limit.
    pub(crate) fn usage(&self) -> Option<(u64, u64)> {
        let limit = self.view.limit.load(Relaxed);
        (limit > 0).then(|| (limit, self.view.working_set.load(Relaxed)))
    }

    /// What is wrong with the plan, and what would do; `None` if it works out, or there is none.
    pub(crate) fn warning(&self) -> Option<String> {
        (**self.view.warning.load()).clone()
    }

    /// The plan, once there is one.
    pub(crate) fn plan(&self) -> Option<Plan> {
        **self.view.plan.load()
    }
}

struct Monitor {
    settings: Live<Settings>,
    view: Arc<View>,
    certs: Arc<CertBudget>,
    tables: Tables,
    figures: Figures,
    meter: Meter,
    ladder: Ladder,
    fixed: u64,
    /// Heap and stacks before there was a configuration, in bytes.
    bare: u64,
    /// Bytes and hosts of the first configuration.
    first: Option<(u64, usize)>,
    /// Bytes of the configuration when it was planned with last.
    configuration: u64,
    planned: Instant,
    purged: Option<Instant>,
    called: Option<Instant>,
    grown: Option<Instant>,
    pause: Duration,
}

impl Monitor {
    fn new(settings: Live<Settings>, view: Arc<View>, certs: Arc<CertBudget>, tables: Tables) -> Self {
        let mut meter = Meter::open(settings.load().memory_limit, Path::new(SELF));
        let resident = meter.resident();
        Self {
            settings,
            view,
            certs,
            tables,
            figures: Figures::new(),
            meter,
            ladder: Ladder::default(),
            fixed: resident.map_or(0, |rss| rss.all).max(FIXED),
            bare: resident.map_or(0, |rss| rss.anonymous),
            first: None,
            configuration: 0,
            planned: Instant::now(),
            purged: None,
            called: None,
            grown: None,
            pause: CALM,
        }
    }

    fn run(&mut self, woken: &Receiver<()>) {
        self.replan();
        loop {
            self.look(Instant::now());
            match woken.recv_timeout(self.pause) {
                Ok(()) => {
                    let asked = self.view.rounds.asked();
                    self.replan();
                    self.view.rounds.answer(asked);
                }
                Err(RecvTimeoutError::Timeout) if self.planned.elapsed() >= REPLAN => self.replan(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self, now: Instant) {
        let thresholds = self.settings.load().thresholds;
        let reading = self.meter.read();
        let (limit, working_set) = reading.map_or((0, 0), |reading| (reading.limit, reading.working_set));
        self.view.limit.store(limit, Relaxed);
        self.view.working_set.store(working_set, Relaxed);
        self.figures.limit(limit);
        let ledger = self.view.pressure.ledger();
        self.figures.working_set(working_set, self.fixed + self.configuration + self.certs.held() + ledger.used());
        self.figures.ledger(ledger);
        let percent = reading.map_or(f64::NEG_INFINITY, Reading::percent);
        let before = self.ladder.stage();
        if self.ladder.observe(percent, thresholds, now) {
            self.enter(before, limit, working_set);
        }
        self.relieve(percent, thresholds, now);
        self.recover(reading, thresholds, now);
        let is_tense = percent >= thresholds.of(Stage::Shrink) - TENSION || self.ladder.stage() > Stage::Calm;
        self.pause = if is_tense { TENSE } else { CALM };
    }

    fn enter(&self, before: Stage, limit: u64, working_set: u64) {
        let stage = self.ladder.stage();
        self.view.pressure.set(stage);
        if stage >= Stage::Shrink {
            self.certs.shrink();
        }
        self.figures.stage(stage);
        let (from, to) = (before.as_str(), stage.as_str());
        if stage > before {
            tracing::warn!(from, to, limit, working_set, "memory runs short");
        } else {
            tracing::info!(from, to, limit, working_set, "memory recovers");
        }
    }

    /// What is done again and again while a stage lasts.
    fn relieve(&mut self, percent: f64, thresholds: Thresholds, now: Instant) {
        if self.ladder.stage() >= Stage::Shrink && is_due(self.purged, PURGE, now) {
            self.purged = Some(now);
            allocator::give_back();
        }
        if percent >= thresholds.of(Stage::Close) && is_due(self.called, CALL, now) {
            self.called = Some(now);
            self.view.pressure.call();
        }
    }

    /// Gives the certificate cache back what it had to give up, step by step, as long as that does not begin a stage again.
    fn recover(&mut self, reading: Option<Reading>, thresholds: Thresholds, now: Instant) {
        if self.ladder.stage() > Stage::Calm {
            self.grown = None;
        } else if self.certs.is_held_back() && is_due(self.grown, GROW, now) {
            self.grown = Some(now);
            let most = u64::from(thresholds.shrink.saturating_sub(MARGIN));
            let room = |Reading { limit, working_set }| (limit / 100 * most).saturating_sub(working_set);
            self.certs.grow(reading.map_or(u64::MAX, room));
        }
    }

    /// Finds the limit anew and divides it.
    fn replan(&mut self) {
        self.planned = Instant::now();
        let settings = **self.settings.load();
        self.meter = Meter::open(settings.memory_limit, Path::new(SELF));
        let Some(limit) = self.meter.limit() else {
            self.certs.want(settings.cert_cache.unwrap_or(DEFAULT_CACHE));
            self.set_places(usize::MAX);
            self.view.pressure.ledger().set_total(settings.max_buffered.unwrap_or(DEFAULT_RESERVABLE));
            if self.view.plan.load().is_some() {
                tracing::info!("nothing limits the memory of this process any more");
                self.view.plan.set(None);
                self.view.warning.set(None);
                Figures::plan(None);
            }
            return;
        };
        let is_configured = self.view.is_configured.load(Relaxed);
        if is_configured {
            self.configuration = self.routes();
        }
        let demand = Demand {
            limit,
            fixed: self.fixed,
            routes: if is_configured { self.configuration + self.in_use() } else { 0 },
            connections: settings.max_connections,
            fit_connections: settings.fit_connections,
            cert_cache: settings.cert_cache,
            sealed: self.certs.sealed(),
            shrink: settings.thresholds.shrink,
        };
        // Before there is a configuration, what it takes is not known, and nobody is connected.
        let reservable = demand.plan().reservable();
        self.view.pressure.ledger().set_total(settings.max_buffered.unwrap_or(u64::MAX).min(reservable));
        if is_configured { self.adopt(&demand) } else { self.certs.want(demand.plan().certificates) }
    }

    fn adopt(&self, demand: &Demand) {
        let plan = demand.plan();
        let before = **self.view.plan.load();
        // What was set holds exactly; what is left moves a little with every service.
        let holds = |before: &Plan| demand.fit_connections || before.max_connections == plan.max_connections;
        let like = before.filter(|before| before.is_like(&plan) && holds(before));
        let left = like.map_or(plan.certificates, |like| like.certificates);
        self.certs.want(demand.cert_cache.unwrap_or(left));
        if like.is_some() {
            return;
        }
        self.set_places(plan.max_connections);
        Figures::plan(Some(&plan));
        self.view.plan.set(Some(plan));
        tracing::info!("memory plan: {plan}");
        let warning = (!plan.fits()).then(|| format!("{TOO_SMALL}; {}", demand.advice()));
        if let Some(warning) = &warning {
            tracing::warn!("{warning}");
        }
        self.view.warning.set(warning);
    }

    fn set_places(&self, connections: usize) {
        self.view.pressure.set_places(connections);
        self.figures.max_connections(connections.min(self.settings.load().max_connections));
    }

    /// Bytes that hosts take for a while when they are asked for, at most.
    fn in_use(&self) -> u64 {
        PER_HOST_IN_USE * self.tables.load().routes.len().min(MOST_IN_USE) as u64
    }

    /// Bytes of the configuration: as measured when the first one was applied, and in proportion for what came later.
    fn routes(&mut self) -> u64 {
        let hosts = self.tables.load().routes.len();
        let (bytes, then) = *self.first.get_or_insert_with(|| {
            // What reading has left behind belongs to nobody.
            allocator::give_back();
            let now = self.meter.resident().map_or(0, |rss| rss.anonymous);
            (now.saturating_sub(self.bare).max(PER_HOST * hosts as u64), hosts)
        });
        let per_host = if then < MEASURABLE { PER_HOST } else { bytes / then as u64 };
        let (more, fewer) = (hosts.saturating_sub(then) as u64, then.saturating_sub(hosts) as u64);
        (bytes + more * per_host).saturating_sub(fewer * per_host)
    }
}

fn is_due(last: Option<Instant>, period: Duration, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_ends_by_a_panic_is_seen_and_one_that_is_over_is_not() {
        let health = Health::default();
        let watch = |is_broken: bool| {
            let watchman = Watchman(health.clone());
            let watch = thread::spawn(move || {
                let _watchman = watchman;
                assert!(!is_broken, "as it is meant to");
            });
            watch.join().is_err()
        };
        assert!(!watch(false) && health.stuck_loops().is_empty());
        assert!(watch(true));
        assert_eq!(health.stuck_loops(), ["memory"]);
    }

    #[test]
    fn who_asks_for_a_plan_waits_for_one_that_began_later() {
        let rounds = Arc::new(Rounds::default());
        let (wake, woken) = sync_channel::<()>(1);
        let planner = {
            let rounds = Arc::clone(&rounds);
            thread::spawn(move || {
                let mut plans = 0;
                while woken.recv().is_ok() {
                    let asked = rounds.asked();
                    plans += 1;
                    rounds.answer(asked);
                }
                plans
            })
        };
        for number in 1..=100 {
            rounds.ask(|| {
                let _ = wake.try_send(());
            });
            assert!(*rounds.answered.lock().unwrap() >= number);
        }
        drop(wake);
        assert_eq!(planner.join().unwrap(), 100);
    }
}
