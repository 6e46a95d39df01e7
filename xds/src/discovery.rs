//! Discovery: carries what a source yields through the translator to whoever applies it.

use std::future::{self, Future};

use tokio::sync::mpsc;

use crate::object::ObjectEvent;
use crate::resource::Update;
use crate::source::dir::DirSource;
use crate::translate::Translator;

/// Something that yields objects as they change.
pub trait Source: Send {
    /// The next changes, in batches of bounded size. Waits if there are none. Cancel-safe: an event is either returned
    /// or yielded again.
    fn next(&mut self) -> impl Future<Output = Vec<ObjectEvent>> + Send;
}

impl Source for DirSource {
    async fn next(&mut self) -> Vec<ObjectEvent> {
        Self::next(self).await
    }
}

/// Runs until the receiver of `updates` is gone. Meanwhile the translator's questions about status are answered.
///
/// While the receiver is busy, nothing is taken from the source, which meanwhile coalesces changes of the same object:
/// what piles up is bounded by what differs. Dropping the future loses at most what the receiver has not got yet.
pub async fn run(mut source: impl Source, mut translator: Translator, updates: mpsc::Sender<Update>) {
    let (mut asks, mut judged) = (translator.take_asks(), translator.take_judgements());
    loop {
        let slot = tokio::select! {
            slot = updates.reserve() => slot,
            ask = next(&mut asks) => {
                translator.answer(ask);
                continue;
            }
        };
        let Ok(slot) = slot else { return };
        tokio::select! {
            update = next_update(&mut source, &mut translator) => slot.send(update),
            ask = next(&mut asks) => translator.answer(ask),
            secret = next(&mut judged) => {
                translator.judge(secret);
                if let Some(update) = translator.flush() {
                    slot.send(update);
                }
            }
            () = updates.closed() => return,
        }
    }
}

async fn next<T>(receiver: &mut Option<mpsc::Receiver<T>>) -> T {
    if let Some(open) = receiver
        && let Some(next) = open.recv().await
    {
        return next;
    }
    // Nobody sends, or nobody does any more.
    *receiver = None;
    future::pending().await
}

async fn next_update(source: &mut impl Source, translator: &mut Translator) -> Update {
    loop {
        for event in source.next().await {
            translator.accept(event);
        }
        if let Some(update) = translator.flush() {
            return update;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::fault::Faults;
    use crate::object::{Object, ObjectRef, SecretMeta};
    use crate::translate::Options;

    struct Script(VecDeque<Vec<ObjectEvent>>);

    impl Source for Script {
        async fn next(&mut self) -> Vec<ObjectEvent> {
            match self.0.pop_front() {
                Some(events) => events,
                None => future::pending().await,
            }
        }
    }

    fn secret(version: &str) -> ObjectEvent {
        let object = ObjectRef::new("shop", "cert");
        ObjectEvent::Applied(Object::Secret(SecretMeta { object, secret_type: None, version: version.into() }))
    }

    #[tokio::test]
    async fn batches_become_updates_in_order_and_the_last_snapshot_is_complete() {
        let script = Script([vec![secret("1")], vec![], vec![secret("2"), ObjectEvent::Synced]].into());
        let (sender, mut receiver) = mpsc::channel(1);
        let running = tokio::spawn(run(script, Translator::new(Options::default(), Faults::default()), sender));
        let first = receiver.recv().await.expect("the first batch has content");
        let second = receiver.recv().await.expect("the third batch has content");
        assert_eq!((first.version, first.complete), (1, false));
        assert_eq!((second.version, second.complete), (2, true));
        drop(receiver);
        running.await.expect("it ends when nobody listens");
    }
}
