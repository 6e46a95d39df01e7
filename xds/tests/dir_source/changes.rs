//! What is seen of changes.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use xds::ObjectKind;

use crate::dir_support::{Bench, config_map, documents, key};

#[tokio::test]
async fn an_edit_in_place_is_seen() {
    let mut bench = Bench::with(&[("a.yaml", &config_map("a", "1"))]).await;
    bench.write("a.yaml", &config_map("a", "2"));
    bench.until(|bench| bench.value("a") == Some("2")).await;
}

#[tokio::test]
async fn an_atomic_rename_is_seen() {
    let mut bench = Bench::with(&[("a.yaml", &config_map("a", "1"))]).await;
    bench.replace("a.yaml", &config_map("a", "2"));
    bench.until(|bench| bench.value("a") == Some("2")).await;
}

#[tokio::test]
async fn a_file_that_is_still_written_is_not_read() {
    let mut bench = Bench::with(&[("a.yaml", &config_map("a", "1"))]).await;
    let mut file = fs::File::create(bench.path("a.yaml")).unwrap();
    // Valid so far, but not what is meant.
    file.write_all(config_map("a", "half").as_bytes()).unwrap();
    bench.settle().await;
    assert_eq!(bench.value("a"), Some("1"));
    file.write_all(b"  more: x\n").unwrap();
    drop(file);
    bench.until(|bench| bench.value("a") == Some("half")).await;
    assert_eq!(bench.names_said(), ["+a"]);
}

#[tokio::test]
async fn one_changed_document_is_said_alone() {
    let of = |b: &str| documents(&[config_map("a", "1"), config_map("b", b), config_map("c", "1")]);
    let mut bench = Bench::with(&[("a.yaml", &of("1"))]).await;
    bench.write("a.yaml", &of("22222"));
    bench.until(|bench| bench.value("b") == Some("22222")).await;
    bench.settle().await;
    assert_eq!(bench.names_said(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rewrite_of_the_same_content_says_nothing() {
    let mut bench = Bench::with(&[("a.yaml", &config_map("a", "1")), ("b.yaml", &config_map("b", "1"))]).await;
    bench.write("a.yaml", &config_map("a", "1"));
    bench.replace("b.yaml", &config_map("b", "1"));
    bench.settle().await;
    assert_eq!(bench.names_said(), Vec::<String>::new());
}

#[tokio::test]
async fn a_deleted_file_and_a_deleted_document_take_their_objects_away() {
    let both = documents(&[config_map("a", "1"), config_map("b", "1")]);
    let mut bench = Bench::with(&[("a.yaml", &both), ("c.yaml", &config_map("c", "1"))]).await;
    bench.write("a.yaml", &config_map("b", "1"));
    bench.until(|bench| bench.value("a").is_none()).await;
    fs::remove_file(bench.path("c.yaml")).unwrap();
    bench.until(|bench| bench.value("c").is_none()).await;
    assert_eq!(bench.value("b"), Some("1"));
}

#[tokio::test]
async fn a_renamed_file_keeps_its_objects() {
    let mut bench = Bench::with(&[("a.yaml", &config_map("a", "1"))]).await;
    fs::rename(bench.path("a.yaml"), bench.path("b.yaml")).unwrap();
    bench.settle().await;
    assert_eq!(bench.value("a"), Some("1"));
    bench.write("b.yaml", &config_map("a", "2"));
    bench.until(|bench| bench.value("a") == Some("2")).await;
}

#[tokio::test]
async fn new_folders_are_followed_and_deleted_ones_forgotten() {
    let mut bench = Bench::with(&[]).await;
    bench.write("x/y/a.yaml", &config_map("a", "1"));
    bench.until(|bench| bench.value("a") == Some("1")).await;
    bench.write("x/y/a.yaml", &config_map("a", "2"));
    bench.until(|bench| bench.value("a") == Some("2")).await;
    fs::remove_dir_all(bench.path("x")).unwrap();
    bench.until(|bench| bench.value("a").is_none()).await;
    bench.write("x/y/a.yaml", &config_map("a", "3"));
    bench.until(|bench| bench.value("a") == Some("3")).await;
    bench.write("x/y/a.yaml", &config_map("a", "4"));
    bench.until(|bench| bench.value("a") == Some("4")).await;
}

#[tokio::test]
async fn a_renamed_folder_is_followed_under_its_new_name() {
    let mut bench = Bench::with(&[("z/a.yaml", &config_map("a", "1"))]).await;
    fs::rename(bench.path("z"), bench.path("b")).unwrap();
    bench.settle().await;
    assert_eq!(bench.value("a"), Some("1"));
    bench.write("b/a.yaml", &config_map("a", "2"));
    bench.until(|bench| bench.value("a") == Some("2")).await;
}

#[tokio::test]
async fn the_swap_of_a_mounted_volume_is_seen() {
    let mut bench = Bench::with(&[]).await;
    let mount = bench.path("mount");
    let version = |n: u32, value: &str| {
        let dir = mount.join(format!("..2026_{n}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("a.yaml"), config_map("a", value)).unwrap();
        symlink(format!("..2026_{n}"), mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    version(1, "1");
    symlink("..data/a.yaml", mount.join("a.yaml")).unwrap();
    bench.until(|bench| bench.value("a") == Some("1")).await;
    for n in 2..5 {
        version(n, &n.to_string());
        fs::remove_dir_all(mount.join(format!("..2026_{}", n - 1))).unwrap();
        bench.until(|bench| bench.value("a") == Some(n.to_string().as_str())).await;
    }
    assert_eq!(bench.state.len(), 1);
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
}

#[tokio::test]
async fn an_edit_behind_a_symbolic_link_is_seen() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("a.yaml"), config_map("a", "1")).unwrap();
    let mut bench = Bench::with(&[]).await;
    symlink(elsewhere.path().join("a.yaml"), bench.path("link.yaml")).unwrap();
    bench.until(|bench| bench.value("a") == Some("1")).await;
    fs::write(elsewhere.path().join("a.yaml"), config_map("a", "2")).unwrap();
    bench.until(|bench| bench.value("a") == Some("2")).await;
    fs::remove_file(bench.path("link.yaml")).unwrap();
    bench.until(|bench| bench.value("a").is_none()).await;
}

#[tokio::test]
async fn a_burst_of_edits_is_said_with_its_last_state() {
    let mut bench = Bench::with(&[("a.yaml", &config_map("a", "0"))]).await;
    for n in 1..=200 {
        bench.replace("a.yaml", &config_map("a", &n.to_string()));
    }
    bench.until(|bench| bench.value("a") == Some("200")).await;
    assert!(bench.said.len() < 50, "{} events for one burst", bench.said.len());
}

#[tokio::test]
async fn a_root_that_is_gone_keeps_everything_until_it_is_back() {
    let mut bench = Bench::with(&[("a.yaml", &config_map("a", "1")), ("x/b.yaml", &config_map("b", "1"))]).await;
    let root = bench.dir.path().to_owned();
    let aside = root.with_extension("aside");
    fs::rename(&root, &aside).unwrap();
    bench.until(|bench| bench.has_fault(&["is gone"])).await;
    assert_eq!((bench.value("a"), bench.value("b")), (Some("1"), Some("1")));
    bench.write("a.yaml", &config_map("a", "2"));
    bench.until(|bench| bench.value("a") == Some("2") && bench.value("b").is_none()).await;
    assert!(bench.faults.is_empty(), "{:?}", bench.fault_texts());
    bench.write("a.yaml", &config_map("a", "3"));
    bench.until(|bench| bench.value("a") == Some("3")).await;
    fs::remove_dir_all(aside).unwrap();
}

#[tokio::test]
async fn dropping_the_future_loses_nothing() {
    let mut bench = Bench::with(&[]).await;
    bench.write("a.yaml", &config_map("a", "1"));
    for _ in 0..50 {
        let next = bench.source.next();
        drop(tokio::time::timeout(std::time::Duration::ZERO, next).await.map(|events| assert_eq!(events.len(), 1)));
    }
    bench.write("b.yaml", &config_map("b", "1"));
    bench.until(|bench| bench.state.contains_key(&key(ObjectKind::ConfigMap, "b"))).await;
}

#[tokio::test]
async fn an_edit_of_one_of_a_thousand_files_reads_that_file_alone() {
    let texts: Vec<(String, String)> =
        (0..1000).map(|n| (format!("{}/m{n}.yaml", n % 10), config_map(&format!("m{n}"), "1"))).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut bench = Bench::with(&files).await;
    let before = bench.source.stats();
    assert_eq!((before.files, before.objects, before.file_reads), (1000, 1000, 1000));
    bench.write("7/m507.yaml", &config_map("m507", "2"));
    bench.until(|bench| bench.value("m507") == Some("2")).await;
    assert_eq!(bench.names_said(), ["+m507"]);
    assert_eq!(bench.source.stats().file_reads, 1001);
    assert_eq!(bench.source.stats().rescans, 0);
}

#[tokio::test]
async fn the_swap_of_one_volume_reads_that_volume_alone() {
    let texts: Vec<(String, String)> =
        (0..50).map(|n| (format!("{n}/..data/a.yaml"), config_map(&format!("m{n}"), "1"))).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut bench = Bench::with(&files).await;
    (0..50).for_each(|n| symlink("..data/a.yaml", bench.path(&format!("{n}/a.yaml"))).unwrap());
    bench.until(|bench| bench.state.len() == 50).await;
    bench.settle().await;
    let before = bench.source.stats().file_reads;
    bench.write("7/..new/a.yaml", &config_map("m7", "2"));
    fs::rename(bench.path("7/..data"), bench.path("7/..old")).unwrap();
    fs::rename(bench.path("7/..new"), bench.path("7/..data")).unwrap();
    bench.until(|bench| bench.value("m7") == Some("2")).await;
    assert!(bench.source.stats().file_reads - before <= 2);
    assert_eq!(bench.source.stats().rescans, 0);
}
