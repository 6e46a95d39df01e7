//! Follows the source: translates what it yields and applies it, on a thread of its own.

use std::io;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use xds::Update;
use xds::discovery::Source;
use xds::translate::Translator;

use crate::allocator;
use crate::apply::Applier;
use crate::health::Health;

/// Updates that may wait to be applied. One is enough to keep both sides busy; more wait in the source, which coalesces
/// them by object and takes less memory for it.
const UPDATE_QUEUE: usize = 1;

/// Follows the source for as long as the process lives. The receiver turns true when the first complete snapshot is
/// applied.
///
/// It has a thread of its own: a large change does not hold up traffic, and the tables lie apart from what traffic
/// allocates. Tasks that it starts run on the runtime that this is called on.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn follow(
    source: impl Source + 'static,
    translator: Translator,
    applier: Applier,
    health: Health,
) -> io::Result<watch::Receiver<bool>> {
    let (updates, queue) = mpsc::channel(UPDATE_QUEUE);
    let (complete, is_complete) = watch::channel(false);
    let (alive, ended) = oneshot::channel::<()>();
    let runtime = Handle::current();
    thread::Builder::new().name("postern-config".to_owned()).spawn(move || {
        let _alive = alive;
        allocator::keep_for_long();
        runtime.block_on(async {
            tokio::join!(xds::discovery::run(source, translator, updates), apply(applier, queue, complete))
        });
    })?;
    tokio::spawn(async move {
        // It does not end while the process lives, but by a panic. What is applied goes on being served; a failed
        // liveness probe asks for a restart, which begins with a drain.
        let _ = ended.await;
        tracing::error!("the configuration is no longer followed; this process needs a restart");
        health.set_broken("configuration");
    });
    Ok(is_complete)
}

async fn apply(mut applier: Applier, mut queue: mpsc::Receiver<Update>, complete: watch::Sender<bool>) {
    while let Some(update) = queue.recv().await {
        let is_complete = update.complete;
        applier.apply(update);
        if is_complete {
            complete.send_replace(true);
        }
    }
}

/// Waits for the first complete snapshot; for ever if it can't come, which the liveness probe ends.
pub(super) async fn configured(mut is_complete: watch::Receiver<bool>) {
    if is_complete.wait_for(|complete| *complete).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use certstore::SecretRef;
    use xds::translate::Options;
    use xds::{Faults, ObjectEvent};

    use super::*;
    use crate::apply::SecretEvents;
    use crate::tables::Tables;

    #[derive(Debug)]
    struct Deaf;

    impl SecretEvents for Deaf {
        fn secret_changed(&self, _secret: &SecretRef, _version: &str) {}
        fn secret_removed(&self, _secret: &SecretRef) {}
    }

    /// Has said everything with its first batch; what it does next is told by a channel.
    struct Script(Option<Vec<ObjectEvent>>, oneshot::Receiver<()>);

    impl Source for Script {
        async fn next(&mut self) -> Vec<ObjectEvent> {
            if let Some(batch) = self.0.take() {
                return batch;
            }
            (&mut self.1).await.expect("the script goes on");
            Vec::new()
        }
    }

    #[tokio::test]
    async fn it_says_when_all_is_applied_and_a_panic_is_seen_by_the_liveness_probe() {
        let (script, next) = oneshot::channel();
        let source = Script(Some(vec![ObjectEvent::Synced]), next);
        let translator = Translator::new(Options::default(), Faults::default());
        let applier = Applier::new(Tables::default(), Arc::new(Deaf));
        let health = Health::default();
        configured(follow(source, translator, applier, health.clone()).expect("a thread can be started")).await;
        assert!(health.stuck_loops().is_empty());
        drop(script);
        while health.stuck_loops().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(health.stuck_loops(), ["configuration"]);
    }
}
