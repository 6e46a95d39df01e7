//! Moving what is cached together: it is found all the while, and what changes meanwhile is as it was told.

mod common;

use std::sync::Arc;

use certstore::testing::{ScriptedSource, TestCa};
use certstore::{CertStore, SecretRef};
use common::NAME;

/// A store with so many Secrets cached.
async fn filled(count: usize) -> (Arc<CertStore>, Vec<SecretRef>) {
    let source = ScriptedSource::new();
    let content = TestCa::new().issue(&[NAME]);
    let secrets: Vec<_> = (0..count).map(|number| SecretRef::new("shop", format!("s{number:04}"))).collect();
    let store = CertStore::builder(source.clone()).budget(1 << 30).build();
    for secret in &secrets {
        source.put(secret, content.clone());
        store.certificate(secret, NAME).await.expect("it can be served");
    }
    (store, secrets)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_moved_together_is_found_all_the_while_and_then_another_one() {
    let (store, secrets) = filled(200).await;
    let before: Vec<_> = secrets.iter().map(|secret| store.cached(secret).expect("it is cached")).collect();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (store, secrets) = (Arc::clone(&store), secrets.clone());
            tokio::spawn(async move {
                for secret in secrets.iter().cycle().take(20_000) {
                    assert!(store.cached(secret).is_some(), "{secret} is not found");
                }
            })
        })
        .collect();
    let gathering = {
        let store = Arc::clone(&store);
        std::thread::spawn(move || store.gather(|| true))
    };
    assert_eq!(gathering.join().expect("it does not panic"), 200);
    for reader in readers {
        reader.await.expect("no reader missed");
    }
    let stats = store.stats();
    assert_eq!((stats.entries, stats.evictions), (200, 0));
    for (secret, old) in secrets.iter().zip(&before) {
        let new = store.cached(secret).expect("it is cached");
        assert!(!Arc::ptr_eq(&new, old) && new.bytes() == old.bytes());
        assert_eq!(new.certified_key().cert, old.certified_key().cert);
        assert!(new.certified_key().keys_match().is_ok());
    }
    drop(before);
    common::eventually("nothing is there twice", || store.stats().held_bytes == store.stats().bytes).await;
}

#[tokio::test]
async fn what_is_removed_or_renewed_while_all_is_moved_does_not_come_back() {
    let (store, secrets) = filled(100).await;
    let mut questions = 0;
    let moved = store.gather(|| {
        questions += 1;
        if questions == 2 {
            for secret in &secrets {
                store.secret_removed(secret);
            }
        }
        true
    });
    assert!(moved > 0 && moved < 100, "{moved}");
    assert!(secrets.iter().all(|secret| store.cached(secret).is_none()));
    assert_eq!((store.stats().entries, store.stats().bytes), (0, 0));
    common::eventually("nothing is held", || store.stats().held_bytes == 0).await;
    assert_eq!(store.gather(|| true), 0);
}

#[tokio::test]
async fn moving_ends_when_it_is_told_to() {
    let (store, _) = filled(100).await;
    let mut questions = 0;
    let moved = store.gather(|| {
        questions += 1;
        questions < 2
    });
    assert_eq!((moved, store.stats().entries), (32, 100));
}
