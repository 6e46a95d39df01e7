//! Changes and removals while a load is under way: what was read before never outlives what was told after.

mod common;

use std::sync::Arc;
use std::time::Duration;

use certstore::testing::{Answer, Gate, ScriptedSource, TestCa};
use certstore::{CertError, CertStore, Certificate};
use common::{NAME, eventually, web};
use tokio::task::JoinHandle;

type Handshake = JoinHandle<Result<Arc<Certificate>, CertError>>;

fn handshake(store: &Arc<CertStore>) -> Handshake {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.certificate(&web(), NAME).await })
}

#[tokio::test]
async fn a_load_begun_before_a_change_is_repeated_and_brings_the_new_version() {
    let (source, ca, gate) = (ScriptedSource::new(), TestCa::new(), Gate::closed());
    source.script(&web(), Answer::secret(&ca.issue(&[NAME]).at("1")).behind(&gate));
    source.put(&web(), ca.issue(&[NAME]).at("2"));
    let store = CertStore::builder(source.clone()).build();
    let handshake = handshake(&store);
    gate.arrival().await;
    store.secret_changed(&web(), "2");
    gate.open_for(1);
    assert_eq!(handshake.await.unwrap().unwrap().version(), Some("2"));
    assert_eq!(store.cached(&web()).unwrap().version(), Some("2"));
    assert_eq!(source.loads(), 2);
}

#[tokio::test]
async fn a_load_begun_before_a_removal_brings_nothing() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    source.script(&web(), Answer::secret(&TestCa::new().issue(&[NAME])).behind(&gate));
    let store = CertStore::builder(source.clone()).build();
    let handshake = handshake(&store);
    gate.arrival().await;
    store.secret_removed(&web());
    // The handshake is told at once, with the gate still closed.
    assert!(matches!(handshake.await.unwrap(), Err(CertError::Removed { .. })));
    gate.open_for(1);
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(store.cached(&web()).is_none());
    }
    assert_eq!(store.stats().entries, 0);
}

#[tokio::test]
async fn a_reload_begun_before_a_removal_does_not_bring_the_certificate_back() {
    let (source, ca, gate) = (ScriptedSource::new(), TestCa::new(), Gate::closed());
    source.put(&web(), ca.issue(&[NAME]).at("1"));
    let store = CertStore::builder(source.clone()).build();
    store.certificate(&web(), NAME).await.unwrap();
    source.script(&web(), Answer::secret(&ca.issue(&[NAME]).at("2")).behind(&gate));
    store.secret_changed(&web(), "2");
    gate.arrival().await;
    store.secret_removed(&web());
    assert!(store.cached(&web()).is_none());
    gate.open_for(1);
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(store.cached(&web()).is_none());
    }
}

#[tokio::test]
async fn a_secret_that_is_removed_and_made_anew_during_a_load_is_served_in_its_new_version() {
    let (source, ca, gate) = (ScriptedSource::new(), TestCa::new(), Gate::closed());
    source.script(&web(), Answer::secret(&ca.issue(&[NAME]).at("1")).behind(&gate));
    source.put(&web(), ca.issue(&[NAME]).at("9"));
    let store = CertStore::builder(source.clone()).build();
    let first = handshake(&store);
    gate.arrival().await;
    store.secret_removed(&web());
    store.secret_changed(&web(), "9");
    let second = store.certificate(&web(), NAME).await.unwrap();
    gate.open_for(1);
    assert!(first.await.unwrap().is_err());
    assert_eq!(second.version(), Some("9"));
    assert_eq!(store.cached(&web()).unwrap().version(), Some("9"));
}

#[tokio::test]
async fn changes_during_a_reload_are_followed_by_one_more_that_brings_the_last() {
    let (source, ca, gate) = (ScriptedSource::new(), TestCa::new(), Gate::closed());
    source.put(&web(), ca.issue(&[NAME]).at("1"));
    let store = CertStore::builder(source.clone()).build();
    store.certificate(&web(), NAME).await.unwrap();
    source.script(&web(), Answer::secret(&ca.issue(&[NAME]).at("2")).behind(&gate));
    source.put(&web(), ca.issue(&[NAME]).at("50"));
    store.secret_changed(&web(), "2");
    gate.arrival().await;
    (3..=50).for_each(|version| store.secret_changed(&web(), &version.to_string()));
    gate.open_for(1);
    eventually("the last version is served", || store.cached(&web()).unwrap().version() == Some("50")).await;
    assert_eq!(source.loads(), 3);
}

#[tokio::test]
async fn a_secret_that_changes_faster_than_it_is_read_is_served_and_its_last_version_follows() {
    let (source, ca, gate) = (ScriptedSource::new(), TestCa::new(), Gate::closed());
    for version in ["1", "2", "3"] {
        source.script(&web(), Answer::secret(&ca.issue(&[NAME]).at(version)).behind(&gate));
    }
    source.put(&web(), ca.issue(&[NAME]).at("4"));
    let store = CertStore::builder(source.clone()).build();
    let handshake = handshake(&store);
    for version in ["2", "3", "4"] {
        gate.arrival().await;
        store.secret_changed(&web(), version);
        gate.open_for(1);
    }
    assert_eq!(handshake.await.unwrap().unwrap().version(), Some("3"));
    eventually("the last version is served", || store.cached(&web()).unwrap().version() == Some("4")).await;
}

#[tokio::test]
async fn a_failure_read_before_a_change_is_not_remembered() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    source.script(&web(), Answer::error(certstore::SourceError::NotFound).behind(&gate));
    source.put(&web(), TestCa::new().issue(&[NAME]));
    let store = CertStore::builder(source.clone()).build();
    let handshake = handshake(&store);
    gate.arrival().await;
    store.secret_changed(&web(), "1");
    gate.open_for(1);
    assert!(handshake.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_source_that_panics_fails_its_handshakes_and_the_store_goes_on() {
    struct Panicking;
    impl certstore::SecretSource for Panicking {
        fn load<'a>(
            &'a self,
            _: &'a certstore::SecretRef,
        ) -> futures_util::future::BoxFuture<'a, Result<certstore::SecretData, certstore::SourceError>> {
            panic!("a test's panic")
        }
    }
    let store = CertStore::builder(Arc::new(Panicking)).build();
    assert!(matches!(store.certificate(&web(), NAME).await, Err(CertError::Abandoned { .. })));
    assert_eq!((store.stats().loads_in_flight, store.stats().refused), (0, 1));
}

#[tokio::test]
async fn a_dropped_store_ends_its_loads_and_its_tasks() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    source.script(&web(), Answer::unavailable().behind(&gate));
    let store = CertStore::builder(source.clone()).build();
    let handshake = handshake(&store);
    gate.arrival().await;
    handshake.abort();
    let _ = handshake.await;
    drop(store);
    // The source is held by nothing but this test once the load and the maintenance have ended.
    eventually("the tasks have ended", || Arc::strong_count(&source) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_storm_of_changes_and_removals_the_last_word_holds() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    let store = CertStore::builder(source.clone()).backoff(Duration::from_millis(1), Duration::from_millis(2)).build();
    let secret = ca.issue(&[NAME]);
    for round in 0..200 {
        source.put(&web(), secret.clone().at(&round.to_string()));
        let handshakes: Vec<_> = (0..4).map(|_| handshake(&store)).collect();
        store.secret_changed(&web(), &round.to_string());
        if round % 3 == 0 {
            source.remove(&web());
            store.secret_removed(&web());
            assert!(store.cached(&web()).is_none(), "served after its removal in round {round}");
        }
        for handshake in handshakes {
            let _ = handshake.await;
        }
    }
    source.remove(&web());
    store.secret_removed(&web());
    source.put(&web(), secret.at("last"));
    store.secret_changed(&web(), "last");
    assert_eq!(store.certificate(&web(), NAME).await.unwrap().version(), Some("last"));
}
