//! Certificates are loaded when first asked for, once, and never for longer or more often than allowed.

use std::sync::Arc;
use std::time::Duration;

use certstore::testing::{Answer, Gate, ScriptedSource, TestCa};
use certstore::{CertError, CertStore, SecretRef, SourceError};

fn web() -> SecretRef {
    SecretRef::new("shop", "web")
}

fn store_of(source: &Arc<ScriptedSource>) -> Arc<CertStore> {
    CertStore::builder(source.clone()).build()
}

#[tokio::test]
async fn two_hundred_first_handshakes_make_one_load() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    source.script(&web(), Answer::secret(&TestCa::new().issue(&["web.shop.test"])).behind(&gate));
    let store = store_of(&source);
    let handshakes: Vec<_> = (0..200)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.certificate(&web(), "web.shop.test").await.is_ok() })
        })
        .collect();
    gate.arrival().await;
    while store.stats().waiting < 200 {
        tokio::task::yield_now().await;
    }
    gate.open_for(1);
    for handshake in handshakes {
        assert!(handshake.await.unwrap());
    }
    assert_eq!(source.loads(), 1);
    assert_eq!(store.stats().waiting, 0);
}

#[tokio::test]
async fn nothing_is_loaded_before_it_is_asked_for_and_then_it_is_cached() {
    let source = ScriptedSource::new();
    source.put(&web(), TestCa::new().issue(&["web.shop.test"]));
    let store = store_of(&source);
    assert!(store.cached(&web()).is_none());
    store.secret_changed(&web(), "7");
    assert_eq!(source.loads(), 0);
    store.certificate(&web(), "web.shop.test").await.unwrap();
    assert!(store.cached(&web()).is_some());
    assert_eq!(source.loads(), 1);
}

#[tokio::test]
async fn a_missing_secret_is_asked_for_once_until_its_backoff_is_over() {
    let source = ScriptedSource::new();
    let store = store_of(&source);
    for _ in 0..50 {
        let error = store.certificate(&web(), "web.shop.test").await.unwrap_err();
        assert!(matches!(&error, CertError::Source { source, .. } if matches!(**source, SourceError::NotFound)));
    }
    assert_eq!(source.loads(), 1);
    assert_eq!(store.stats().refused_hits, 49);
}

#[tokio::test(start_paused = true)]
async fn a_refused_secret_is_tried_again_after_its_backoff_which_grows() {
    let source = ScriptedSource::new();
    let store = CertStore::builder(source.clone()).backoff(Duration::from_secs(4), Duration::from_secs(60)).build();
    let ask = || async { store.certificate(&web(), "web.shop.test").await.is_ok() };
    assert!(!ask().await);
    tokio::time::advance(Duration::from_millis(5100)).await;
    assert!(!ask().await);
    assert_eq!(source.loads(), 2);
    tokio::time::advance(Duration::from_millis(5100)).await;
    assert!(!ask().await);
    assert_eq!(source.loads(), 2, "the second backoff is twice as long");
    source.put(&web(), TestCa::new().issue(&["web.shop.test"]));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(ask().await);
    assert_eq!(store.stats().refused, 0);
}

#[tokio::test]
async fn refusals_are_listed_with_their_reason() {
    let store = store_of(&ScriptedSource::new());
    let _ = store.certificate(&web(), "web.shop.test").await;
    let refusals = store.refusals();
    assert_eq!((refusals.len(), &refusals[0].secret, refusals[0].failures), (1, &web(), 1));
}

#[tokio::test]
async fn no_more_loads_run_at_a_time_than_allowed() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    let store = CertStore::builder(source.clone()).load_concurrency(3).build();
    let secret = ca.issue(&["web.shop.test"]);
    let handshakes: Vec<_> = (0..30)
        .map(|number| {
            let (store, name) = (Arc::clone(&store), SecretRef::new("shop", number.to_string()));
            source.script(&name, Answer::secret(&secret).after(Duration::from_millis(1)));
            tokio::spawn(async move { store.certificate(&name, "web.shop.test").await.is_ok() })
        })
        .collect();
    for handshake in handshakes {
        assert!(handshake.await.unwrap());
    }
    assert_eq!(source.most_at_once(), 3);
}

#[tokio::test]
async fn a_handshake_beyond_the_waiting_limit_fails_at_once() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    source.script(&web(), Answer::secret(&TestCa::new().issue(&["web.shop.test"])).behind(&gate));
    let store = CertStore::builder(source.clone()).waiting_limit(1).build();
    let first = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.certificate(&web(), "web.shop.test").await.is_ok() })
    };
    gate.arrival().await;
    for secret in [web(), SecretRef::new("shop", "other")] {
        let error = store.certificate(&secret, "web.shop.test").await.unwrap_err();
        assert!(matches!(error, CertError::Overloaded { waiting: 1, .. }), "{error}");
    }
    gate.open_for(1);
    assert!(first.await.unwrap());
    assert_eq!(store.stats().refused, 0);
}

#[tokio::test]
async fn a_handshake_that_gives_up_does_not_end_the_load_of_the_others() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    source.script(&web(), Answer::secret(&TestCa::new().issue(&["web.shop.test"])).behind(&gate));
    let store = store_of(&source);
    let handshake = |store: &Arc<CertStore>| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.certificate(&web(), "web.shop.test").await.is_ok() })
    };
    let (impatient, patient) = (handshake(&store), handshake(&store));
    gate.arrival().await;
    impatient.abort();
    gate.open_for(1);
    assert!(patient.await.unwrap());
    assert_eq!(source.loads(), 1);
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_any_more_when_its_turn_comes_is_not_made() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    source.script(&web(), Answer::secret(&TestCa::new().issue(&["web.shop.test"])).behind(&gate));
    let store = CertStore::builder(source.clone()).load_concurrency(1).build();
    let other = SecretRef::new("shop", "other");
    let ask = |secret: SecretRef| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.certificate(&secret, "web.shop.test").await.is_ok() })
    };
    let first = ask(web());
    gate.arrival().await;
    let impatient = ask(other.clone());
    while store.stats().waiting < 2 {
        tokio::task::yield_now().await;
    }
    impatient.abort();
    let _ = impatient.await;
    gate.open_for(1);
    assert!(first.await.unwrap());
    while store.stats().loads_in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(source.loads_of(&other), 0);
}
