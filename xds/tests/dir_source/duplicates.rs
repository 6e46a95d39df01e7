//! Objects that are named in several places.

use std::fs;

use crate::dir_support::{Bench, config_map, documents};

#[tokio::test]
async fn the_first_place_by_path_is_in_effect_and_the_other_names_both() {
    let bench = Bench::with(&[
        ("b.yaml", &config_map("a", "second")),
        ("a.yaml", &documents(&[config_map("x", "1"), config_map("a", "first")])),
    ])
    .await;
    assert_eq!(bench.value("a"), Some("first"));
    assert!(
        bench.has_fault(&["b.yaml document 1 (ConfigMap default/a): is also in ", "a.yaml document 2"]),
        "{:?}",
        bench.fault_texts()
    );
    assert_eq!(bench.faults.len(), 1);
}

#[tokio::test]
async fn the_second_takes_over_without_a_gap_when_the_first_goes() {
    let mut bench = Bench::with(&[("a.yaml", &config_map("a", "first")), ("b.yaml", &config_map("a", "second"))]).await;
    fs::remove_file(bench.path("a.yaml")).unwrap();
    bench.until(|bench| bench.value("a") == Some("second")).await;
    assert_eq!(bench.names_said(), ["+a"]);
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
    fs::remove_file(bench.path("b.yaml")).unwrap();
    bench.until(|bench| bench.value("a").is_none()).await;
}

#[tokio::test]
async fn a_change_of_the_second_says_nothing() {
    let mut bench = Bench::with(&[("a.yaml", &config_map("a", "first")), ("b.yaml", &config_map("a", "second"))]).await;
    bench.write("b.yaml", &config_map("a", "third"));
    bench.settle().await;
    assert_eq!(bench.names_said(), Vec::<String>::new());
    fs::remove_file(bench.path("b.yaml")).unwrap();
    bench.until(|bench| bench.faults.is_empty()).await;
    assert_eq!(bench.value("a"), Some("first"));
}

#[tokio::test]
async fn a_new_place_that_comes_first_takes_effect() {
    let mut bench = Bench::with(&[("b.yaml", &config_map("a", "old"))]).await;
    bench.write("a.yaml", &config_map("a", "new"));
    bench.until(|bench| bench.value("a") == Some("new")).await;
    assert!(bench.has_fault(&["b.yaml document 1", "a.yaml document 1"]), "{:?}", bench.fault_texts());
    fs::remove_file(bench.path("a.yaml")).unwrap();
    bench.until(|bench| bench.value("a") == Some("old")).await;
}

#[tokio::test]
async fn the_first_document_of_a_file_is_in_effect() {
    let mut bench =
        Bench::with(&[("a.yaml", &documents(&[config_map("a", "first"), config_map("a", "second")]))]).await;
    assert_eq!(bench.value("a"), Some("first"));
    assert!(bench.has_fault(&["a.yaml document 2 (ConfigMap default/a)", "document 1 of this file"]));
    bench.write("a.yaml", &config_map("a", "second"));
    bench.until(|bench| bench.value("a") == Some("second")).await;
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
}

#[tokio::test]
async fn of_three_places_each_takes_its_turn() {
    let files = [("a.yaml", "1"), ("b/b.yaml", "2"), ("c.yaml", "3")];
    let texts: Vec<(&str, String)> = files.iter().map(|(path, value)| (*path, config_map("a", value))).collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let mut bench = Bench::with(&texts).await;
    assert_eq!(bench.faults.len(), 2);
    for (path, value) in files {
        bench.until(|bench| bench.value("a") == Some(value)).await;
        fs::remove_file(bench.path(path)).unwrap();
    }
    bench.until(|bench| bench.value("a").is_none()).await;
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
}

#[tokio::test]
async fn thousands_of_places_may_go_at_once() {
    let texts: Vec<(String, String)> = (0..3000).map(|n| (format!("x/{n}.yaml"), config_map("a", "1"))).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut bench = Bench::with(&files).await;
    assert_eq!(bench.faults.len(), 2999);
    fs::remove_dir_all(bench.path("x")).unwrap();
    bench.until(|bench| bench.value("a").is_none()).await;
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
}
