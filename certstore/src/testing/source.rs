//! A source of Secrets that does as it is told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::ca::TestSecret;
use crate::secret::{SecretData, SecretRef};
use crate::source::{SecretSource, SourceError};

/// Scripted answers for one Secret; a script that is longer is a mistake in a test.
const MAX_ANSWERS: usize = 1000;

/// What a load is answered with.
#[derive(Debug)]
pub struct Answer {
    result: Result<TestSecret, SourceError>,
    delay: Duration,
    gate: Option<Arc<Gate>>,
}

impl Answer {
    /// This Secret.
    pub fn secret(secret: &TestSecret) -> Self {
        Self { result: Ok(secret.clone()), delay: Duration::ZERO, gate: None }
    }

    /// This error.
    pub fn error(error: SourceError) -> Self {
        Self { result: Err(error), delay: Duration::ZERO, gate: None }
    }

    /// An error of the kind that passes.
    pub fn unavailable() -> Self {
        Self::error(SourceError::Unavailable { source: "scripted outage".into() })
    }

    /// The same, after a time.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same, when `gate` opens. What is answered is settled before.
    #[must_use]
    pub fn behind(mut self, gate: &Arc<Gate>) -> Self {
        self.gate = Some(Arc::clone(gate));
        self
    }
}

/// Holds loads back until a test lets them go.
#[derive(Debug)]
pub struct Gate {
    arrived: Semaphore,
    passes: Semaphore,
}

impl Gate {
    /// A gate that is closed.
    pub fn closed() -> Arc<Self> {
        Arc::new(Self { arrived: Semaphore::new(0), passes: Semaphore::new(0) })
    }

    /// Waits until one more load stands before the gate.
    ///
    /// # Panics
    /// Never: the semaphore isn't closed.
    pub async fn arrival(&self) {
        self.arrived.acquire().await.expect("a gate's semaphores are never closed").forget();
    }

    /// Lets `loads` pass.
    pub fn open_for(&self, loads: usize) {
        self.passes.add_permits(loads);
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.passes.acquire().await.expect("a gate's semaphores are never closed").forget();
    }
}

/// A [`SecretSource`] that answers as scripted, and else with what was put there.
#[derive(Debug, Default)]
pub struct ScriptedSource {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    contents: HashMap<SecretRef, TestSecret>,
    scripts: HashMap<SecretRef, VecDeque<Answer>>,
    loads: HashMap<SecretRef, usize>,
    at_once: usize,
    most_at_once: usize,
}

impl ScriptedSource {
    /// A source without any Secret.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on this is what the Secret holds.
    pub fn put(&self, secret: &SecretRef, content: TestSecret) {
        self.state().contents.insert(secret.clone(), content);
    }

    /// From now on there is no such Secret.
    pub fn remove(&self, secret: &SecretRef) {
        self.state().contents.remove(secret);
    }

    /// Forgets all about the Secret, also that it was loaded.
    pub fn forget(&self, secret: &SecretRef) {
        let mut state = self.state();
        state.contents.remove(secret);
        state.scripts.remove(secret);
        state.loads.remove(secret);
    }

    /// Answers one load of the Secret with `answer`, after those that were scripted before.
    ///
    /// # Panics
    /// When the script is too long.
    pub fn script(&self, secret: &SecretRef, answer: Answer) {
        let mut state = self.state();
        let script = state.scripts.entry(secret.clone()).or_default();
        assert!(script.len() < MAX_ANSWERS, "the script for {secret} is longer than {MAX_ANSWERS} answers");
        script.push_back(answer);
    }

    /// Loads of the Secret so far.
    pub fn loads_of(&self, secret: &SecretRef) -> usize {
        self.state().loads.get(secret).copied().unwrap_or(0)
    }

    /// All loads so far.
    pub fn loads(&self) -> usize {
        self.state().loads.values().sum()
    }

    /// The most loads that were under way at a time.
    pub fn most_at_once(&self) -> usize {
        self.state().most_at_once
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SecretSource for ScriptedSource {
    fn load<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<SecretData, SourceError>> {
        async move {
            let (answer, _underway) = self.state().begin(self, secret);
            if !answer.delay.is_zero() {
                tokio::time::sleep(answer.delay).await;
            }
            if let Some(gate) = &answer.gate {
                gate.pass().await;
            }
            answer.result.map(|content| content.data())
        }
        .boxed()
    }
}

impl State {
    fn begin<'a>(&mut self, source: &'a ScriptedSource, secret: &SecretRef) -> (Answer, Underway<'a>) {
        *self.loads.entry(secret.clone()).or_default() += 1;
        self.at_once += 1;
        self.most_at_once = self.most_at_once.max(self.at_once);
        let scripted = self.scripts.get_mut(secret).and_then(VecDeque::pop_front);
        let answer = scripted.unwrap_or_else(|| match self.contents.get(secret) {
            Some(content) => Answer::secret(content),
            None => Answer::error(SourceError::NotFound),
        });
        (answer, Underway(source))
    }
}

/// Counts a load as under way, also when it is dropped halfway.
struct Underway<'a>(&'a ScriptedSource);

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.state().at_once -= 1;
    }
}
