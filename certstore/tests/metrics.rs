//! The metrics that operators rely on are there, with these names, and tell what happened.

mod common;

use std::collections::HashMap;

use certstore::testing::{ScriptedSource, TestCa};
use certstore::{CertStore, SecretRef, describe_metrics};
use common::{NAME, web};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

/// One hit, one miss that loads, one that is refused, one change that is swapped in, one that is not.
async fn traffic() {
    let (source, ca) = (ScriptedSource::new(), TestCa::new());
    source.put(&web(), ca.leaf(&[NAME]).until(2041).issue().at("1"));
    let store = CertStore::builder(source.clone()).budget(1_000_000).build();
    for _ in 0..2 {
        store.certificate(&web(), NAME).await.expect("it can be served");
    }
    store.certificate(&SecretRef::new("shop", "none"), NAME).await.expect_err("it isn't there");
    source.put(&web(), ca.leaf(&[NAME]).until(2042).expired().issue().at("2"));
    store.secret_changed(&web(), "2");
    common::eventually("it is swapped", || store.stats().swaps == 1).await;
    source.put(&web(), ca.issue(&[NAME]).with_key_of(&ca.issue(&[NAME])).at("3"));
    store.secret_changed(&web(), "3");
    common::eventually("it is kept", || store.stats().kept == 1).await;
    store.set_budget(2_000_000);
}

#[test]
fn every_metric_tells_what_happened() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        describe_metrics();
        runtime.block_on(traffic());
    });
    let mut described = true;
    let mut values = HashMap::new();
    for (key, _, description, value) in snapshotter.snapshot().into_vec() {
        described &= description.is_some();
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.key().name(), labels.join(","));
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => values.len() as f64,
        };
        values.insert(name, value);
    }
    assert!(described, "a metric has no description");
    for (name, expected) in [
        ("postern_certstore_entries{}", 1.0),
        ("postern_certstore_budget_bytes{}", 2_000_000.0),
        ("postern_certstore_hits_total{}", 1.0),
        ("postern_certstore_misses_total{}", 2.0),
        ("postern_certstore_loads_total{outcome=loaded}", 2.0),
        ("postern_certstore_loads_total{outcome=missing}", 1.0),
        ("postern_certstore_loads_total{outcome=rejected}", 1.0),
        ("postern_certstore_load_seconds{}", 4.0),
        ("postern_certstore_loads_in_flight{}", 0.0),
        ("postern_certstore_waiting{}", 0.0),
        ("postern_certstore_evictions_total{}", 0.0),
        ("postern_certstore_rejects_total{reason=not_found}", 1.0),
        ("postern_certstore_rejects_total{reason=key_mismatch}", 1.0),
        ("postern_certstore_swaps_total{outcome=swapped}", 1.0),
        ("postern_certstore_swaps_total{outcome=kept}", 1.0),
        ("postern_certstore_warnings_total{reason=expired}", 1.0),
        ("postern_certstore_refused_secrets{}", 1.0),
        // The certificate that expired in 2002 is the one that is cached.
        ("postern_certstore_soonest_expiry_timestamp_seconds{}", 1_009_843_200.0),
    ] {
        assert_eq!(values.get(name), Some(&expected), "{name} in {values:#?}");
    }
    assert!(values["postern_certstore_bytes{}"] > 1000.0);
}
