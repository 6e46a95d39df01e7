//! Writes what differs, while this gateway may.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::condition::Verdict;
use super::denials::{Denials, Resource};
use super::desk::{Desk, Probe, Task, Written};
use super::lease::Leadership;
use super::metrics::{self, What};
use super::probe::Prober;
use super::published::{Balancers, FINALIZER, Published};
use super::queue::{InHand, Outcome};
use super::wire::{self, Api};
use crate::object::{ObjectKey, ObjectKind};
use crate::source::api::request::Failure;
use crate::source::api::{Rate, coordinates, object_path};

/// Objects in hand at a time.
const JOBS: usize = 16;

/// An Update is applied within this, or the object comes again.
const APPLIED_WITHIN: Duration = Duration::from_secs(2);

/// How soon something that may not be written is tried again.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// What all writes share.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) api: Api,
    pub(super) desk: Desk,
    pub(super) rate: Rate,
    pub(super) prober: Prober,
    pub(super) balancers: Arc<Balancers>,
    pub(super) leadership: Leadership,
    /// The version that was applied last here.
    pub(super) applied: watch::Receiver<u64>,
    pub(super) denials: Denials,
}

/// An object in hand, with what is to be written about it.
#[derive(Debug)]
struct Job {
    task: Task,
    in_hand: InHand,
}

impl Writer {
    /// Runs until dropped; writes while it may.
    pub(super) async fn run(self: Arc<Self>) {
        let mut leadership = self.leadership.clone();
        loop {
            leadership.gained().await;
            tokio::select! {
                () = leadership.lost() => {}
                () = self.write_all() => {}
            }
            self.denials.end_all();
        }
    }

    /// Dropped, it gives up what is under way; the objects come back.
    async fn write_all(self: &Arc<Self>) {
        let mut jobs = JoinSet::new();
        loop {
            tokio::select! {
                in_hand = self.desk.queue.take(), if jobs.len() < JOBS => {
                    jobs.spawn(Arc::clone(self).work(in_hand));
                }
                Some(_ended) = jobs.join_next() => {}
            }
        }
    }

    async fn work(self: Arc<Self>, mut in_hand: InHand) {
        let described = self.desk.describe(vec![in_hand.id()]).await;
        let outcome = match described.into_iter().next() {
            // Nobody translates any more.
            None => Outcome::Failed(None),
            Some(None) => Outcome::Settled,
            Some(Some(task)) => {
                in_hand.tries(task.wanted.print);
                let mut job = Job { task, in_hand };
                let outcome = self.write(&mut job).await;
                return job.in_hand.end(outcome);
            }
        };
        in_hand.end(outcome);
    }

    async fn write(&self, job: &mut Job) -> Outcome {
        if job.task.wanted.removes_finalizer {
            let resource = resource(job.task.key.kind, "ingresses");
            match self.remove_finalizer(job).await {
                Ok(()) => self.denials.end(resource),
                Err(failure) => return self.failed(&job.task.key, "patch", resource, &failure),
            }
        }
        match job.task.wanted.status.clone() {
            None => Outcome::Written,
            Some(Written::Ingress(addresses)) => {
                let patch = wire::ingress_status(&addresses);
                self.write_status(job, What::IngressStatus, &patch).await
            }
            Some(Written::KIngress { verdict, published, probe }) => {
                self.write_kingress(job, &verdict, published, probe.as_ref()).await
            }
        }
    }

    /// `Ready` is said once the object is in effect here and at every other gateway; that it is waited for, meanwhile.
    async fn write_kingress(
        &self,
        job: &mut Job,
        verdict: &Verdict,
        published: Published,
        probe: Option<&Probe>,
    ) -> Outcome {
        let mut applied = self.applied.clone();
        if timeout(APPLIED_WITHIN, applied.wait_for(|applied| *applied >= job.task.version)).await.is_err() {
            return Outcome::Failed(None);
        }
        let confirmed = match probe {
            Some(probe) => {
                let confirmed = self.prober.confirm(probe).await;
                confirmed.inspect(|_| self.denials.end(ENDPOINT_SLICES))
            }
            None => Ok(true),
        };
        match confirmed {
            Ok(true) => self.write_verdict(job, verdict, published).await,
            Ok(false) => {
                if Verdict::Waiting.print(&self.balancers) != published.print() {
                    self.write_verdict(job, &Verdict::Waiting, published).await;
                }
                Outcome::Failed(None)
            }
            Err(failure) => self.failed(&job.task.key, "list", ENDPOINT_SLICES, &failure),
        }
    }

    async fn write_verdict(&self, job: &mut Job, verdict: &Verdict, published: Published) -> Outcome {
        let patch = wire::kingress_status(verdict, published, &self.balancers, Timestamp::now());
        let outcome = self.write_status(job, What::KIngressStatus, &patch).await;
        tracing::debug!(object = %job.task.key, status = verdict.as_str(), ?outcome, "wrote status");
        outcome
    }

    async fn write_status(&self, job: &mut Job, what: What, patch: &serde_json::Value) -> Outcome {
        let key = job.task.key.clone();
        let resource = resource(key.kind, "ingresses/status");
        match self.patch(job, &format!("{}/status", object_path(&key)), what, patch).await {
            Ok(()) => {
                self.denials.end(resource);
                Outcome::Written
            }
            Err(failure) => self.failed(&key, "patch", resource, &failure),
        }
    }

    /// The list of finalizers is replaced as a whole, so it is read first, and written only over what was read.
    async fn remove_finalizer(&self, job: &mut Job) -> Result<(), Failure> {
        let path = object_path(&job.task.key);
        self.rate.take().await;
        let Object { metadata } = self.api.metadata(&path).await?;
        let mut finalizers = metadata.finalizers;
        let before = finalizers.len();
        finalizers.retain(|name| name != FINALIZER);
        if finalizers.len() == before {
            return Ok(());
        }
        let change = json!({"metadata": {"finalizers": finalizers, "resourceVersion": metadata.resource_version}});
        self.patch(job, &path, What::Finalizer, &change).await
    }

    /// Sends a patch, if it still may when it is its turn.
    async fn patch(&self, job: &mut Job, path: &str, what: What, change: &serde_json::Value) -> Result<(), Failure> {
        self.rate.take().await;
        if !self.leadership.is_held() {
            return Err(Failure::Unreachable { reason: "the lease is not held any more".to_owned() });
        }
        job.in_hand.sends();
        let result = self.api.patch(path, change).await;
        metrics::wrote(what, result.as_ref().err().map_or("ok", Failure::reason));
        result
    }

    fn failed(&self, key: &ObjectKey, verb: &str, resource: Resource, failure: &Failure) -> Outcome {
        tracing::debug!(object = %key, error = %failure, "status could not be written; it is tried again");
        if failure.code() == Some(403) {
            let has_lasted = self.denials.report(verb, resource);
            return Outcome::Failed(has_lasted.then_some(FORBIDDEN));
        }
        if verb == "patch" && matches!(failure, Failure::Stalled { .. } | Failure::Broken { .. }) {
            return Outcome::Unknown;
        }
        if let Some(wait) = failure.retry_after() {
            self.rate.pause_until(Instant::now() + wait);
        }
        Outcome::Failed(failure.retry_after())
    }
}

/// The gateways are found by these.
const ENDPOINT_SLICES: Resource = Resource { group: "discovery.k8s.io", name: "endpointslices" };

fn resource(kind: ObjectKind, name: &'static str) -> Resource {
    Resource { group: coordinates(kind).group, name }
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
    #[serde(default)]
    finalizers: Vec<String>,
}
