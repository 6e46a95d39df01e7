//! Clients that ask again and again, and what they were answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_tests::client::{Call, Connection, Reply, TlsClient};
use postern_tests::gateway::Gateway;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// What a client leaves between an answer and its next request, so that it is not the machine that is tested.
const PAUSE: Duration = Duration::from_millis(4);

/// How many failures are kept word by word.
const KEPT: usize = 10;

/// Clients under way; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    ends: CancellationToken,
    clients: JoinSet<()>,
    tallies: Vec<Arc<Tally>>,
}

/// How a client keeps its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It keeps one for as long as the gateway does.
    KeepAlive,
    /// It makes a new one for each request.
    ConnectAnew,
}

/// What one client was answered.
#[derive(Debug, Default)]
struct Tally {
    answers: AtomicU64,
    backends: Mutex<BTreeMap<String, u64>>,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Starts a client for each of these.
    pub(crate) fn start(world: &World, calls: impl IntoIterator<Item = (Call, Habit)>) -> Self {
        let ends = CancellationToken::new();
        let mut clients = JoinSet::new();
        let mut tallies = Vec::new();
        for (call, habit) in calls {
            let tally = Arc::new(Tally::default());
            tallies.push(Arc::clone(&tally));
            let client = Client { gateway: Arc::clone(&world.gateway), tls: world.tls.clone(), call, habit, tally };
            clients.spawn(client.run(ends.clone()));
        }
        Self { ends, clients, tallies }
    }

    /// Waits until each client has been answered so many requests more that it makes from now on.
    pub(crate) async fn goes_on(&self, answers: u64) -> Result<()> {
        // One may be under way already.
        let wanted: Vec<u64> = self.tallies.iter().map(|tally| tally.answers() + answers + 1).collect();
        eventually("the load goes on", async || {
            let behind = self.tallies.iter().zip(&wanted).filter(|(tally, wanted)| tally.answers() < **wanted).count();
            ensure(behind == 0, || format!("{behind} clients wait; failures: {:?}", self.failures()))
        })
        .await
    }

    /// How many requests each backend has answered.
    pub(crate) fn by_backend(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for tally in &self.tallies {
            for (backend, count) in tally.backends.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                *sums.entry(backend.clone()).or_default() += count;
            }
        }
        sums
    }

    /// What was not answered as it should.
    pub(crate) fn failures(&self) -> Vec<String> {
        let of = |tally: &Arc<Tally>| tally.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.tallies.iter().flat_map(of).collect()
    }

    /// Lets every client end its last request. An error if any request failed.
    pub(crate) async fn end(mut self) -> Result<BTreeMap<String, u64>> {
        self.ends.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended?;
        }
        let (failures, answers) = (self.failures(), self.by_backend());
        ensure(failures.is_empty(), || format!("besides {answers:?}: {failures:#?}"))?;
        Ok(answers)
    }
}

impl Tally {
    fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }

    fn record(&self, answer: Result<Reply>) {
        let failure = match answer {
            Ok(reply) if reply.status == 200 => {
                let backend = reply.header("x-backend").unwrap_or_default().to_owned();
                *self.backends.lock().unwrap_or_else(PoisonError::into_inner).entry(backend).or_default() += 1;
                None
            }
            Ok(reply) => Some(format!("answered {}: {}", reply.status, reply.text())),
            Err(error) => Some(error.to_string()),
        };
        if let Some(failure) = failure {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            if failures.len() < KEPT {
                failures.push(failure);
            }
        }
        self.answers.fetch_add(1, Ordering::SeqCst);
    }
}

/// One client.
struct Client {
    gateway: Arc<Gateway>,
    tls: TlsClient,
    call: Call,
    habit: Habit,
    tally: Arc<Tally>,
}

impl Client {
    async fn run(self, ends: CancellationToken) {
        let mut connection = None;
        while !ends.is_cancelled() {
            let answer = self.ask(&mut connection).await;
            if answer.is_err() || self.habit == Habit::ConnectAnew {
                connection = None;
            }
            let answer = answer.map_err(|error| format!("{:?}: {error}", self.call).into());
            self.tally.record(answer);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask(&self, connection: &mut Option<Connection>) -> Result<Reply> {
        let mut open = match connection.take().filter(Connection::is_open) {
            Some(open) => open,
            None => self.call.connect(&self.gateway, &self.tls).await?,
        };
        let reply = Reply::read(open.send(&self.call).await?).await;
        *connection = Some(open);
        reply
    }
}
