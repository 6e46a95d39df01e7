//! Who writes: the holder of a Lease (coordination.k8s.io/v1), as client-go elects leaders.
//!
//! Only clocks that run evenly are compared, never those of two machines: a Lease has expired when it has not changed,
//! as seen from here, for as long as it says. The holder stops earlier than that, so that two never write at a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::metrics;
use super::wire::Api;
use crate::object::ObjectRef;
use crate::source::api::request::Failure;
use crate::source::api::{Verb, jittered};

mod record;

use record::{Record, Spec};

/// A release is given up after this.
const RELEASE: Duration = Duration::from_secs(2);

/// How a Lease is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// The Lease's name.
    pub name: String,
    /// How long others wait after the last renewal that they have seen. Default: 15 s.
    pub duration: Duration,
    /// The holder stops to write when it has not renewed for this long. Default: 10 s.
    pub renew_deadline: Duration,
    /// How often it is renewed, or tried for. Default: 2 s.
    pub retry_period: Duration,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        let [duration, renew_deadline, retry_period] = [15, 10, 2].map(Duration::from_secs);
        Self { name: "postern".to_owned(), duration, renew_deadline, retry_period }
    }
}

/// Whether this process may write at present.
#[derive(Clone, Debug)]
pub(super) struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// True while it may.
    pub(super) fn is_held(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until it may; for ever when nobody tries any more.
    pub(super) async fn gained(&mut self) {
        if self.0.wait_for(|until| until.is_some_and(|until| Instant::now() < until)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it may not.
    pub(super) async fn lost(&mut self) {
        loop {
            let Some(until) = *self.0.borrow_and_update() else { return };
            tokio::select! {
                () = sleep_until(until) => if !self.is_held() { return },
                changed = self.0.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Tries to hold a Lease.
pub(super) struct Elector {
    api: Api,
    lease: ObjectRef,
    identity: Arc<str>,
    options: LeaseOptions,
    /// The Lease as last seen, and when it was first seen so.
    seen: Option<(Record, Instant)>,
    held: watch::Sender<Option<Instant>>,
}

impl fmt::Debug for Elector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elector").field("lease", &self.lease).field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Elector {
    /// One that holds nothing yet, and who wants to know whether it does.
    pub(super) fn new(
        client: kube::Client,
        namespace: &str,
        identity: Arc<str>,
        options: LeaseOptions,
    ) -> (Self, Leadership) {
        let (held, leadership) = watch::channel(None);
        let lease = ObjectRef::new(namespace, options.name.as_str());
        // Two answers that do not come still leave time for a third before the deadline.
        let api = Api::new(client, (options.renew_deadline / 3).max(Duration::from_millis(100)));
        (Self { api, lease, identity, options, seen: None, held }, Leadership(leadership))
    }

    /// Holds the Lease whenever it can, until told to stop; then gives it up, so that others need not wait.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        metrics::is_leader(false);
        loop {
            tokio::select! {
                () = &mut stop => break,
                pause = self.turn() => tokio::select! {
                    () = &mut stop => break,
                    () = sleep(pause) => {}
                },
            }
        }
        let was_held = self.held.send_replace(None).is_some();
        metrics::is_leader(false);
        if was_held && tokio::time::timeout(RELEASE, self.release()).await.is_err() {
            tracing::warn!(lease = %self.lease, "the lease could not be given up in time; it expires by itself");
        }
    }

    /// Tries once. Returns when to try again.
    async fn turn(&mut self) -> Duration {
        let begun = Instant::now();
        let result = self.hold().await;
        let was_held = self.held.borrow().is_some();
        let until = match &result {
            Ok(true) => Some(begun + self.options.renew_deadline),
            Ok(false) => None,
            Err(_) => self.held.borrow().filter(|until| Instant::now() < *until),
        };
        if until.is_some() != was_held {
            self.say(until.is_some(), result.err());
        }
        self.held.send_replace(until);
        if until.is_some() { self.options.retry_period } else { jittered(self.options.retry_period * 2) }
    }

    fn say(&self, is_held: bool, failure: Option<Failure>) {
        metrics::is_leader(is_held);
        let (lease, identity) = (&self.lease, &self.identity);
        match (is_held, failure) {
            (true, _) => tracing::info!(%lease, %identity, "this gateway writes status from now on"),
            (false, None) => tracing::info!(%lease, %identity, "another gateway writes status"),
            (false, Some(error)) => {
                tracing::warn!(%lease, %identity, %error, "the lease was not renewed in time; status is not written");
            }
        }
    }

    /// Takes or renews the Lease. False if somebody else has it.
    async fn hold(&mut self) -> Result<bool, Failure> {
        if self.held.borrow().is_none() || self.seen.is_none() {
            let found = self.api.get(Verb::Get, &self.path()).await;
            match found {
                Ok(record) => self.see(record),
                Err(failure) if failure.code() == Some(404) => return self.create().await,
                Err(failure) => return Err(failure),
            }
        }
        let Some((record, since)) = &self.seen else { return Ok(false) };
        if !record.spec.is_free(&self.identity, since.elapsed()) {
            return Ok(false);
        }
        let spec = record.spec.taken_by(&self.identity, self.options.duration, Timestamp::now());
        self.replace(spec).await
    }

    async fn create(&mut self) -> Result<bool, Failure> {
        let spec = Spec::default().taken_by(&self.identity, self.options.duration, Timestamp::now());
        let collection = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.lease.namespace);
        let object = spec.object(&self.lease, None);
        self.written(self.api.put(Verb::Create, &collection, &object).await)
    }

    /// Replaces the Lease, if it is as it was seen.
    async fn replace(&mut self, spec: Spec) -> Result<bool, Failure> {
        let version = self.seen.as_ref().map(|(record, _)| record.metadata.resource_version.clone());
        let object = spec.object(&self.lease, version.as_deref());
        self.written(self.api.put(Verb::Update, &self.path(), &object).await)
    }

    /// Somebody else was faster where there is a conflict.
    fn written(&mut self, result: Result<Record, Failure>) -> Result<bool, Failure> {
        match result {
            Ok(record) => {
                self.see(record);
                Ok(true)
            }
            Err(failure) => {
                // Whether it was written is not known: it is read before the next attempt.
                self.seen.take_if(|_| failure.code() == Some(409) || failure.code().is_none());
                if failure.code() == Some(409) { Ok(false) } else { Err(failure) }
            }
        }
    }

    fn see(&mut self, record: Record) {
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != record) {
            self.seen = Some((record, Instant::now()));
        }
    }

    async fn release(&mut self) {
        let record: Result<Record, _> = self.api.get(Verb::Get, &self.path()).await;
        let Ok(record) = record else { return };
        if record.spec.holder_identity.as_deref() != Some(&*self.identity) {
            return;
        }
        let spec = record.spec.released(Timestamp::now());
        self.see(record);
        match self.replace(spec).await {
            Ok(_) => tracing::info!(lease = %self.lease, "gave up the lease"),
            Err(error) => {
                tracing::warn!(lease = %self.lease, %error, "the lease was not given up; it expires by itself");
            }
        }
    }

    fn path(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}", self.lease.namespace, self.lease.name)
    }
}

#[cfg(test)]
mod tests;
