//! The sealed tier: what was loaded once and evicted is served while the source is away, and at no other time.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certstore::testing::{Answer, ScriptedSource, TestCa, TestSecret};
use certstore::{CertError, CertStore, SealedTier, SecretRef, SourceError};
use common::{NAME, eventually, serial, web};
use tempfile::TempDir;

const LIMIT: u64 = 1 << 20;

/// A store that keeps nothing in memory, and a sealed tier.
struct World {
    source: Arc<ScriptedSource>,
    ca: TestCa,
    folder: TempDir,
    store: Arc<CertStore>,
}

impl World {
    fn new() -> Self {
        Self::with(LIMIT)
    }

    fn with(limit: u64) -> Self {
        let (source, folder) = (ScriptedSource::new(), tempfile::tempdir().expect("a directory"));
        let tier = SealedTier::open(folder.path(), limit).expect("it can be written");
        let hour = Duration::from_secs(3600);
        let store = CertStore::builder(source.clone()).budget(0).load_deadline(hour).sealed(tier).build();
        Self { source, ca: TestCa::new(), folder, store }
    }

    /// Puts a Secret into the source and has it loaded once.
    async fn load(&self, secret: &SecretRef, version: &str) -> TestSecret {
        let content = self.ca.issue(&[NAME]).at(version);
        self.source.put(secret, content.clone());
        self.store.certificate(secret, NAME).await.expect("it can be served");
        content
    }

    /// What a handshake gets while the source answers so.
    async fn get(&self, answer: Answer) -> Result<Arc<certstore::Certificate>, CertError> {
        self.source.script(&web(), answer);
        self.store.certificate(&web(), NAME).await
    }

    fn served(&self) -> (u64, u64) {
        let stats = self.store.stats().sealed.expect("there is a tier");
        (stats.served, stats.stale)
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path()).expect("it is a directory");
        files.map(|entry| entry.expect("it can be read").path()).collect()
    }

    /// Waits until there are so many files, none of them half written.
    async fn until_files(&self, count: usize) {
        let is_whole = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "sealed");
        let are_there = || {
            let files = self.files();
            files.len() == count && files.iter().all(is_whole)
        };
        eventually(&format!("there are {count} files"), are_there).await;
    }
}

fn forbidden() -> Answer {
    Answer::error(SourceError::Forbidden)
}

#[tokio::test]
async fn what_was_loaded_once_and_evicted_is_served_while_the_source_is_away() {
    let world = World::new();
    let before = reference(&world.load(&web(), "1").await).await;
    assert!(world.store.cached(&web()).is_none(), "it was evicted");
    for times in 1..=3 {
        let certificate = world.get(Answer::unavailable()).await.unwrap();
        assert_eq!(serial(&certificate), serial(&before));
        assert_eq!(world.served(), (times, 0));
    }
    assert_eq!(world.store.stats().refused, 0);
}

/// The certificate, as another store has it.
async fn reference(content: &TestSecret) -> Arc<certstore::Certificate> {
    let source = ScriptedSource::new();
    source.put(&web(), content.clone());
    CertStore::builder(source).build().certificate(&web(), NAME).await.expect("it can be served")
}

#[tokio::test]
async fn a_source_that_does_not_answer_is_away_long_before_the_deadline() {
    let world = World::new();
    world.load(&web(), "1").await;
    let hour = Duration::from_secs(3600);
    let served = tokio::time::timeout(Duration::from_secs(20), world.get(Answer::unavailable().after(hour)));
    assert!(served.await.expect("the deadline is later").is_ok());
}

#[tokio::test]
async fn a_source_that_says_no_is_believed() {
    for answer in [|| Answer::error(SourceError::NotFound), forbidden] {
        let world = World::new();
        world.load(&web(), "1").await;
        assert!(world.get(answer()).await.is_err());
        assert_eq!(world.served(), (0, 0));
    }
}

#[tokio::test]
async fn where_the_newest_version_cannot_be_served_the_last_good_one_is() {
    for answer in [
        || Answer::error(SourceError::Malformed { reason: "no tls.key".to_owned() }),
        || Answer::error(SourceError::TooLarge { bytes: 2, limit: 1 }),
        || Answer::secret(&TestSecret { key: String::new(), ..TestCa::new().issue(&[NAME]).at("2") }),
    ] {
        let world = World::new();
        let good = world.load(&web(), "1").await;
        world.store.secret_changed(&web(), "2");
        let served = world.get(answer()).await.expect("there is a copy");
        assert_eq!(served.version().map(str::to_owned), good.version.map(|version| version.to_string()));
        assert_eq!(world.served(), (1, 1));
        assert_eq!(world.store.faults().len(), 1);
    }
}

#[tokio::test]
async fn what_is_gone_has_no_copy_any_more_when_the_source_goes_away() {
    for answer in [|| Answer::error(SourceError::NotFound), forbidden] {
        let world = World::new();
        world.load(&web(), "1").await;
        world.until_files(1).await;
        assert!(world.get(answer()).await.is_err());
        world.until_files(0).await;
        world.store.secret_changed(&web(), "1");
        assert!(world.get(Answer::unavailable()).await.is_err());
    }
    let world = World::new();
    world.load(&web(), "1").await;
    world.until_files(1).await;
    world.store.secret_removed(&web());
    assert!(world.get(Answer::unavailable()).await.is_err());
    world.until_files(0).await;
}

#[tokio::test]
async fn a_copy_of_a_secret_that_has_changed_is_served_and_said_to_be_stale() {
    let world = World::new();
    world.load(&web(), "1").await;
    world.store.secret_changed(&web(), "1");
    assert!(world.get(Answer::unavailable()).await.is_ok());
    assert_eq!(world.served(), (1, 0));
    world.store.secret_changed(&web(), "2");
    assert!(world.get(Answer::unavailable()).await.is_ok());
    assert_eq!(world.served(), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_copy_gives_way_to_the_secret_once_the_source_is_back() {
    let world = World::new();
    world.load(&web(), "1").await;
    world.store.set_budget(LIMIT);
    world.get(Answer::unavailable()).await.unwrap();
    let entry = world.store.entries().remove(0);
    assert!(entry.is_copy && !entry.is_stale && entry.last_error.is_some(), "{entry:?}");
    world.source.put(&web(), world.ca.issue(&[NAME]).at("2"));
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        while world.store.entries()[0].is_copy {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    patience.await.unwrap();
    assert_eq!(world.store.cached(&web()).unwrap().version(), Some("2"));
}

#[tokio::test]
async fn files_show_neither_key_nor_certificate_nor_name() {
    let world = World::new();
    let content = world.load(&web(), "1").await;
    world.until_files(1).await;
    let file = world.files().remove(0);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.len() == 39 && name.ends_with(".sealed") && !name.contains("web"), "{name}");
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.len() > content.key.len() + content.chain.len(), "it is all there");
    let lines = content.key.lines().chain(content.chain.lines()).chain([NAME, "shop", "PRIVATE"]);
    for piece in lines.map(|line| &line.as_bytes()[..line.len().min(12)]) {
        assert!(!bytes.windows(piece.len()).any(|window| window == piece), "{}", String::from_utf8_lossy(piece));
    }
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap()) & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_was_changed_is_not_served() {
    let world = World::new();
    world.load(&web(), "1").await;
    world.until_files(1).await;
    let file = world.files().remove(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes[40] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(world.get(Answer::unavailable()).await.is_err());
    world.until_files(0).await;
}

#[tokio::test]
async fn files_of_an_earlier_process_are_deleted_and_others_are_not() {
    let world = World::new();
    world.load(&web(), "1").await;
    world.until_files(1).await;
    fs::write(world.folder.path().join("notes.sealed"), "mine").unwrap();
    let next = SealedTier::open(world.folder.path(), LIMIT).unwrap();
    assert_eq!((next.stats().entries, world.files().len()), (0, 1));
}

#[tokio::test]
async fn the_files_take_no_more_bytes_than_the_limit_and_what_was_used_last_stays() {
    let limit = 8 * 1024;
    let world = World::with(limit);
    for number in 0..40 {
        world.load(&SecretRef::new("shop", number.to_string()), "1").await;
        assert!(world.store.stats().sealed.unwrap().bytes <= limit);
    }
    let entries = usize::try_from(world.store.stats().sealed.unwrap().entries).unwrap();
    assert!((2..20).contains(&entries), "{entries}");
    for (secret, is_there) in [("39", true), ("0", false)] {
        let secret = SecretRef::new("shop", secret);
        world.source.script(&secret, Answer::unavailable());
        assert_eq!(world.store.certificate(&secret, NAME).await.is_ok(), is_there, "{secret}");
    }
    // What was read had its turn after all that was to be written.
    world.until_files(entries).await;
    let bytes: u64 = world.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes <= limit, "{bytes}");
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = SealedTier::open(&file, LIMIT).unwrap_err().to_string();
    assert!(error.contains("file: cannot be used: expected one that this process may create or write"), "{error}");
}

#[tokio::test]
async fn what_the_copies_take_of_memory_is_foretold() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("it can be written");
    let stats = SealedTier::open(folder.path(), LIMIT).expect("it can be written").stats();
    // The files are in memory here, and what is known of them is everywhere.
    let known = stats.memory - LIMIT;
    assert!((LIMIT / 20..LIMIT / 10).contains(&known), "{stats:?}");
}
