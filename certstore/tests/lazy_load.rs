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

#[tokio::test(start_paused = true)]
async fn a_load_that_takes_too_long_fails_at_the_deadline() {
    let (source, gate) = (ScriptedSource::new(), Gate::closed());
    source.script(&web(), Answer::unavailable().behind(&gate));
    let store = CertStore::builder(source.clone()).load_deadline(Duration::from_secs(3)).build();
    let began = tokio::time::Instant::now();
    let error = store.certificate(&web(), "web.shop.test").await.unwrap_err();
    assert!(matches!(error, CertError::Deadline { .. }), "{error}");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
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
