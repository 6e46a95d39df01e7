//! One run from start to end.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use postern_tests::Result;
use postern_tests::cluster::ClusterProcess;
use postern_tests::gateway::Gateway;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::arguments::{Arguments, Part};
use crate::cgroup::Cgroup;
use crate::order::{Order, Target, Tick};
use crate::processes::{self, Load};
use crate::sample::Sample;
use crate::script::{Happened, Notice, Player, schedule};

/// How many notices of the script may wait.
const NOTICES: usize = 64;

/// Failures that are kept word by word.
const EXAMPLES: usize = 50;

/// Without a terminal there is a line of progress every so many seconds.
const PROGRESS_EVERY: usize = 10;

/// What was seen in a run.
#[derive(Debug)]
pub(crate) struct Run {
    /// Which program it was.
    pub(crate) subject: &'static str,
    /// Why the kernel does not enforce the limit, if it doesn't.
    pub(crate) not_enforced: Option<String>,
    /// Seconds from its start until it was ready.
    pub(crate) start_seconds: f64,
    pub(crate) series: Vec<Sample>,
    pub(crate) events: Vec<Happened>,
    /// The last report of the load.
    pub(crate) totals: Tick,
    pub(crate) examples: Vec<String>,
    pub(crate) oom_kills: u64,
    /// How the program ended, if it did not live to the end.
    pub(crate) ended: Option<String>,
    /// The run was broken off from outside.
    pub(crate) interrupted: bool,
}

impl Run {
    /// A run of this program in which nothing has been seen yet.
    pub(crate) fn of(subject: &'static str) -> Self {
        Self {
            subject,
            not_enforced: None,
            start_seconds: 0.0,
            series: Vec::new(),
            events: Vec::new(),
            totals: Tick::default(),
            examples: Vec::new(),
            oom_kills: 0,
            ended: None,
            interrupted: false,
        }
    }
}

/// All runs that are asked for.
pub(crate) async fn all(arguments: &Arguments) -> Result<Vec<Run>> {
    let mut signals =
        Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? };
    tokio::select! {
        run = postern(arguments) => Ok(vec![run?]),
        () = signals.second() => Err("interrupted".into()),
    }
}

/// Asks to end. The first one ends the load, and there is a report; nobody waits after the second one.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn one(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    async fn second(&mut self) {
        self.one().await;
        eprintln!("\nending; once more to end at once");
        self.one().await;
    }
}

/// Runs the gateway.
async fn postern(arguments: &Arguments) -> Result<Run> {
    // Dropped last: it can be removed when the gateway has ended.
    let cgroup = Cgroup::create(arguments.limit);
    let not_enforced = cgroup.as_ref().err().map(ToString::to_string);
    if let Some(error) = &not_enforced {
        eprintln!("no memory control group ({error}): the limit is not enforced, RSS is watched instead");
    }
    let cgroup = cgroup.ok();
    let mut load = Load::start().await?;
    eprintln!("filling a cluster with {} services", arguments.services);
    let program = postern_tests::gateway::Program::this_executable(crate::CLUSTER)?;
    let cluster = ClusterProcess::start(&program, arguments.services as usize, &load.backends).await?;
    eprintln!("starting the gateway");
    let began = Instant::now();
    let mut run = Run { not_enforced, ..Run::of("Postern") };
    let gateway = match processes::gateway(arguments, &cluster, cgroup.as_ref()).await {
        Ok(gateway) => gateway,
        Err(error) => {
            run.oom_kills = cgroup.as_ref().map(Cgroup::memory).transpose()?.map_or(0, |memory| memory.oom_kills);
            // Too little memory to start with is a finding; anything else is not what was to be tried.
            if run.oom_kills == 0 {
                return Err(error);
            }
            run.ended =
                Some(format!("killed while it started, {:.1} s after its begin", began.elapsed().as_secs_f64()));
            return Ok(run);
        }
    };
    run.start_seconds = began.elapsed().as_secs_f64();
    load.tell(&Order::Start(target(arguments, &gateway, &cluster)?)).await?;
    let (notices, heard) = mpsc::channel(NOTICES);
    let player = Player { cluster, backends: load.backends.clone(), began: Instant::now(), notices };
    let script = Task(tokio::spawn(player.play(schedule(arguments))));
    let mut watch = Watch { arguments, gateway, cgroup, load, run };
    let watched = watch.until_the_end(heard, script).await;
    watched.map_err(|error| watch.gateway.explain(error))?;
    // The gateway before its control group.
    let Watch { gateway, run, .. } = watch;
    drop(gateway);
    Ok(run)
}

/// Whom the load talks to.
fn target(arguments: &Arguments, gateway: &Gateway, cluster: &ClusterProcess) -> Result<Target> {
    // In bursts alone there is nobody else.
    let some = |count| if arguments.only == Some(Part::Burst) { 0 } else { count };
    Ok(Target {
        https: gateway.address("external-https")?,
        ca: cluster.ca_pem().to_owned(),
        services: arguments.services as usize,
        seed: arguments.seed,
        rate: some(arguments.rate),
        websockets: some(arguments.websockets),
        idle: some(arguments.idle),
        downloads: some(arguments.downloads),
        staleness_millis: arguments.staleness.as_millis().try_into()?,
    })
}

/// A task that ends with what stands for it.
struct Task(JoinHandle<Result<ClusterProcess>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Looks on, each second.
struct Watch<'a> {
    arguments: &'a Arguments,
    gateway: Gateway,
    cgroup: Option<Cgroup>,
    load: Load,
    run: Run,
}

impl Watch<'_> {
    async fn until_the_end(&mut self, mut notices: mpsc::Receiver<Notice>, mut script: Task) -> Result<()> {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // The cluster stays when its script is at its end.
        let mut cluster = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if !self.look(began).await? || began.elapsed() >= self.arguments.duration {
                        return Ok(());
                    }
                }
                Some(notice) = notices.recv() => self.hear(notice).await?,
                ended = &mut script.0, if cluster.is_none() => cluster = Some(ended??),
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
        }
        self.run.interrupted = true;
        Ok(())
    }

    async fn hear(&mut self, notice: Notice) -> Result<()> {
        match notice {
            Notice::Tell(order) => self.load.tell(&order).await?,
            Notice::Happened(happened) => self.run.events.push(happened),
        }
        Ok(())
    }

    /// Takes a sample. False if the gateway is gone.
    async fn look(&mut self, began: Instant) -> Result<bool> {
        let tick = self.load.tick().await?;
        let at = began.elapsed().as_secs_f64();
        if self.has_ended(at)? {
            return Ok(false);
        }
        let sample = match Sample::take(at, &self.gateway, self.cgroup.as_ref(), &tick).await {
            Ok(sample) => sample,
            // It may have ended just now.
            Err(error) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                return if self.has_ended(at)? { Ok(false) } else { Err(error) };
            }
        };
        self.progress(&sample);
        self.run.series.push(sample);
        let room = EXAMPLES.saturating_sub(self.run.examples.len());
        self.run.examples.extend(tick.examples.iter().take(room).map(|words| format!("{at:.0} s: {words}")));
        self.run.totals = tick;
        Ok(true)
    }

    /// Notes how the gateway has ended, if it has.
    fn has_ended(&mut self, at: f64) -> Result<bool> {
        let status = self.gateway.has_ended()?;
        self.run.ended = status.map(|status| format!("{status} after {at:.0} s"));
        if let Some(cgroup) = &self.cgroup {
            self.run.oom_kills = cgroup.memory()?.oom_kills;
        }
        Ok(status.is_some())
    }

    /// One line for people: rewritten each second on a terminal, a new one now and then elsewhere.
    fn progress(&self, now: &Sample) {
        let terminal = std::io::stderr().is_terminal();
        let number = self.run.series.len();
        if !terminal && !number.is_multiple_of(PROGRESS_EVERY) {
            return;
        }
        let hits = self.run.series.last().and_then(|before| now.hit_ratio(before));
        let hits = hits.map_or_else(|| "–".to_owned(), |ratio| format!("{:.0} %", 100.0 * ratio));
        let line = format!(
            "{:4.0} of {} s: working set {:.1} of {:.0} MiB, cache {:.1} MiB, hits {hits}, {} handshakes/s (p99 {:.1} ms), {} \
             resumed, {} open, {} declared, {} failures; {}",
            now.at,
            self.arguments.duration.as_secs(),
            mebibytes(now.working_set),
            mebibytes(self.arguments.limit),
            now.gateway.map_or(0.0, |scrape| scrape.cache_bytes) / f64::from(1 << 20),
            now.full.count + now.resumed.count,
            now.full.p99,
            now.resumed.count,
            now.open,
            now.declared,
            now.failures,
            self.run.events.last().map_or("", |event| event.what.as_str()),
        );
        let mut stderr = std::io::stderr().lock();
        // Nobody may be reading.
        let _shown = if terminal { write!(stderr, "\r\x1b[K{line}") } else { writeln!(stderr, "{line}") };
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
