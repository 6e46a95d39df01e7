//! One run from start to end.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use postern_tests::Result;
use postern_tests::cluster::ClusterProcess;
use postern_tests::gateway::Program;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::arguments::{Arguments, Part, Peer};
use crate::cgroup::Cgroup;
use crate::order::{Order, Target, Tick};
use crate::peer::{Envoy, Mirror};
use crate::processes::{self, Load};
use crate::sample::Sample;
use crate::script::{Happened, Notice, Player, schedule};
use crate::subject::Subject;

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

/// All runs that are asked for, the gateway's first.
pub(crate) async fn all(arguments: &Arguments) -> Result<Vec<Run>> {
    let mut signals =
        Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? };
    let runs = async {
        let mut runs = vec![one(arguments, None).await?];
        if arguments.peer == Some(Peer::Envoy) && !runs[0].interrupted {
            runs.push(one(arguments, Some(&arguments.envoy)).await?);
        }
        Ok(runs)
    };
    tokio::select! {
        runs = runs => runs,
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

/// Runs the gateway, or Envoy if its executable is given.
async fn one(arguments: &Arguments, envoy: Option<&Path>) -> Result<Run> {
    // Dropped last: it can be removed when the program has ended.
    let cgroup = Cgroup::create(arguments.limit);
    let mut run = Run::of(if envoy.is_some() { "Envoy, Kourier shape" } else { "Postern" });
    run.not_enforced = cgroup.as_ref().err().map(ToString::to_string);
    if let Some(error) = &run.not_enforced {
        eprintln!("no memory control group ({error}): the limit is not enforced, RSS is watched instead");
    }
    let cgroup = cgroup.ok();
    let mut load = Load::start().await?;
    eprintln!("filling a cluster with {} services", arguments.services);
    let program = Program::this_executable(crate::CLUSTER)?;
    let mut cluster = ClusterProcess::start(&program, arguments.services as usize, &load.backends).await?;
    eprintln!("starting {}", run.subject);
    let mirror = match envoy {
        Some(_) => Some(Mirror::of(&mut cluster, arguments.services as usize, &load.backends).await?),
        None => None,
    };
    let began = Instant::now();
    let started = match envoy.zip(mirror.as_ref()) {
        Some((program, mirror)) => start_envoy(arguments, program, mirror, &cluster, cgroup.as_ref()).await,
        None => start_postern(arguments, &cluster, cgroup.as_ref()).await.map(Some),
    };
    run.oom_kills = cgroup.as_ref().map(Cgroup::memory).transpose()?.map_or(0, |memory| memory.oom_kills);
    let (subject, https) = match started {
        Ok(Some(started)) => started,
        // Too little memory to start with is a finding; anything else is not what was to be tried.
        Err(error) if run.oom_kills == 0 => return Err(error),
        Ok(None) | Err(_) => {
            run.ended = Some(format!("ended while it started, {:.1} s after its begin", began.elapsed().as_secs_f64()));
            return Ok(run);
        }
    };
    run.start_seconds = began.elapsed().as_secs_f64();
    load.tell(&Order::Start(target(arguments, https, &cluster)?)).await?;
    let pushing = mirror.clone().map(|mirror| Task(tokio::spawn(mirror.push())));
    let (notices, heard) = mpsc::channel(NOTICES);
    let player = Player { cluster, backends: load.backends.clone(), mirror, began: Instant::now(), notices };
    let script = Task(tokio::spawn(player.play(schedule(arguments))));
    let mut watch = Watch { arguments, subject, cgroup, load, run };
    let watched = watch.until_the_end(heard, script).await;
    drop(pushing);
    watched.map_err(|error| watch.subject.explain(error))?;
    // The program before its control group.
    let Watch { subject, run, .. } = watch;
    drop(subject);
    Ok(run)
}

async fn start_postern(
    arguments: &Arguments,
    cluster: &ClusterProcess,
    cgroup: Option<&Cgroup>,
) -> Result<(Subject, SocketAddr)> {
    let gateway = processes::gateway(arguments, cluster, cgroup).await?;
    let https = gateway.address("external-https")?;
    Ok((Subject::Postern(Box::new(gateway)), https))
}

/// Starts Envoy. `None` if it has ended before it served.
async fn start_envoy(
    arguments: &Arguments,
    program: &Path,
    mirror: &Mirror,
    cluster: &ClusterProcess,
    cgroup: Option<&Cgroup>,
) -> Result<Option<(Subject, SocketAddr)>> {
    let mut envoy = Envoy::start(program, mirror, cgroup)?;
    let ready = envoy.ready(&cluster.client()?, arguments.services as usize).await?;
    let https = envoy.https();
    Ok(ready.then_some((Subject::Envoy(envoy), https)))
}

/// Whom the load talks to.
fn target(arguments: &Arguments, https: SocketAddr, cluster: &ClusterProcess) -> Result<Target> {
    // In bursts alone there is nobody else.
    let some = |count| if arguments.only == Some(Part::Burst) { 0 } else { count };
    Ok(Target {
        https,
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
struct Task<T>(JoinHandle<Result<T>>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Looks on, each second.
struct Watch<'a> {
    arguments: &'a Arguments,
    subject: Subject,
    cgroup: Option<Cgroup>,
    load: Load,
    run: Run,
}

impl Watch<'_> {
    async fn until_the_end(
        &mut self,
        mut notices: mpsc::Receiver<Notice>,
        mut script: Task<ClusterProcess>,
    ) -> Result<()> {
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
        let sample = match Sample::take(at, &self.subject, self.cgroup.as_ref(), &tick).await {
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
        let status = self.subject.has_ended()?;
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
