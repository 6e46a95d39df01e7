//! A budget that changes under load: hits go on, the hottest stay and are known as such, and no more is held than may be.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use certstore::testing::{ScriptedSource, TestCa};
use certstore::{CertStore, SecretRef};
use common::NAME;

/// A store with so many Secrets cached, all of one weight, which is returned too.
async fn filled(count: usize) -> (Arc<CertStore>, Vec<SecretRef>, u64) {
    let source = ScriptedSource::new();
    let content = TestCa::new().issue(&[NAME]);
    let secrets: Vec<_> = (0..count).map(|number| SecretRef::new("shop", format!("s{number:04}"))).collect();
    let store = CertStore::builder(source.clone()).budget(1 << 30).build();
    let mut each = 0;
    for secret in &secrets {
        source.put(secret, content.clone());
        each = store.certificate(secret, NAME).await.expect("it can be served").bytes();
    }
    (store, secrets, each)
}

/// A budget with room for so many: an eighth is headroom.
fn room_for(count: u64, each: u64) -> u64 {
    each * (2 * count + 1) / 2 * 8 / 7 + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hits_go_on_while_the_budget_goes_up_and_down_and_no_more_is_held_than_may_be() {
    let (store, secrets, each) = filled(300).await;
    let done = Arc::new(AtomicBool::new(false));
    let hot: Vec<_> = secrets[..20].to_vec();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, done, hot) = (Arc::clone(&store), Arc::clone(&done), hot.clone());
            tokio::spawn(async move {
                let mut found = 0_u64;
                while !done.load(Relaxed) {
                    for secret in &hot {
                        assert!(store.cached(secret).is_some(), "{secret} is not found");
                        found += 1;
                    }
                    tokio::task::yield_now().await;
                }
                found
            })
        })
        .collect();
    for count in [300, 60, 200, 60, 100].into_iter().cycle().take(50) {
        // The hot ones are the ones used last, by a clock that counts milliseconds.
        tokio::time::sleep(Duration::from_millis(3)).await;
        for secret in &hot {
            store.cached(secret);
        }
        let budget = room_for(count, each);
        store.set_budget(budget);
        let stats = store.stats();
        assert!(stats.bytes <= budget, "{stats:?}");
        // Where there is room for all, they come back; elsewhere moka would decide which of them may.
        for secret in secrets.iter().filter(|_| count == 300) {
            store.certificate(secret, NAME).await.expect("it can be served");
            assert!(store.stats().bytes <= budget);
        }
    }
    done.store(true, Relaxed);
    for reader in readers {
        assert!(reader.await.expect("no reader missed") > 0);
    }
}

#[tokio::test]
async fn a_larger_budget_drops_nothing_at_all() {
    let (store, secrets, each) = filled(100).await;
    for count in [101, 150, 1000, 10_000] {
        store.set_budget(room_for(count, each));
        assert!(secrets.iter().all(|secret| store.cached(secret).is_some()), "room for {count}");
    }
    assert_eq!(store.stats().evictions, 0);
}

#[tokio::test]
async fn after_a_change_the_hottest_are_still_known_as_such() {
    let (store, secrets, each) = filled(100).await;
    let hot = &secrets[..10];
    for _ in 0..20 {
        for secret in hot {
            store.certificate(secret, NAME).await.expect("it is cached");
        }
    }
    store.set_budget(room_for(12, each));
    // A scan that begins at once, before anything hot is asked for again.
    for secret in &secrets[20..] {
        store.certificate(secret, NAME).await.expect("it can be served");
    }
    let kept = hot.iter().filter(|secret| store.cached(secret).is_some()).count();
    assert_eq!(kept, hot.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn loads_that_are_under_way_stay_within_a_budget_that_changes() {
    let (store, secrets, each) = filled(300).await;
    let loaders: Vec<_> = secrets
        .chunks(75)
        .map(|part| {
            let (store, part) = (Arc::clone(&store), part.to_vec());
            tokio::spawn(async move {
                for secret in part.iter().cycle().take(400) {
                    store.certificate(secret, NAME).await.expect("it can be served");
                }
            })
        })
        .collect();
    while !loaders.iter().all(tokio::task::JoinHandle::is_finished) {
        for count in [200, 20, 100] {
            store.set_budget(room_for(count, each));
            tokio::task::yield_now().await;
        }
    }
    for loader in loaders {
        loader.await.expect("every load is answered");
    }
    let budget = room_for(100, each);
    common::eventually("the cache is within its budget", || store.stats().bytes <= budget).await;
}

#[tokio::test]
async fn what_had_to_leave_is_out_of_memory_soon_after_the_change() {
    let (store, secrets, each) = filled(300).await;
    for count in [200, 50, 5] {
        store.set_budget(room_for(count, each));
        // What threads that look something up have in hand, those of other tests too, is let go after a few lookups.
        common::eventually("what had to leave is out of memory", || {
            for secret in &secrets {
                drop(store.cached(secret));
            }
            let stats = store.stats();
            stats.held_bytes <= stats.bytes + 70 * each
        })
        .await;
    }
}
