//! Between the translator, which knows, and the writer, which asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::condition::Verdict;
use super::publication::Address;
use super::published::{Balancers, Print, Published};
use super::queue::{Id, Queue};
use crate::object::ObjectKey;

/// Questions that may wait; there is one writer.
const ASKS: usize = 4;

/// What the translator is asked or told.
#[derive(Debug)]
pub(crate) enum Ask {
    /// What is to be written about these?
    Describe(Vec<Id>, oneshot::Sender<Vec<Option<Task>>>),
    /// From now on Ingresses are reached at these addresses.
    Publish(Arc<[Address]>),
}

/// What the translator needs to tell which status differs.
#[derive(Debug)]
pub struct Hook {
    pub(crate) queue: Arc<Queue>,
    pub(crate) balancers: Arc<Balancers>,
    pub(crate) addresses: Option<Arc<[Address]>>,
    pub(crate) asks: Option<mpsc::Receiver<Ask>>,
}

/// What is to be written about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) key: ObjectKey,
    /// The Update that must be applied first.
    pub(crate) version: u64,
    pub(crate) wanted: Wanted,
}

/// How an object should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The finalizer that earlier versions of Postern wrote is to go.
    pub(crate) removes_finalizer: bool,
    pub(crate) status: Option<Written>,
    /// The fingerprint of that status.
    pub(crate) print: Print,
}

/// Time that a failure must hold before it is written. The objects of a service arrive by several watches, which keep no
/// order among each other.
const SETTLE: Duration = Duration::from_secs(1);

impl Wanted {
    /// How long it is held back.
    pub(crate) fn pause(&self) -> Duration {
        match &self.status {
            Some(Written::KIngress { verdict: Verdict::Failed(_), .. }) => SETTLE,
            _ => Duration::ZERO,
        }
    }
}

/// A status that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Of a KIngress.
    KIngress {
        verdict: Verdict,
        /// What there is now.
        published: Published,
        /// How the other gateways are asked before it is said.
        probe: Option<Probe>,
    },
    /// Of an Ingress.
    Ingress(Arc<[Address]>),
}

/// How another gateway is asked whether it serves an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) hash: [u8; 32],
}

/// The writer's end.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) queue: Arc<Queue>,
    asks: mpsc::Sender<Ask>,
}

impl Desk {
    /// Both ends.
    pub(crate) fn new(balancers: Arc<Balancers>) -> (Self, Hook) {
        let (sender, asks) = mpsc::channel(ASKS);
        let queue = Arc::new(Queue::default());
        let hook = Hook { queue: Arc::clone(&queue), balancers, addresses: None, asks: Some(asks) };
        (Self { queue, asks: sender }, hook)
    }

    /// What is to be written about these; `None` for what needs nothing. Empty if nobody translates any more.
    pub(crate) async fn describe(&self, ids: Vec<Id>) -> Vec<Option<Task>> {
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Ask::Describe(ids, reply)).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    /// Says where Ingresses are reached.
    pub(crate) async fn publish(&self, addresses: Arc<[Address]>) {
        // Nobody translates any more: then nothing is written either.
        let _ = self.asks.send(Ask::Publish(addresses)).await;
    }
}
