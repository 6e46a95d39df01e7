//! What happens when: made from the seed and the duration, and carried out on the cluster and the load.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use postern_tests::Result;
use postern_tests::cluster::ClusterProcess;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::arguments::{Arguments, Part};
use crate::order::{Order, Spell};
use crate::peer::Mirror;

mod schedule;

pub(crate) use schedule::{schedule, warm_up};

/// Certificates that are renewed by one command, so that a burst shows its progress.
const CHUNK: usize = 500;

/// Something that happens at a time after the start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) action: Action,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Certificates of services are renewed, as every day.
    Renew { first: usize, count: usize },
    /// Many are renewed, as fast as they can be.
    Burst { first: usize, count: usize },
    /// Services get other endpoints.
    Churn { first: usize, count: usize },
    /// The API server is silent in this way (`stalled`, `refusing`) for a while.
    Silence { how: &'static str, lasts: Duration },
    /// It answers again, after so long.
    Answer { after: Duration },
    /// Load that is there for a while only.
    Spell { what: Spell, lasts: Duration },
}

/// What has happened, for the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Happened {
    /// Seconds after the start.
    pub(crate) at: f64,
    /// Seconds.
    pub(crate) lasted: f64,
    pub(crate) what: String,
    /// How many certificates were renewed, if it was a burst.
    pub(crate) renewed: usize,
    /// Whether it was meant to do harm.
    pub(crate) attack: bool,
}

/// What carrying out the script has to say.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Something for the load.
    Tell(Order),
    /// Something for the report.
    Happened(Happened),
}

/// Carries a script out.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) cluster: ClusterProcess,
    pub(crate) backends: Vec<SocketAddr>,
    /// What is told to a peer, which follows no cluster.
    pub(crate) mirror: Option<Mirror>,
    pub(crate) began: Instant,
    /// Bounded: when nobody listens, the script waits.
    pub(crate) notices: mpsc::Sender<Notice>,
}

impl Player {
    /// Carries all events out, each at its time or as soon as those before it are done. Yields the cluster, which goes on.
    pub(crate) async fn play(mut self, events: Vec<Event>) -> Result<ClusterProcess> {
        for Event { at, action } in events {
            tokio::time::sleep_until(self.began + at).await;
            self.carry_out(action).await?;
        }
        Ok(self.cluster)
    }

    async fn carry_out(&mut self, action: Action) -> Result<()> {
        let at = self.began.elapsed();
        match action {
            Action::Renew { first, count } => self.renew(first, count).await?,
            Action::Burst { first, count } => {
                for chunk in (first..first + count).step_by(CHUNK) {
                    self.renew(chunk, CHUNK.min(first + count - chunk)).await?;
                }
                let took = self.began.elapsed().saturating_sub(at);
                self.happened(Happened { renewed: count, ..Happened::of(at, took, format!("{count} renewals")) })
                    .await?;
            }
            Action::Churn { first, count } => {
                self.backends.rotate_left(1);
                // The service keeps all backends but one, as when a pod has moved.
                let endpoints = self.backends.get(1..).unwrap_or_default();
                let command =
                    json!({"command": "change-endpoints", "first": first, "count": count, "endpoints": endpoints});
                self.cluster.tell(&command).await?;
                if let Some(mirror) = &self.mirror {
                    mirror.moved(first, count, endpoints);
                }
                self.happened(Happened::of(at, Duration::ZERO, format!("endpoints of {count} services"))).await?;
            }
            Action::Silence { how, lasts } => {
                self.tell(Order::Outage { silent: true, recovery_millis: 0 }).await?;
                self.cluster.tell(&json!({"command": "silence", "how": how})).await?;
                self.happened(Happened::of(at, lasts, format!("API {how}"))).await?;
            }
            Action::Answer { after } => {
                self.cluster.tell(&json!({"command": "silence", "how": "answering"})).await?;
                let recovery = recovery(after).as_millis().try_into()?;
                self.tell(Order::Outage { silent: false, recovery_millis: recovery }).await?;
            }
            Action::Spell { what, lasts } => {
                self.tell(Order::Begin { what, millis: lasts.as_millis().try_into()? }).await?;
                let happened = Happened::of(at, lasts, what.name().to_owned());
                self.happened(Happened { attack: what.is_attack(), ..happened }).await?;
            }
        }
        Ok(())
    }

    async fn renew(&mut self, first: usize, count: usize) -> Result<()> {
        let answer = self.cluster.tell(&json!({"command": "renew", "first": first, "count": count})).await?;
        if let Some(mirror) = &self.mirror {
            mirror.renewed(&mut self.cluster, first, count).await?;
        }
        let serials = answer["serials"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        self.tell(Order::Renewed { first, serials }).await
    }

    async fn tell(&self, order: Order) -> Result<()> {
        Ok(self.notices.send(Notice::Tell(order)).await?)
    }

    async fn happened(&self, happened: Happened) -> Result<()> {
        Ok(self.notices.send(Notice::Happened(happened)).await?)
    }
}

impl Happened {
    /// Something of this name.
    pub(crate) fn of(at: Duration, lasted: Duration, what: String) -> Self {
        Self { at: at.as_secs_f64(), lasted: lasted.as_secs_f64(), what, renewed: 0, attack: false }
    }
}

/// For so long after an outage the gateway may be behind: its retries are at most as far apart as the outage was long, and
/// never more than 30 seconds; and then it has to read.
fn recovery(outage: Duration) -> Duration {
    outage.min(Duration::from_secs(30)) + Duration::from_secs(5)
}
