//! A Secret whose newest version is refused: what is served instead, and what is said of it until it heals or goes.

mod common;

use std::sync::Arc;

use certstore::testing::{Answer, ScriptedSource, TestCa, TestSecret};
use certstore::{CertError, CertStore, FaultInfo, SealedTier, SecretRef, Serving, SourceError};
use common::{NAME, eventually, web};

/// Room for some twenty certificates, of which an eighth is for loads in flight and last good ones.
const BUDGET: u64 = 64 * 1024;

fn rejected(ca: &TestCa, version: &str) -> TestSecret {
    ca.issue(&[NAME]).with_key_of(&ca.issue(&[NAME])).at(version)
}

/// Loads the Secret, and has its newest version refused.
async fn refuse(store: &CertStore, source: &ScriptedSource, ca: &TestCa, secret: &SecretRef) {
    source.put(secret, ca.issue(&[NAME]).at("1"));
    store.certificate(secret, NAME).await.expect("it can be served");
    let kept = store.stats().kept;
    source.put(secret, rejected(ca, "2"));
    store.secret_changed(secret, "2");
    eventually("the newest version is refused", || store.stats().kept == kept + 1).await;
}

/// Asks for so many other certificates, which leave no room for what is not used.
async fn crowd(store: &CertStore, source: &ScriptedSource, ca: &TestCa, count: usize) {
    let content = ca.issue(&[NAME]);
    for number in 0..count {
        let secret = SecretRef::new("crowd", number.to_string());
        source.put(&secret, content.clone());
        store.certificate(&secret, NAME).await.expect("it can be served");
    }
}

async fn version(store: &CertStore, secret: &SecretRef) -> Option<String> {
    store.certificate(secret, NAME).await.ok()?.version().map(ToOwned::to_owned)
}

fn only_fault(store: &CertStore) -> FaultInfo {
    let mut faults = store.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

#[tokio::test]
async fn a_last_good_certificate_is_not_evicted_while_there_is_room_for_it() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    let store = CertStore::builder(source.clone()).budget(BUDGET).build();
    refuse(&store, &source, &ca, &web()).await;
    crowd(&store, &source, &ca, 200).await;
    assert!(store.stats().evictions > 100);
    assert_eq!(version(&store, &web()).await.as_deref(), Some("1"));
    assert_eq!(only_fault(&store).refused.unwrap().serving, Serving::LastGood { version: Some("1".to_owned()) });
    for budget in [BUDGET / 2, BUDGET] {
        store.set_budget(budget);
        crowd(&store, &source, &ca, 100).await;
        assert_eq!(version(&store, &web()).await.as_deref(), Some("1"), "{budget}");
    }
}

#[tokio::test]
async fn last_good_certificates_have_a_bound_and_stay_within_the_budget() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    let store = CertStore::builder(source.clone()).budget(BUDGET).build();
    let secrets: Vec<_> = (0..40).map(|number| SecretRef::new("shop", number.to_string())).collect();
    for secret in &secrets {
        refuse(&store, &source, &ca, secret).await;
    }
    crowd(&store, &source, &ca, 100).await;
    let stats = store.stats();
    assert!(stats.bytes <= BUDGET, "{stats:?}");
    let kept = secrets.iter().filter(|secret| store.cached(secret).is_some()).count();
    assert!((1..40).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_last_good_certificate_goes_with_its_secret_and_gives_way_to_a_better_version() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    let store = CertStore::builder(source.clone()).budget(BUDGET).build();
    refuse(&store, &source, &ca, &web()).await;
    crowd(&store, &source, &ca, 100).await;
    source.put(&web(), ca.issue(&[NAME]).at("3"));
    store.secret_changed(&web(), "3");
    eventually("the better version is found", || store.faults().is_empty()).await;
    assert_eq!(version(&store, &web()).await.as_deref(), Some("3"));
    let store = CertStore::builder(source.clone()).budget(BUDGET).build();
    refuse(&store, &source, &ca, &web()).await;
    crowd(&store, &source, &ca, 100).await;
    assert!(store.cached(&web()).is_some());
    store.secret_removed(&web());
    assert!(store.cached(&web()).is_none() && store.faults().is_empty());
    assert_eq!(store.stats().entries, store.entries().len() as u64);
}

#[tokio::test]
async fn where_the_last_good_certificate_is_not_in_memory_its_sealed_copy_is_served() {
    let (source, ca, folder) = (ScriptedSource::new(), TestCa::new(), tempfile::tempdir().unwrap());
    let tier = SealedTier::open(folder.path(), 1 << 20).unwrap();
    let store = CertStore::builder(source.clone()).budget(0).sealed(tier).build();
    source.put(&web(), ca.issue(&[NAME]).at("1"));
    store.certificate(&web(), NAME).await.unwrap();
    source.put(&web(), rejected(&ca, "2"));
    store.secret_changed(&web(), "2");
    assert_eq!(version(&store, &web()).await.as_deref(), Some("1"));
    assert_eq!(only_fault(&store).refused.unwrap().serving, Serving::SealedCopy);
    source.put(&web(), ca.issue(&[NAME]).at("3"));
    store.secret_changed(&web(), "3");
    assert_eq!(version(&store, &web()).await.as_deref(), Some("3"));
    assert!(store.faults().is_empty());
}

#[tokio::test]
async fn where_nothing_is_left_of_the_last_good_certificate_the_fault_says_so() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    let store = CertStore::builder(source.clone()).budget(0).build();
    source.put(&web(), ca.issue(&[NAME]).at("1"));
    store.certificate(&web(), NAME).await.unwrap();
    source.put(&web(), rejected(&ca, "2"));
    store.secret_changed(&web(), "2");
    assert!(matches!(store.certificate(&web(), NAME).await, Err(CertError::Secret(_))));
    let fault = only_fault(&store);
    assert_eq!(fault.secret, web());
    assert_eq!(fault.refused.unwrap().serving, Serving::Nothing { has_sealed_tier: false });
}

#[tokio::test(start_paused = true)]
async fn a_refused_secret_is_a_fault_until_it_heals_though_nobody_asks_for_it() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    let store = CertStore::builder(source.clone()).build();
    let changes = store.fault_changes();
    source.put(&web(), rejected(&ca, "1"));
    store.certificate(&web(), NAME).await.unwrap_err();
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    assert_eq!(only_fault(&store).refused.unwrap().error.reason(), "key_mismatch");
    // Another wrong version, then a good one.
    source.put(&web(), TestSecret { key: String::new(), ..ca.issue(&[NAME]) }.at("2"));
    store.secret_changed(&web(), "2");
    eventually("the fault is another", || only_fault(&store).refused.unwrap().error.reason() == "no_private_key").await;
    source.put(&web(), ca.issue(&[NAME]).at("3"));
    store.secret_changed(&web(), "3");
    eventually("the fault is over", || store.faults().is_empty()).await;
    assert_eq!(*changes.borrow(), 3);
    assert!(store.cached(&web()).is_none(), "nobody has asked for it since");
}

#[tokio::test]
async fn a_source_that_is_away_makes_no_fault_and_one_that_denies_does() {
    let (source, store) =
        (ScriptedSource::new(), |source: &Arc<ScriptedSource>| CertStore::builder(source.clone()).build());
    source.script(&web(), Answer::unavailable());
    let away = store(&source);
    away.certificate(&web(), NAME).await.unwrap_err();
    assert!(away.faults().is_empty());
    source.script(&web(), Answer::error(SourceError::Forbidden));
    let denied = store(&source);
    denied.certificate(&web(), NAME).await.unwrap_err();
    assert_eq!(only_fault(&denied).refused.unwrap().error.reason(), "forbidden");
}

#[tokio::test]
async fn what_is_wrong_with_a_served_certificate_is_a_fault_as_well() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    let store = CertStore::builder(source.clone()).build();
    source.put(&web(), ca.leaf(&[NAME]).expired().issue().at("1"));
    store.certificate(&web(), NAME).await.unwrap();
    store.certificate(&web(), "other.shop.test").await.unwrap();
    store.certificate(&web(), "").await.unwrap();
    let fault = only_fault(&store);
    let reasons: Vec<_> = fault.warnings.iter().map(certstore::Warning::reason).collect();
    assert!(fault.refused.is_none());
    assert_eq!(reasons, ["expired", "name_not_covered"]);
    source.put(&web(), ca.issue(&[NAME]).at("2"));
    store.secret_changed(&web(), "2");
    eventually("the faults are over", || store.faults().is_empty()).await;
}
