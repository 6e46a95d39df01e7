//! Secrets are indexed, not held.

use std::fs;

use xds::object::Object;
use xds::source::dir::SecretReadError;
use xds::{ObjectKind, ObjectRef};

use crate::dir_support::{Bench, config_map, documents, key, secret};

fn version(bench: &Bench, name: &str) -> String {
    match &bench.state[&key(ObjectKind::Secret, name)] {
        Object::Secret(meta) => meta.version.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_secret_is_read_from_its_file_when_asked_for() {
    let bench = Bench::with(&[("a.yaml", &documents(&[config_map("x", "1"), secret("a", "chain", "key")]))]).await;
    let files = bench.source.secrets();
    let content = files.read(&ObjectRef::new("default", "a")).unwrap();
    assert_eq!(content.certificate_chain, b"chain");
    assert_eq!(content.private_key.as_bytes(), b"key");
    assert_eq!(content.secret_type.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(*content.version, *version(&bench, "a"));
    let loaded = files.load(ObjectRef::new("default", "a")).await.unwrap();
    assert_eq!(loaded.private_key.into_bytes(), b"key");
}

#[tokio::test]
async fn a_change_of_the_data_alone_makes_an_event() {
    let mut bench = Bench::with(&[("a.yaml", &secret("a", "chain", "key"))]).await;
    let before = version(&bench, "a");
    bench.write(
        "a.yaml",
        &format!("# a comment\n{}", secret("a", "chain", "key").replace("  name", "  labels: {a: b}\n  name")),
    );
    bench.settle().await;
    assert_eq!(bench.names_said(), Vec::<String>::new());
    bench.write("a.yaml", &secret("a", "chain-2", "key-2"));
    bench.until(|bench| version(bench, "a") != before).await;
    assert_eq!(bench.names_said(), ["+a"]);
    let content = bench.source.secrets().read(&ObjectRef::new("default", "a")).unwrap();
    assert_eq!(content.certificate_chain, b"chain-2");
}

#[tokio::test]
async fn a_secret_is_found_where_the_file_has_shifted_before_that_was_seen() {
    let bench =
        Bench::with(&[("a.yaml", &documents(&[secret("a", "chain-a", "key-a"), secret("b", "chain-b", "key-b")]))])
            .await;
    let files = bench.source.secrets();
    // The source has not been asked for what changed: its index is as before.
    let shifted =
        documents(&[config_map("new", "1"), secret("b", "chain-b", "key-b"), secret("a", "chain-a", "key-a")]);
    fs::write(bench.path("a.yaml"), shifted).unwrap();
    for name in ["a", "b"] {
        let content = files.read(&ObjectRef::new("default", name)).unwrap();
        assert_eq!(content.private_key.as_bytes(), format!("key-{name}").as_bytes());
    }
}

#[tokio::test]
async fn a_secret_in_a_list_or_in_json_is_read() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: x}}\n\
                - {apiVersion: v1, kind: Secret, metadata: {name: a}, data: {tls.crt: Yw==, tls.key: aw==}}\n";
    let json = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}, "data": {"tls.crt": "Yw==", "tls.key": "aw=="}}"#;
    let bench = Bench::with(&[("a.yaml", list), ("b.json", json)]).await;
    for name in ["a", "b"] {
        let content = bench.source.secrets().read(&ObjectRef::new("default", name)).unwrap();
        assert_eq!(content.private_key.as_bytes(), b"k");
        assert_eq!(*content.version, *version(&bench, name));
    }
}

#[tokio::test]
async fn what_a_secret_lacks_is_named() {
    let without_key = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {tls.crt: c}\n";
    let empty = "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\nstringData: {tls.crt: \"\", tls.key: k}\n";
    let bench = Bench::with(&[("a.yaml", without_key), ("b.yaml", empty)]).await;
    let files = bench.source.secrets();
    for (name, expected) in [("a", "secret default/a has no tls.key"), ("b", "secret default/b has no tls.crt")] {
        let error = files.read(&ObjectRef::new("default", name)).err().unwrap();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let error = files.read(&ObjectRef::new("default", "c")).err().unwrap();
    assert!(matches!(error, SecretReadError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn broken_data_keeps_the_secret_and_shows_nothing_of_it() {
    let mut bench = Bench::with(&[("a.yaml", &secret("a", "chain", "key"))]).await;
    bench.write("a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {tls.key: '*hunter2*'}\n");
    bench.until(|bench| bench.has_fault(&["a.yaml document 1 (Secret default/a): data.tls.key: is not base64"])).await;
    assert!(bench.state.contains_key(&key(ObjectKind::Secret, "a")));
    let error = bench.source.secrets().read(&ObjectRef::new("default", "a")).err().unwrap();
    assert!(matches!(error, SecretReadError::Malformed { .. }), "{error:?}");
    assert!(!error.to_string().contains("hunter2") && !bench.fault_texts().join("").contains("hunter2"));
}

#[tokio::test]
async fn a_deleted_secret_is_not_found() {
    let mut bench = Bench::with(&[("a.yaml", &secret("a", "chain", "key"))]).await;
    let files = bench.source.secrets();
    let name = ObjectRef::new("default", "a");
    fs::remove_file(bench.path("a.yaml")).unwrap();
    assert!(files.read(&name).is_err());
    bench.until(|bench| bench.state.is_empty()).await;
    assert!(matches!(files.read(&name), Err(SecretReadError::NotFound { .. })));
}

#[tokio::test]
async fn no_key_is_shown_by_debug() {
    let bench = Bench::with(&[("a.yaml", &secret("a", "chain", "hunter2"))]).await;
    let content = bench.source.secrets().read(&ObjectRef::new("default", "a")).unwrap();
    assert!(!format!("{content:?}").contains("hunter2"));
    assert!(!format!("{:?} {:?}", bench.source, bench.state).contains("hunter2"));
}
