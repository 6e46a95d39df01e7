//! The monitor: looks at the figure, climbs the ladder, and acts.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::figures::Figures;
use super::meter::{Meter, Reading, SELF};
use super::plan::{DEFAULT_CACHE, Demand, FIXED, Mebibytes, Plan};
use super::pressure::Pressure;
use super::stage::{Ladder, Stage, Thresholds};
use super::{CertBudget, MemoryLimit};
use crate::allocator;
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

/// A host with its routes, where too few are there to measure it.
const PER_HOST: u64 = 300;

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
    is_configured: AtomicBool,
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
    ) -> io::Result<Arc<Self>> {
        let view = Arc::new(View {
            pressure,
            limit: AtomicU64::new(0),
            working_set: AtomicU64::new(0),
            plan: None.into(),
            is_configured: AtomicBool::new(false),
        });
        let (settings, certs) = (Live::from(settings), Arc::new(certs));
        // One wake-up is enough, however many have a reason for it.
        let (wake, woken) = sync_channel(1);
        let mut monitor = Monitor::new(settings.clone(), Arc::clone(&view), Arc::clone(&certs), tables);
        // certstore may have work for the runtime when its budget changes.
        let runtime = Handle::current();
        thread::Builder::new().name("postern-memory".to_owned()).spawn(move || {
            let _runtime = runtime.enter();
            allocator::keep_for_long();
            monitor.run(&woken);
        })?;
        Ok(Arc::new(Self { settings, view, certs, wake }))
    }

    /// From now on these settings hold. What has not to be planned first has taken effect on return.
    pub(crate) fn configure(&self, settings: Settings) {
        if **self.settings.load() == settings {
            return;
        }
        self.settings.set(settings);
        if let Some(bytes) = settings.cert_cache.or(self.usage().is_none().then_some(DEFAULT_CACHE)) {
            self.certs.want(bytes);
        }
        self.wake();
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
    planned: Instant,
    purged: Option<Instant>,
    called: Option<Instant>,
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
            planned: Instant::now(),
            purged: None,
            called: None,
            pause: CALM,
        }
    }

    fn run(&mut self, woken: &Receiver<()>) {
        self.replan();
        loop {
            self.look(Instant::now());
            match woken.recv_timeout(self.pause) {
                Ok(()) => self.replan(),
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
        self.figures.working_set(working_set);
        let percent = reading.map_or(f64::NEG_INFINITY, Reading::percent);
        let before = self.ladder.stage();
        if self.ladder.observe(percent, thresholds, now) {
            self.enter(before, limit, working_set);
        }
        self.relieve(percent, thresholds, now);
        let is_tense = percent >= thresholds.of(Stage::Shrink) - TENSION || self.ladder.stage() > Stage::Calm;
        self.pause = if is_tense { TENSE } else { CALM };
    }

    fn enter(&self, before: Stage, limit: u64, working_set: u64) {
        let stage = self.ladder.stage();
        self.view.pressure.set(stage);
        self.certs.shrink(stage >= Stage::Shrink);
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
        let is_due = |last: Option<Instant>, period| last.is_none_or(|last| now.duration_since(last) >= period);
        if self.ladder.stage() >= Stage::Shrink && is_due(self.purged, PURGE) {
            self.purged = Some(now);
            allocator::give_back();
        }
        if percent >= thresholds.of(Stage::Close) && is_due(self.called, CALL) {
            self.called = Some(now);
            self.view.pressure.call();
        }
    }

    /// Finds the limit anew and divides it.
    fn replan(&mut self) {
        self.planned = Instant::now();
        let settings = **self.settings.load();
        self.meter = Meter::open(settings.memory_limit, Path::new(SELF));
        let Some(limit) = self.meter.limit() else {
            self.certs.want(settings.cert_cache.unwrap_or(DEFAULT_CACHE));
            if self.view.plan.load().is_some() {
                tracing::info!("nothing limits the memory of this process any more");
                self.view.plan.set(None);
                Figures::plan(None);
            }
            return;
        };
        let is_configured = self.view.is_configured.load(Relaxed);
        if let Some(bytes) = settings.cert_cache {
            self.certs.want(bytes);
        }
        let demand = Demand {
            limit,
            fixed: self.fixed,
            routes: if is_configured { self.routes() } else { 0 },
            connections: settings.max_connections,
            cert_cache: settings.cert_cache,
            shrink: settings.thresholds.shrink,
        };
        if is_configured { self.adopt(&demand) } else { self.certs.want(demand.plan().certificates) }
    }

    fn adopt(&self, demand: &Demand) {
        let plan = demand.plan();
        if self.view.plan.load().as_ref().as_ref().is_some_and(|before| before.is_like(&plan)) {
            return;
        }
        self.certs.want(plan.certificates);
        Figures::plan(Some(&plan));
        self.view.plan.set(Some(plan));
        tracing::info!("memory plan: {plan}");
        if !plan.fits() {
            let advice = demand.advice();
            tracing::warn!(
                "the memory limit is too small for all that may be asked for; for that, give the process at least {}, or \
                 set max-connections to at most {}",
                Mebibytes(advice.limit),
                advice.connections
            );
        }
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
