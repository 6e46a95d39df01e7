//! One run from start to end.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use postern_tests::cgroup::{Cgroup, Limits};
use postern_tests::cluster::ClusterProcess;
use postern_tests::gateway::Program;
use postern_tests::{Error, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::arguments::{Arguments, Part, Peer};
use crate::ledger::Ledger;
use crate::order::{Order, Target, Tick};
use crate::peer::{Envoy, Mirror};
use crate::processes::{self, Load};
use crate::sample::{Sample, Watched};
use crate::script::{Happened, Notice, Player, schedule};
use crate::stop::Stop;
use crate::subject::Subject;

mod progress;

/// How many notices of the script may wait.
const NOTICES: usize = 64;

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
    /// What failed, and what the gateway had declared of it.
    pub(crate) ledger: Ledger,
    pub(crate) oom_kills: u64,
    /// How the program ended, if it did not live to the end.
    pub(crate) ended: Option<String>,
    /// Why it was broken off, if it was: somebody asked for it, or something else than the program failed.
    pub(crate) broken_off: Option<String>,
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
            ledger: Ledger::default(),
            oom_kills: 0,
            ended: None,
            broken_off: None,
        }
    }
}

/// All runs that are asked for, the gateway's first. What could not be tried has a run that says so.
pub(crate) async fn all(arguments: &Arguments, stop: &Stop) -> Result<Vec<Run>> {
    let envoy = (arguments.peer == Some(Peer::Envoy)).then_some(arguments.envoy.as_path());
    if let Some(envoy) = envoy {
        Envoy::try_out(envoy).await?;
    }
    let runs = async {
        let mut runs = vec![one(arguments, None, stop).await];
        if envoy.is_some() && runs[0].broken_off.is_none() {
            runs.push(one(arguments, envoy, stop).await);
        }
        runs
    };
    tokio::select! {
        runs = runs => Ok(runs),
        () = stop.at_once() => Err("interrupted".into()),
    }
}

/// Runs the gateway, or Envoy if its executable is given.
async fn one(arguments: &Arguments, envoy: Option<&Path>, stop: &Stop) -> Run {
    let mut run = Run::of(if envoy.is_some() { "Envoy, Kourier shape" } else { "Postern" });
    if let Err(error) = carry_out(arguments, envoy, stop, &mut run).await {
        let words = error.to_string();
        eprintln!("\n{words}");
        // The rest is the end of a log.
        run.broken_off = Some(words.lines().next().unwrap_or_default().to_owned());
    }
    run.ledger.close(&mut run.series);
    run
}

/// Whatever happens, what was seen until then is in the run, and nothing that was started goes on.
async fn carry_out(arguments: &Arguments, envoy: Option<&Path>, stop: &Stop, run: &mut Run) -> Result<()> {
    let cgroup = Cgroup::create("postern-soak-", Limits { memory: arguments.limit, cpu: arguments.cpu });
    run.not_enforced = cgroup.as_ref().err().map(ToString::to_string);
    if let Some(error) = &run.not_enforced {
        eprintln!("no memory control group ({error}): the limit is not enforced, RSS is watched instead");
    }
    // Dropped after what is in it.
    let cgroup = cgroup.ok();
    let around = tokio::select! {
        around = Surroundings::prepare(arguments, envoy, run.subject) => around?,
        () = stop.asked() => return Err(Error::from("interrupted before the program was started")),
    };
    let Surroundings { mut load, cluster, mirror } = around;
    let began = Instant::now();
    let starting = async {
        match envoy.zip(mirror.as_ref()) {
            Some((program, mirror)) => start_envoy(arguments, program, mirror, &cluster, cgroup.as_ref()).await,
            None => start_postern(arguments, &cluster, cgroup.as_ref()).await,
        }
    };
    let started = tokio::select! {
        started = starting => started,
        () = stop.asked() => return Err(Error::from("interrupted before the program was ready")),
    };
    run.oom_kills = cgroup.as_ref().map(Cgroup::memory).transpose()?.map_or(0, |memory| memory.oom_kills);
    let (subject, https) = match started {
        Ok(started) => started,
        // Too little memory to start with is a finding; anything else is not what was to be tried.
        Err(error) if run.oom_kills == 0 => return Err(error),
        Err(_) => {
            run.ended =
                Some(format!("killed while it started, {:.1} s after its begin", began.elapsed().as_secs_f64()));
            return Ok(());
        }
    };
    run.start_seconds = began.elapsed().as_secs_f64();
    load.tell(&Order::Start(target(arguments, https, &cluster)?)).await?;
    let pushing = mirror.clone().map(|mirror| Task(tokio::spawn(mirror.push())));
    let (notices, heard) = mpsc::channel(NOTICES);
    let player = Player { cluster, backends: load.backends.clone(), mirror, began: Instant::now(), notices };
    let script = Task(tokio::spawn(player.play(schedule(arguments))));
    let mut watch = Watch { arguments, watched: Watched::new(subject, cgroup), load, run };
    let outcome = watch.until_the_end(heard, script, stop).await;
    drop(pushing);
    outcome.map_err(|error| watch.watched.subject.explain(error))
}

/// What there is around a program.
struct Surroundings {
    load: Load,
    cluster: ClusterProcess,
    mirror: Option<Mirror>,
}

impl Surroundings {
    async fn prepare(arguments: &Arguments, envoy: Option<&Path>, subject: &str) -> Result<Self> {
        let load = Load::start().await?;
        eprintln!("filling a cluster with {} services", arguments.services);
        let program = Program::this_executable(crate::CLUSTER)?;
        let services = arguments.services as usize;
        let mut cluster = ClusterProcess::start(&program, services, &load.backends).await?;
        let mirror = match envoy {
            Some(_) => Some(Mirror::of(&mut cluster, services, &load.backends).await?),
            None => None,
        };
        eprintln!("starting {subject}");
        Ok(Self { load, cluster, mirror })
    }
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

async fn start_envoy(
    arguments: &Arguments,
    program: &Path,
    mirror: &Mirror,
    cluster: &ClusterProcess,
    cgroup: Option<&Cgroup>,
) -> Result<(Subject, SocketAddr)> {
    let mut envoy = Envoy::start(program, mirror, cgroup)?;
    envoy.ready(&cluster.client()?, arguments.services as usize).await?;
    let https = envoy.https();
    Ok((Subject::Envoy(Box::new(envoy)), https))
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
    watched: Watched,
    load: Load,
    run: &'a mut Run,
}

impl Watch<'_> {
    /// To the end of its time or of the program, or until somebody asks for it.
    async fn until_the_end(
        &mut self,
        mut notices: mpsc::Receiver<Notice>,
        mut script: Task<ClusterProcess>,
        stop: &Stop,
    ) -> Result<()> {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                () = stop.asked() => {
                    self.run.broken_off = Some(format!("interrupted after {:.0} s", began.elapsed().as_secs_f64()));
                    return Ok(());
                }
            }
        }
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
        self.run.ledger.hear(at, &tick);
        self.run.totals = tick;
        if self.has_ended(at)? {
            return Ok(false);
        }
        let sample = match Sample::take(at, &mut self.watched, &self.run.totals).await {
            Ok(sample) => sample,
            // It may have ended just now.
            Err(error) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                return if self.has_ended(at)? { Ok(false) } else { Err(error) };
            }
        };
        self.run.ledger.settle(&self.run.series, at);
        progress::show(self.arguments, self.run, &sample);
        self.run.series.push(sample);
        Ok(true)
    }

    /// Notes how the gateway has ended, if it has.
    fn has_ended(&mut self, at: f64) -> Result<bool> {
        let status = self.watched.subject.has_ended()?;
        self.run.ended = status.map(|status| format!("{status} after {at:.0} s"));
        self.run.oom_kills = self.watched.oom_kills()?;
        Ok(status.is_some())
    }
}
