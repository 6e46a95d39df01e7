//! A certificate that changes is swapped in the background; the last good one serves until then, and no longer than its Secret.

mod common;

use std::time::Duration;

use certstore::testing::{Answer, Gate, ScriptedSource, TestCa};
use certstore::{CertError, CertStore, SecretError, SourceError};
use common::{NAME, eventually, serial, web};

#[tokio::test]
async fn a_change_is_seen_by_new_handshakes_and_the_old_certificate_serves_meanwhile() {
    let (source, ca, gate) = (ScriptedSource::new(), TestCa::new(), Gate::closed());
    source.put(&web(), ca.issue(&[NAME]).at("1"));
    let store = CertStore::builder(source.clone()).build();
    let old = store.certificate(&web(), NAME).await.unwrap();
    source.script(&web(), Answer::secret(&ca.issue(&[NAME]).at("2")).behind(&gate));
    store.secret_changed(&web(), "2");
    gate.arrival().await;
    assert_eq!(serial(&store.cached(&web()).unwrap()), serial(&old));
    gate.open_for(1);
    eventually("the new version is served", || store.cached(&web()).unwrap().version() == Some("2")).await;
    assert_ne!(serial(&store.cached(&web()).unwrap()), serial(&old));
    assert_eq!(store.stats().entries, 1);
}

#[tokio::test]
async fn a_rejected_certificate_leaves_the_old_one_serving_and_says_why() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    source.put(&web(), ca.issue(&[NAME]).at("1"));
    let store = CertStore::builder(source.clone()).build();
    store.certificate(&web(), NAME).await.unwrap();
    source.put(&web(), ca.issue(&[NAME]).with_key_of(&ca.issue(&[NAME])).at("2"));
    store.secret_changed(&web(), "2");
    eventually("the reload has failed", || store.stats().kept == 1).await;
    assert_eq!(store.cached(&web()).unwrap().version(), Some("1"));
    let error = store.entries()[0].last_error.clone().unwrap();
    assert!(
        matches!(&error, CertError::Secret(error) if matches!(**error, SecretError::KeyMismatch { .. })),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_that_could_not_be_read_is_read_later_without_being_reported_again() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    source.put(&web(), ca.issue(&[NAME]).at("1"));
    let store = CertStore::builder(source.clone()).build();
    store.certificate(&web(), NAME).await.unwrap();
    source.script(&web(), Answer::unavailable());
    source.script(&web(), Answer::unavailable());
    source.put(&web(), ca.issue(&[NAME]).at("2"));
    store.secret_changed(&web(), "2");
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        while store.cached(&web()).unwrap().version() != Some("2") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    patience.await.unwrap();
    assert!(store.entries()[0].last_error.is_none());
    assert_eq!(source.loads_of(&web()), 4);
}

#[tokio::test]
async fn a_reload_that_finds_the_secret_gone_or_forbidden_takes_the_certificate_away() {
    for gone in [SourceError::NotFound, SourceError::Forbidden] {
        let source = ScriptedSource::new();
        source.put(&web(), TestCa::new().issue(&[NAME]).at("1"));
        let store = CertStore::builder(source.clone()).build();
        store.certificate(&web(), NAME).await.unwrap();
        source.script(&web(), Answer::error(gone));
        store.secret_changed(&web(), "2");
        eventually("the certificate is gone", || store.cached(&web()).is_none()).await;
        assert_eq!(store.stats().entries, 0);
    }
}

#[tokio::test]
async fn a_change_of_a_secret_that_is_not_cached_costs_no_load() {
    let source = ScriptedSource::new();
    let store = CertStore::builder(source.clone()).build();
    let _ = store.certificate(&web(), NAME).await;
    let other = certstore::SecretRef::new("shop", "other");
    store.secret_changed(&other, "2");
    assert_eq!((source.loads_of(&other), store.stats().reloads_queued), (0, 0));
}

#[tokio::test]
async fn a_version_that_is_cached_already_is_not_loaded_again() {
    let source = ScriptedSource::new();
    source.put(&web(), TestCa::new().issue(&[NAME]).at("1"));
    let store = CertStore::builder(source.clone()).build();
    store.certificate(&web(), NAME).await.unwrap();
    store.secret_changed(&web(), "1");
    assert_eq!((source.loads(), store.stats().loads_in_flight), (1, 0));
}

#[tokio::test]
async fn a_change_forgets_an_earlier_refusal() {
    let source = ScriptedSource::new();
    let store = CertStore::builder(source.clone()).build();
    assert!(store.certificate(&web(), NAME).await.is_err());
    source.put(&web(), TestCa::new().issue(&[NAME]));
    assert!(store.certificate(&web(), NAME).await.is_err());
    store.secret_changed(&web(), "1");
    assert!(store.certificate(&web(), NAME).await.is_ok());
}

#[tokio::test]
async fn reloads_after_a_mass_rotation_stay_within_their_bound() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    let store = CertStore::builder(source.clone()).reload_concurrency(2).build();
    let secrets: Vec<_> = (0..20).map(|number| certstore::SecretRef::new("shop", number.to_string())).collect();
    let (old, new) = (ca.issue(&[NAME]).at("1"), ca.issue(&[NAME]).at("2"));
    for secret in &secrets {
        source.put(secret, old.clone());
        store.certificate(secret, NAME).await.unwrap();
        source.script(secret, Answer::secret(&new).after(Duration::from_millis(1)));
    }
    for secret in &secrets {
        store.secret_changed(secret, "2");
    }
    eventually("all are swapped", || store.stats().swaps == 20).await;
    assert_eq!(source.most_at_once(), 2);
    assert!(secrets.iter().all(|secret| store.cached(secret).unwrap().version() == Some("2")));
}
