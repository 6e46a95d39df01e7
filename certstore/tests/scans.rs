//! Scans: a crawl through all names neither evicts what is in use nor keeps others waiting.

mod common;

use std::sync::Arc;
use std::time::Duration;

use certstore::testing::{Answer, ScriptedSource, TestCa};
use certstore::{CertError, CertStore, ClientKey, SecretRef};
use common::NAME;
use tokio::time::Instant;

const CRAWLER: ClientKey = ClientKey(1);
const VISITOR: ClientKey = ClientKey(2);

/// Secrets that are all there.
fn secrets(source: &ScriptedSource, count: usize) -> Vec<SecretRef> {
    let content = TestCa::new().issue(&[NAME]);
    let secrets: Vec<_> = (0..count).map(|number| SecretRef::new("shop", format!("s{number}"))).collect();
    for secret in &secrets {
        source.put(secret, content.clone());
    }
    secrets
}

#[tokio::test]
async fn a_crawl_through_all_names_leaves_the_hot_ones_in_place() {
    let source = ScriptedSource::new();
    let secrets = secrets(&source, 1_000);
    let each = CertStore::builder(source.clone()).build().certificate(&secrets[0], NAME).await.unwrap().bytes();
    // Room for 60; 40 are hot.
    let store = CertStore::builder(source.clone()).budget(each * 60 * 8 / 7).build();
    let (hot, others) = secrets.split_at(40);
    for secret in hot.iter().cycle().take(400) {
        store.certificate(secret, NAME).await.unwrap();
    }
    let mut found = 0;
    let mut asked = hot.iter().cycle();
    for other in others {
        store.certificate(other, NAME).await.unwrap();
        let secret = asked.next().unwrap();
        found += usize::from(store.cached(secret).is_some());
        store.certificate(secret, NAME).await.unwrap();
    }
    let ratio = found as f64 / others.len() as f64;
    println!("hit ratio of the hot names during the crawl: {ratio:.4}");
    assert!(ratio > 0.95, "{ratio}");
}

#[tokio::test(start_paused = true)]
async fn a_crawler_at_full_speed_does_not_keep_another_client_waiting() {
    let source = ScriptedSource::new();
    let secrets = secrets(&source, 3_000);
    let delay = Duration::from_millis(50);
    let content = TestCa::new().issue(&[NAME]);
    for secret in &secrets {
        source.script(secret, Answer::secret(&content).after(delay));
    }
    let store = CertStore::builder(source.clone()).load_concurrency(16).waiting_limit(4096).build();
    let (crawled, visited) = secrets.split_at(2_900);
    let crawl: Vec<_> = crawled
        .iter()
        .cloned()
        .map(|secret| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.certificate_for(&secret, NAME, CRAWLER).await.map(drop) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut slowest = Duration::ZERO;
    for secret in visited {
        let began = Instant::now();
        store.certificate_for(secret, NAME, VISITOR).await.expect("the visitor gets it");
        slowest = slowest.max(began.elapsed());
    }
    println!("slowest of the visitor's misses: {slowest:?}");
    assert!(slowest < 2 * delay, "{slowest:?}");
    assert!(store.stats().loads < 2_900, "the crawl was still under way");
    for task in crawl {
        // The crawler gets some, and is told to go away for the rest.
        match task.await.unwrap() {
            Ok(()) | Err(CertError::Throttled { .. } | CertError::Deadline { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(source.most_at_once() <= 16);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_loaded_in_a_second_than_may_be_and_the_rest_is_refused_in_time() {
    let source = ScriptedSource::new();
    let secrets = secrets(&source, 1_000);
    let deadline = Duration::from_secs(2);
    let store = CertStore::builder(source.clone()).miss_rate(100).load_deadline(deadline).build();
    let began = Instant::now();
    let tasks: Vec<_> = secrets
        .iter()
        .cloned()
        .map(|secret| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.certificate_for(&secret, NAME, CRAWLER).await.map(drop) })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => {}
            Err(CertError::Throttled { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(began.elapsed() <= deadline, "{:?}", began.elapsed());
    let loads = source.loads();
    // What may be saved up, and two seconds' worth.
    assert!((150..=300).contains(&loads), "{loads}");
    assert_eq!(loads + refused, 1_000);
    store.set_miss_rate(1_000_000);
    let refused_before = secrets.iter().find(|secret| source.loads_of(secret) == 0).expect("some were refused");
    store.certificate_for(refused_before, NAME, CRAWLER).await.expect("now there is room");
}

#[tokio::test]
async fn what_is_cached_is_served_whatever_the_client_has_had() {
    let source = ScriptedSource::new();
    let secrets = secrets(&source, 2);
    let store = CertStore::builder(source.clone()).miss_rate(2).load_deadline(Duration::from_millis(20)).build();
    store.certificate_for(&secrets[0], NAME, CRAWLER).await.expect("the first");
    store.set_miss_rate(0);
    let refused = store.certificate_for(&secrets[1], NAME, CRAWLER).await.expect_err("there is no room");
    assert!(refused.to_string().contains("more certificates are asked for than may be loaded"), "{refused}");
    for _ in 0..1_000 {
        store.certificate_for(&secrets[0], NAME, CRAWLER).await.expect("it is cached");
    }
}
