//! Times at which the API server doesn't answer at all.

use serde::Deserialize;
use tokio::sync::watch;

/// In which way the server is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Silence {
    /// It isn't.
    #[default]
    Answering,
    /// Connections are accepted, requests never answered, watches send nothing.
    Stalled,
    /// Connections are closed, new ones refused.
    Refusing,
}

/// Whether the server is silent.
#[derive(Debug, Default)]
pub(super) struct State(watch::Sender<Silence>);

impl State {
    pub(super) fn set(&self, silence: Silence) {
        self.0.send_replace(silence);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Silence> {
        self.0.subscribe()
    }

    /// Waits until the server answers.
    pub(super) async fn answering(&self) {
        let mut silence = self.0.subscribe();
        // The sender is borrowed, so it is there.
        let _there = silence.wait_for(|silence| *silence == Silence::Answering).await;
    }
}
