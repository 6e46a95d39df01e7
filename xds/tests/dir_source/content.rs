//! What is read.

use xds::ObjectKind;
use xds::object::Object;
use xds::source::dir::{DirSource, OpenError, Options};

use crate::dir_support::{Bench, config_map, documents, key};

const ALL_KINDS: &str = "
apiVersion: networking.internal.knative.dev/v1alpha1
kind: Ingress
metadata: {name: a, namespace: shop}
spec:
  rules:
  - hosts: [a.shop.test]
    http: {paths: [{splits: [{serviceName: a, serviceNamespace: shop, servicePort: 80, percent: 100}]}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: a, namespace: shop}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: a, namespace: ignored}
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {clusterIP: None, ports: [{port: 80, targetPort: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a, namespace: shop}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
---
apiVersion: v1
kind: Secret
metadata: {name: a, namespace: shop}
type: kubernetes.io/tls
data: {tls.crt: YQ==, tls.key: Yg==}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, namespace: shop}
";

#[tokio::test]
async fn every_kind_is_read_and_others_are_passed_over() {
    let bench = Bench::with(&[("all.yaml", ALL_KINDS)]).await;
    let found: Vec<String> = bench.state.keys().map(ToString::to_string).collect();
    let expected = [
        "ConfigMap shop/a",
        "EndpointSlice shop/a",
        "Ingress shop/a",
        "IngressClass a",
        "KIngress shop/a",
        "Secret shop/a",
        "Service shop/a",
    ];
    assert_eq!(found, expected);
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
}

#[tokio::test]
async fn files_of_each_ending_are_read_in_every_folder_and_no_others() {
    let json = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}"#;
    let bench = Bench::with(&[
        ("a.yaml", &config_map("a", "1")),
        ("x/b.yml", &config_map("b", "1")),
        ("x/y/z/c.JSON", json),
        ("d.txt", &config_map("d", "1")),
        (".hidden/e.yaml", &config_map("e", "1")),
        (".f.yaml", &config_map("f", "1")),
    ])
    .await;
    let names: Vec<&str> = bench.state.keys().map(|key| &*key.object.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test]
async fn lists_of_any_and_of_one_kind_are_unfolded() {
    let list = "apiVersion: v1\nkind: List\nitems:\n\
                - {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n\
                - {apiVersion: v1, kind: Secret, metadata: {name: b}, stringData: {tls.crt: x, tls.key: y}}\n\
                - {apiVersion: apps/v1, kind: Deployment, metadata: {name: c}}\n";
    let typed =
        r#"{"apiVersion": "networking.k8s.io/v1", "kind": "IngressList", "items": [{"metadata": {"name": "d"}}]}"#;
    let bench = Bench::with(&[("list.yaml", list), ("typed.json", typed)]).await;
    for (kind, name) in [(ObjectKind::ConfigMap, "a"), (ObjectKind::Secret, "b"), (ObjectKind::Ingress, "d")] {
        assert!(bench.state.contains_key(&key(kind, name)), "{kind} {name}");
    }
    assert_eq!(bench.state.len(), 3);
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
}

#[tokio::test]
async fn a_changed_item_of_a_list_is_said_alone() {
    let list = |a: &str, b: &str| {
        format!(
            "{{apiVersion: v1, kind: List, items: [\
             {{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {{value: {a}}}}},\
             {{apiVersion: v1, kind: ConfigMap, metadata: {{name: b}}, data: {{value: {b}}}}}]}}"
        )
    };
    let mut bench = Bench::with(&[("list.yaml", &list("x", "x"))]).await;
    bench.write("list.yaml", &list("x", "y"));
    bench.until(|bench| bench.value("b") == Some("y")).await;
    assert_eq!(bench.names_said(), ["+b"]);
}

#[tokio::test]
async fn an_object_without_namespace_is_in_the_default_one() {
    let bench = Bench::with(&[("a.yaml", &config_map("a", "1"))]).await;
    let Some(Object::ConfigMap(object)) = bench.state.values().next() else { panic!("no object") };
    assert_eq!(object.metadata.namespace.as_deref(), Some("default"));
}

#[tokio::test]
async fn empty_documents_and_comments_are_no_fault() {
    let text = format!("# head\n---\n---\n# nothing\n---\n{}---\n...\n", config_map("a", "1"));
    let bench = Bench::with(&[("a.yaml", &text), ("b.yaml", ""), ("c.yaml", "# only this\n"), ("d.json", "")]).await;
    assert_eq!(bench.value("a"), Some("1"));
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
}

#[tokio::test]
async fn more_objects_than_fit_a_batch_are_all_said_before_synced() {
    let all: Vec<String> = (0..1500).map(|n| config_map(&format!("m{n}"), "1")).collect();
    let bench = Bench::with(&[("a.yaml", &documents(&all))]).await;
    assert_eq!(bench.state.len(), 1500);
}

#[tokio::test]
async fn a_folder_that_is_reached_twice_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("a")).unwrap();
    std::fs::write(dir.path().join("a/a.yaml"), config_map("a", "1")).unwrap();
    std::os::unix::fs::symlink("..", dir.path().join("a/loop")).unwrap();
    let faults = xds::Faults::default();
    let mut source = DirSource::open(dir.path(), Options::default(), faults.clone()).unwrap();
    assert_eq!(source.next().await.len(), 1 + 1);
    assert!(faults.all().iter().all(|fault| fault.message.contains("the same folder")));
    assert_eq!(faults.len(), 1);
}

#[test]
fn what_cannot_be_opened_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file.yaml");
    std::fs::write(&file, "").unwrap();
    let open = |path| DirSource::open(path, Options::default(), xds::Faults::default()).err().unwrap();
    let missing = open(dir.path().join("missing"));
    assert!(matches!(&missing, OpenError::Unreadable { .. }), "{missing:?}");
    assert!(missing.to_string().contains("/missing cannot be read"), "{missing}");
    assert!(matches!(open(file), OpenError::NotADirectory { .. }));
}
