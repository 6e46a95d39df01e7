//! One trial: a gateway in its group, a visitor alone, and the visitor beside an attacker.

use std::net::Ipv4Addr;
use std::time::Duration;

use postern_tests::Result;
use postern_tests::cgroup::Cgroup;
use postern_tests::conversation::Conversation;
use postern_tests::gateway::{Gateway, Options, Program};
use tokio::process::Command;
use tokio::time::sleep;

use super::attack;
use super::limits::Setting;
use super::processors::{Meter, Pids, Processors};
use super::site::Site;
use super::visitor::{Visitor, Visits};
use super::watch::Watch;
use super::{Arguments, Case, seconds};
use crate::backend::{Backends, Buffers};
use crate::{ATTACKER, GATEWAY};

/// A gateway with a fifth of a processor has read the large certificates within this.
const START: Duration = Duration::from_secs(180);

/// A child answers within this.
const ANSWER: Duration = Duration::from_secs(20);

/// Trials of the same gateway.
pub(super) struct Trial<'a> {
    arguments: &'a Arguments,
    program: Program,
    site: Site,
    large_site: Site,
    backends: Backends,
}

/// Findings of a trial.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) setting: Setting,
    /// The reason why the trial could not be made; the rest is empty then.
    pub(super) fault: Option<String>,
    /// Processes that the kernel killed for the limit.
    pub(super) oom_kills: u64,
    /// The gateway's exit status, if it ended.
    pub(super) ended: Option<String>,
    /// The highest usage of the group, in bytes.
    pub(super) peak: u64,
    /// The highest working set that was sampled, in bytes.
    pub(super) working_set: u64,
    /// The most bytes in the buffers of its sockets that were sampled.
    pub(super) sockets: u64,
    /// The highest sum of both that was sampled: what version 2 counts against the limit.
    pub(super) with_sockets: u64,
    /// Visits before the attack, and during it.
    pub(super) alone: Visits,
    pub(super) beside: Visits,
    pub(super) attack: attack::Report,
    /// During the attack; `None` if the gateway ended.
    pub(super) processors: Option<Processors>,
}

impl Row {
    /// A trial that could not be made: the gateway did not start, or did not serve without an attack.
    fn failed(setting: &Setting, fault: String) -> Self {
        Self {
            setting: *setting,
            fault: Some(fault),
            oom_kills: 0,
            ended: None,
            peak: 0,
            working_set: 0,
            sockets: 0,
            with_sockets: 0,
            alone: Visits::default(),
            beside: Visits::default(),
            attack: attack::Report::default(),
            processors: None,
        }
    }

    /// The highest usage as a share of the limit.
    pub(super) fn peak_share(&self) -> f64 {
        self.share(self.peak)
    }

    /// The same, as version 2 of cgroups counts.
    pub(super) fn share_with_sockets(&self) -> f64 {
        self.share(self.with_sockets)
    }

    fn share(&self, bytes: u64) -> f64 {
        bytes as f64 / self.setting.limit.as_u64() as f64
    }
}

impl<'a> Trial<'a> {
    /// Starts the backends and writes the manifests.
    pub(super) async fn prepare(arguments: &'a Arguments) -> Result<Self> {
        let backends = Backends::start(Buffers::Small).await?;
        let program = match &arguments.gateway {
            Some(path) => Program::new(path),
            None => Program::this_executable(GATEWAY)?,
        };
        let (site, large_site) = (Site::write(&backends.addresses, false)?, Site::write(&backends.addresses, true)?);
        Ok(Self { arguments, program, site, large_site, backends })
    }

    /// Makes one trial.
    pub(super) async fn run(&self, setting: &Setting) -> Row {
        self.attempt(setting).await.unwrap_or_else(|error| Row::failed(setting, error.to_string()))
    }

    async fn attempt(&self, setting: &Setting) -> Result<Row> {
        // Dropped after the gateway in it.
        let cgroup = Cgroup::create("postern-hostile-", setting.limits())?;
        let site = if setting.case == Case::Certificates { &self.large_site } else { &self.site };
        let mut gateway = self.start(site, &cgroup).await?;
        let visitor = Visitor::new(gateway.address("external-https")?, &site.client()?)?;
        visitor.warm_up().await.map_err(|error| gateway.explain(error))?;
        let alone = visitor.visit_for(seconds(self.arguments.base_seconds)).await;

        let pids = Pids { gateway: gateway.pid(), backends: self.backends.pid() };
        let (watch, meter) = (Watch::start(cgroup.counter()), Meter::start(pids)?);
        let mut attacker = self.attacker(setting, &gateway)?;
        let beside = tokio::select! {
            visits = visitor.visit_for(seconds(self.arguments.seconds)) => visits,
            () = until_ended(&gateway) => Visits::default(),
        };
        let processors = meter.read(pids, attacker.pid()).ok();
        let attack = serde_json::from_value(attacker.ask(&"stop", ANSWER).await?)?;
        drop(attacker);
        if let Some(fault) = watch.fault() {
            return Err(format!("the counters of the group cannot be read: {fault}").into());
        }
        Ok(Row {
            setting: *setting,
            fault: None,
            oom_kills: cgroup.memory()?.oom_kills,
            ended: gateway.has_ended()?.map(|status| status.to_string()),
            peak: cgroup.peak().unwrap_or_else(|| watch.usage()),
            working_set: watch.working_set(),
            sockets: watch.sockets(),
            with_sockets: watch.with_sockets(),
            alone,
            beside,
            attack,
            processors,
        })
    }

    /// With the gateway's defaults, apart from what was asked for.
    async fn start(&self, site: &Site, cgroup: &Cgroup) -> Result<Gateway> {
        let options = Options::default().without_cert_cache().without_stdout().quiet().patience(START);
        let options = cgroup.directories().fold(options, Options::cgroup);
        let options = self.arguments.more.iter().fold(options, Options::argument);
        Gateway::start(&self.program, site.path(), &options).await
    }

    fn attacker(&self, setting: &Setting, gateway: &Gateway) -> Result<Conversation> {
        let arguments = attack::Arguments {
            case: setting.case,
            transport: setting.transport,
            https: gateway.address("external-https")?,
            http: gateway.address("external-http")?,
            source: (1..=self.arguments.sources).map(|number| Ipv4Addr::new(127, 9, 0, number)).collect(),
            reopen_rate: self.arguments.reopen_rate,
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ATTACKER).args(arguments.to_args());
        Conversation::start("attacker", command)
    }
}

/// Waits until the gateway is gone: a process that has ended has no memory to be read.
async fn until_ended(gateway: &Gateway) {
    while gateway.usage().is_ok() {
        sleep(Duration::from_millis(50)).await;
    }
}
