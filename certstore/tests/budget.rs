//! The cache stays within its budget, whatever is asked for and however the budget changes, and every name keeps working.

mod common;

use std::sync::Arc;
use std::time::Duration;

use certstore::testing::{ScriptedSource, TestCa};
use certstore::{CertStore, SecretRef};
use common::{NAME, web};

/// As many Secrets, all with the same content.
fn secrets(source: &ScriptedSource, count: usize) -> Vec<SecretRef> {
    let content = TestCa::new().issue(&[NAME]);
    let secrets: Vec<_> = (0..count).map(|number| SecretRef::new("shop", format!("s{number}"))).collect();
    for secret in &secrets {
        source.put(secret, content.clone());
    }
    secrets
}

/// What one of them weighs.
async fn weight(store: &CertStore, secret: &SecretRef) -> u64 {
    store.certificate(secret, NAME).await.expect("it can be served").bytes()
}

#[tokio::test]
async fn all_names_keep_working_under_a_budget_for_a_few() {
    let source = ScriptedSource::new();
    let secrets = secrets(&source, 100);
    let store = CertStore::builder(source.clone()).budget(20 * 1024).build();
    for secret in secrets.iter().cycle().take(300) {
        assert!(store.certificate(secret, NAME).await.is_ok());
        let stats = store.stats();
        assert!(stats.bytes <= stats.budget, "{} of {} bytes", stats.bytes, stats.budget);
    }
    let stats = store.stats();
    assert!(stats.entries > 0 && stats.evictions > 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_budget_holds_while_many_load_at_once() {
    let source = ScriptedSource::new();
    let secrets = secrets(&source, 400);
    let store = CertStore::builder(source.clone()).budget(100_000).load_concurrency(8).build();
    let tasks: Vec<_> = secrets
        .iter()
        .cloned()
        .map(|secret| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.certificate(&secret, NAME).await.map(drop) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    // Each load brings the cache within its budget before its task ends; the tasks are all but over.
    common::eventually("the cache is within its budget", || store.stats().bytes <= 100_000).await;
    assert!(source.most_at_once() <= 8);
}

#[tokio::test]
async fn evicted_certificates_are_held_only_while_somebody_uses_them() {
    let source = ScriptedSource::new();
    let secrets = secrets(&source, 3);
    let store = CertStore::builder(source.clone()).budget(0).build();
    let used = store.certificate(&secrets[0], NAME).await.unwrap();
    common::eventually("nothing is cached", || store.stats().entries == 0).await;
    assert_eq!(store.stats().held_bytes, used.bytes());
    drop(used);
    common::eventually("nothing is held", || store.stats().held_bytes == 0).await;
}

#[tokio::test]
async fn looking_whether_it_is_cached_makes_no_certificate_worth_keeping() {
    let source = ScriptedSource::new();
    let secrets = secrets(&source, 5);
    let each = weight(&CertStore::builder(source.clone()).build(), &secrets[0]).await;
    // An eighth is headroom; four of them fit into the rest.
    let store = CertStore::builder(source.clone()).budget(each * 9 / 2 * 8 / 7).build();
    let (used, other) = secrets.split_at(4);
    for _ in 0..4 {
        for secret in used {
            store.certificate(secret, NAME).await.unwrap();
        }
    }
    for _ in 0..12 {
        assert!(store.cached(&other[0]).is_none());
    }
    store.certificate(&other[0], NAME).await.unwrap();
    common::eventually("one had to go", || store.stats().evictions == 1).await;
    assert!(used.iter().all(|secret| store.cached(secret).is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_smaller_budget_keeps_what_was_used_last() {
    let source = ScriptedSource::new();
    let secrets = secrets(&source, 10);
    let store = CertStore::builder(source.clone()).build();
    let each = weight(&store, &secrets[0]).await;
    for secret in &secrets {
        store.certificate(secret, NAME).await.unwrap();
    }
    for hot in [7, 2, 5] {
        tokio::time::advance(Duration::from_millis(10)).await;
        assert!(store.cached(&secrets[hot]).is_some());
    }
    // An eighth is headroom; four of them fit into the rest.
    store.set_budget(each * 9 / 2 * 8 / 7);
    let kept: Vec<_> = (0..10).filter(|number| store.cached(&secrets[*number]).is_some()).collect();
    assert_eq!(kept.len(), 4, "{kept:?}");
    assert!([2, 5, 7].iter().all(|hot| kept.contains(hot)), "{kept:?}");
    let stats = store.stats();
    assert!((stats.entries, stats.evictions) == (4, 6) && stats.bytes <= stats.budget, "{stats:?}");
}

#[tokio::test]
async fn a_larger_budget_keeps_everything_and_then_has_more_room() {
    let source = ScriptedSource::new();
    let secrets = secrets(&source, 40);
    let store = CertStore::builder(source.clone()).budget(50_000).build();
    for secret in &secrets {
        store.certificate(secret, NAME).await.unwrap();
    }
    let before = store.stats();
    store.set_budget(1_000_000);
    assert_eq!((store.stats().entries, store.stats().bytes), (before.entries, before.bytes));
    for secret in &secrets {
        store.certificate(secret, NAME).await.unwrap();
    }
    assert_eq!((store.stats().entries, store.stats().budget), (40, 1_000_000));
}

#[tokio::test]
async fn a_budget_of_nothing_serves_by_loading_each_time() {
    let source = ScriptedSource::new();
    source.put(&web(), TestCa::new().issue(&[NAME]));
    let store = CertStore::builder(source.clone()).budget(0).build();
    for loads in 1..=3 {
        store.certificate(&web(), NAME).await.unwrap();
        common::eventually("nothing is cached", || store.stats().entries == 0).await;
        assert_eq!(source.loads(), loads);
    }
}

#[tokio::test]
async fn changes_and_removals_go_on_after_the_budget_has_changed() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    source.put(&web(), ca.issue(&[NAME]).at("1"));
    let store = CertStore::builder(source.clone()).build();
    store.certificate(&web(), NAME).await.unwrap();
    store.set_budget(1_000_000);
    source.put(&web(), ca.issue(&[NAME]).at("2"));
    store.secret_changed(&web(), "2");
    common::eventually("the new version is served", || store.cached(&web()).unwrap().version() == Some("2")).await;
    store.secret_removed(&web());
    assert!(store.cached(&web()).is_none());
    assert_eq!((store.stats().entries, store.stats().bytes), (0, 0));
}

#[tokio::test]
async fn the_soonest_expiry_is_that_of_cached_certificates_only() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    let early = SecretRef::new("shop", "early");
    source.put(&early, ca.leaf(&[NAME]).until(2040).issue());
    source.put(&web(), ca.leaf(&[NAME]).until(2050).issue());
    let store = CertStore::builder(source.clone()).build();
    let (first, second) =
        (store.certificate(&early, NAME).await.unwrap(), store.certificate(&web(), NAME).await.unwrap());
    assert_eq!(store.stats().soonest_expiry, Some(first.not_after()));
    store.secret_removed(&early);
    assert_eq!(store.stats().soonest_expiry, Some(second.not_after()));
    store.secret_removed(&web());
    assert_eq!(store.stats().soonest_expiry, None);
}
