//! A source that takes its time: no handshake waits for ever, and none fails because an earlier one waited in vain.

mod common;

use std::sync::Arc;
use std::time::Duration;

use certstore::testing::{Answer, Gate, ScriptedSource, TestCa};
use certstore::{CertError, CertStore, SecretRef};
use common::{NAME, web};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a handshake waits here, and how long a load may take.
const DEADLINE: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(20);

fn store_of(source: &Arc<ScriptedSource>) -> Arc<CertStore> {
    CertStore::builder(source.clone()).load_deadline(DEADLINE).load_limit(LIMIT).build()
}

fn handshake(store: &Arc<CertStore>, secret: &SecretRef) -> JoinHandle<Result<(), CertError>> {
    let (store, secret) = (Arc::clone(store), secret.clone());
    tokio::spawn(async move { store.certificate(&secret, NAME).await.map(drop) })
}

fn is_deadline(result: &Result<(), CertError>) -> bool {
    matches!(result, Err(CertError::Deadline { .. }))
}

/// Paused time jumps as soon as everything waits; a certificate's check takes none of it.
async fn after(pause: Duration) {
    tokio::time::sleep(pause).await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_waits_for_no_longer_than_the_deadline() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    source.script(&web(), Answer::unavailable().behind(&gate));
    let store = store_of(&source);
    let began = Instant::now();
    assert!(is_deadline(&store.certificate(&web(), NAME).await.map(drop)));
    assert_eq!(began.elapsed(), DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_is_late_is_found_by_the_next_handshake() {
    let source = ScriptedSource::new();
    source.script(&web(), Answer::secret(&TestCa::new().issue(&[NAME])).after(DEADLINE * 2));
    let store = store_of(&source);
    assert!(is_deadline(&store.certificate(&web(), NAME).await.map(drop)));
    after(DEADLINE * 2).await;
    assert!(store.cached(&web()).is_some());
    assert_eq!((source.loads(), store.stats().refused), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_joins_a_late_load_has_a_deadline_of_its_own() {
    let source = ScriptedSource::new();
    source.script(&web(), Answer::secret(&TestCa::new().issue(&[NAME])).after(DEADLINE + DEADLINE / 2));
    let store = store_of(&source);
    assert!(is_deadline(&store.certificate(&web(), NAME).await.map(drop)));
    assert!(store.certificate(&web(), NAME).await.is_ok());
    assert_eq!(source.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_hangs_is_given_up_and_not_held_against_its_secret() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    source.script(&web(), Answer::unavailable().behind(&gate));
    source.put(&web(), TestCa::new().issue(&[NAME]));
    let store = store_of(&source);
    let _ = store.certificate(&web(), NAME).await;
    after(LIMIT).await;
    assert_eq!((store.stats().loads_in_flight, store.stats().refused), (0, 0));
    assert!(store.certificate(&web(), NAME).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_turn_in_vain_is_not_held_against_a_secret() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    let (content, other) = (TestCa::new().issue(&[NAME]), SecretRef::new("shop", "other"));
    source.script(&web(), Answer::secret(&content).behind(&gate));
    source.put(&other, content);
    let store =
        CertStore::builder(source.clone()).load_concurrency(1).load_deadline(DEADLINE).load_limit(LIMIT).build();
    let first = handshake(&store, &web());
    gate.arrival().await;
    assert!(is_deadline(&handshake(&store, &other).await.unwrap()));
    gate.open_for(1);
    // Its turn comes with nobody waiting, so that the load is left to the next handshake.
    after(Duration::from_millis(1)).await;
    assert!(handshake(&store, &other).await.unwrap().is_ok());
    assert!(is_deadline(&first.await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn reloads_that_hang_take_no_turn_of_a_handshake() {
    let (source, ca, gate) = (ScriptedSource::new(), TestCa::new(), Gate::closed());
    let store = CertStore::builder(source.clone()).load_concurrency(1).reload_concurrency(4).build();
    for number in 0..8 {
        let secret = SecretRef::new("shop", number.to_string());
        source.put(&secret, ca.issue(&[NAME]).at("1"));
        store.certificate(&secret, NAME).await.unwrap();
        source.script(&secret, Answer::unavailable().behind(&gate));
        store.secret_changed(&secret, "2");
    }
    for _ in 0..4 {
        gate.arrival().await;
    }
    source.put(&web(), ca.issue(&[NAME]));
    let began = Instant::now();
    assert!(store.certificate(&web(), NAME).await.is_ok());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_tell_is_asked_again_after_the_first_backoff_however_often_it_could_not() {
    let source = ScriptedSource::new();
    for _ in 0..20 {
        source.script(&web(), Answer::unavailable());
    }
    source.put(&web(), TestCa::new().issue(&[NAME]));
    let store = CertStore::builder(source.clone()).backoff(Duration::from_secs(1), Duration::from_secs(60)).build();
    for _ in 0..20 {
        assert!(store.certificate(&web(), NAME).await.is_err());
        after(Duration::from_millis(1300)).await;
    }
    assert!(store.certificate(&web(), NAME).await.is_ok());
}
