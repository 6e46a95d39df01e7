//! Asking a soak to end: the first time it ends in order and reports what it has, the second time it ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How often it was asked for by SIGINT, SIGTERM or SIGHUP.
#[derive(Debug)]
pub(crate) struct Stop(watch::Receiver<u32>);

impl Stop {
    /// Listens from now on.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        let (asking, asked) = watch::channel(0);
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        let [interrupt, terminate, hangup] = kinds;
        let signals = [interrupt?, terminate?, hangup?];
        tokio::spawn(count(signals, asking));
        Ok(Self(asked))
    }

    /// Returns when it was asked for, now or before.
    pub(crate) async fn asked(&self) {
        self.at_least(1).await;
    }

    /// Returns when nobody is to be waited for any more.
    pub(crate) async fn at_once(&self) {
        self.at_least(2).await;
    }

    async fn at_least(&self, times: u32) {
        if self.0.clone().wait_for(|asked| *asked >= times).await.is_err() {
            // Nobody listens any more: the runtime is at its end.
            std::future::pending::<()>().await;
        }
    }
}

async fn count([mut interrupt, mut terminate, mut hangup]: [Signal; 3], asking: watch::Sender<u32>) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        asking.send_modify(|asked| *asked = asked.saturating_add(1));
        if *asking.borrow() == 1 {
            eprintln!("\nending; once more to end at once");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn the_first_time_asks_and_the_second_time_is_at_once() {
        let (asking, asked) = watch::channel(0);
        let stop = Stop(asked);
        assert!(poll!(std::pin::pin!(stop.asked())).is_pending());
        asking.send_replace(1);
        stop.asked().await;
        assert!(poll!(std::pin::pin!(stop.at_once())).is_pending());
        asking.send_replace(2);
        stop.at_once().await;
    }
}
