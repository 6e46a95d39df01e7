//! What cannot be read takes nothing away.

use std::fs;

use xds::source::dir::Options;

use crate::dir_support::{Bench, config_map, documents};

#[tokio::test]
async fn a_syntax_error_keeps_the_objects_of_its_file_and_names_the_place() {
    let good = documents(&[config_map("a", "1"), config_map("b", "1"), config_map("c", "1")]);
    let mut bench = Bench::with(&[("x.yaml", &good)]).await;
    let broken = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b\ndata: [\n".to_owned();
    bench.write("x.yaml", &documents(&[config_map("a", "2"), broken]));
    bench.until(|bench| bench.value("a") == Some("2")).await;
    bench.settle().await;
    assert_eq!((bench.value("b"), bench.value("c")), (Some("1"), Some("1")));
    assert!(bench.has_fault(&["x.yaml document 2: ", "(line 1"]), "{:?}", bench.fault_texts());

    bench.write("x.yaml", &documents(&[config_map("a", "2"), config_map("b", "2")]));
    bench.until(|bench| bench.value("b") == Some("2") && bench.value("c").is_none()).await;
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
}

#[tokio::test]
async fn a_wrong_type_keeps_the_object_and_names_its_field() {
    let service = |port: &str| {
        format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n  - port: {port}\n")
    };
    let mut bench = Bench::with(&[("x.yaml", &documents(&[config_map("b", "1"), service("80")]))]).await;
    bench.write("x.yaml", &documents(&[config_map("b", "2"), service("http")]));
    bench.until(|bench| bench.value("b") == Some("2")).await;
    bench.until(|bench| !bench.faults.is_empty()).await;
    assert_eq!(bench.state.len(), 2);
    assert!(
        bench.has_fault(&["x.yaml document 2 (Service default/a): spec.ports[0].port: ", "(line 14, column"]),
        "{:?}",
        bench.fault_texts()
    );
    bench.write("x.yaml", &config_map("b", "2"));
    bench.until(|bench| bench.state.len() == 1).await;
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
}

#[tokio::test]
async fn an_object_that_does_not_say_what_it_is_has_a_fault() {
    let cases = [
        ("kind: ConfigMap\nmetadata: {name: a}\n", "apiVersion: is missing"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "kind: is missing"),
        ("apiVersion: v1\nkind: ConfigMap\n", "metadata.name: is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_B}\n", "metadata.name: is not a name"),
        ("just text\n", "is not a Kubernetes object"),
        ("[1, 2]\n", "is not a Kubernetes object"),
    ];
    for (text, expected) in cases {
        let bench = Bench::with(&[("x.yaml", text)]).await;
        assert!(bench.has_fault(&["x.yaml document 1: ", expected]), "{expected}: {:?}", bench.fault_texts());
        assert!(bench.state.is_empty());
    }
}

#[tokio::test]
async fn a_broken_json_file_keeps_its_object() {
    let json = |value: &str| {
        format!(
            r#"{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "a"}}, "data": {{"value": {value}}}}}"#
        )
    };
    let mut bench = Bench::with(&[("x.json", &json("\"1\""))]).await;
    bench.write("x.json", &json("[]"));
    bench.until(|bench| bench.has_fault(&["x.json document 1 (ConfigMap default/a): data.value: "])).await;
    bench.write("x.json", &json(""));
    bench.until(|bench| bench.has_fault(&["x.json document 1: ", "line 1"])).await;
    bench.write("x.json", &(json("\"2\"") + "garbage"));
    bench.settle().await;
    assert_eq!(bench.value("a"), Some("1"));
    bench.write("x.json", &json("\"3\""));
    bench.until(|bench| bench.value("a") == Some("3")).await;
}

#[tokio::test]
async fn a_file_that_is_suddenly_empty_keeps_its_objects() {
    let mut bench = Bench::with(&[("x.yaml", &config_map("a", "1"))]).await;
    bench.write("x.yaml", "");
    bench.until(|bench| bench.has_fault(&["x.yaml: is empty"])).await;
    assert_eq!(bench.value("a"), Some("1"));
    bench.write("x.yaml", "# on purpose\n");
    bench.until(|bench| bench.value("a").is_none()).await;
    assert!(bench.faults.is_empty());
}

#[tokio::test]
async fn bytes_that_are_no_text_are_reported() {
    let mut bench = Bench::with(&[("x.yaml", &config_map("a", "1"))]).await;
    fs::write(bench.path("x.yaml"), b"apiVersion: v1\nkind: \xff\n").unwrap();
    bench.until(|bench| bench.has_fault(&["x.yaml: is not UTF-8 text from byte 22 on"])).await;
    assert_eq!(bench.value("a"), Some("1"));
}

#[tokio::test]
async fn files_and_documents_have_limits_that_are_named() {
    let mut options = Options::default();
    options.max_file_bytes = 2000;
    options.max_document_bytes = 500;
    let long = config_map("a", &"x".repeat(600));
    let files =
        [("doc.yaml", documents(&[long, config_map("b", "1")])), ("file.yaml", config_map("c", &"x".repeat(3000)))];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let bench = Bench::with_options(&files, options).await;
    assert_eq!(bench.state.len(), 1);
    assert!(bench.has_fault(&["doc.yaml document 1: is larger than 500 bytes"]), "{:?}", bench.fault_texts());
    assert!(bench.has_fault(&["file.yaml: is larger than 2000 bytes"]), "{:?}", bench.fault_texts());
}

#[tokio::test]
async fn a_bomb_of_aliases_is_refused_and_harms_nothing_else() {
    let mut bomb =
        String::from("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\ndata:\n  a0: &a0 [l, l, l, l, l]\n");
    for n in 1..20 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb += &["  a", &n.to_string(), ": &a", &n.to_string(), " [", &list, "]\n"].concat();
    }
    let bench = Bench::with(&[("bomb.yaml", &bomb), ("good.yaml", &config_map("a", "1"))]).await;
    assert_eq!(bench.value("a"), Some("1"));
    assert!(bench.has_fault(&["bomb.yaml document 1"]), "{:?}", bench.fault_texts());
}

#[tokio::test]
async fn what_is_no_file_is_reported_and_does_not_block() {
    let mut bench = Bench::with(&[]).await;
    let made = std::process::Command::new("mkfifo").arg(bench.path("pipe.yaml")).status().unwrap();
    assert!(made.success());
    bench.until(|bench| bench.has_fault(&["pipe.yaml: is not a regular file"])).await;
    bench.write("a.yaml", &config_map("a", "1"));
    bench.until(|bench| bench.value("a") == Some("1")).await;
}

#[tokio::test]
async fn an_error_of_the_device_keeps_the_objects() {
    let mut bench = Bench::with(&[("x.yaml", &config_map("a", "1"))]).await;
    // The first bytes of a process's memory are never mapped: reading them fails with EIO.
    let beside = bench.path(".beside");
    std::os::unix::fs::symlink("/proc/self/mem", &beside).unwrap();
    fs::rename(&beside, bench.path("x.yaml")).unwrap();
    bench.until(|bench| bench.has_fault(&["x.yaml: cannot be read: "])).await;
    assert_eq!(bench.value("a"), Some("1"));
    bench.replace("x.yaml", &config_map("a", "2"));
    bench.until(|bench| bench.value("a") == Some("2")).await;
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
}
