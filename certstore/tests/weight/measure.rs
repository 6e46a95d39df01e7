//! Fills stores and indexes, and takes down what the process grows by: each figure in a process of its own, since what
//! an earlier one freed would be used again.

use std::ops::Range;
use std::process::Command;
use std::sync::Arc;

use certstore::testing::{ScriptedSource, TestCa, TestSecret};
use certstore::{CertStore, KeyKind, SecretRef, SniPattern, TlsBinding, TlsIndex};
use rustls::SignatureScheme;

/// Different certificates; the rest of a store are further copies of them, which share nothing either.
const DISTINCT: usize = 8;
/// Loaded before the first figure is taken, so that what is set up once is not counted.
const WARM_UP: usize = 200;
/// Tells a child what to measure.
const SUBJECT: &str = "CERTSTORE_WEIGH";
/// Stands before a child's figures.
const FIGURES: &str = "figures:";

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject {
    Certificates(KeyKind),
    /// What is left when the budget becomes a sixth, after it was moved together.
    Shrunk(KeyKind),
    Names,
}

/// What so many of a subject cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) count: u64,
    /// Bytes the store accounts; 0 for names.
    pub(crate) accounted: u64,
    /// Bytes that the process has grown by.
    pub(crate) resident: u64,
}

/// Measures in a process of its own: this program, run with `arguments`, which must call [`serve`] first.
pub(crate) fn in_own_process(subject: usize, count: usize, arguments: &[&str]) -> Measured {
    let program = std::env::current_exe().expect("the program knows its own path");
    let child = Command::new(program)
        .args(arguments)
        .env(SUBJECT, format!("{subject} {count}"))
        // Freed memory goes back at once, so that what is resident is what is in use.
        // And what a thread frees is not what it uses next: what is moved together would go where it comes from.
        .env("MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0,tcache:false")
        .output()
        .expect("a program can run itself");
    let output = String::from_utf8_lossy(&child.stdout).into_owned();
    let figures = output.split(FIGURES).nth(1).unwrap_or_else(|| panic!("no figures in {child:?}"));
    let mut figures = figures.split_whitespace().map_while(|word| word.parse().ok());
    let mut next = || figures.next().expect("a child prints three figures");
    Measured { count: next(), accounted: next(), resident: next() }
}

/// In a child, measures what it was told to and says true.
pub(crate) fn serve(subjects: &[Subject]) -> bool {
    let Ok(order) = std::env::var(SUBJECT) else { return false };
    let mut words = order.split(' ').map(|word| word.parse::<usize>().expect("an order is two numbers"));
    let mut next = || words.next().expect("an order is two numbers");
    let (subject, count) = (subjects[next()], next());
    let Measured { count, accounted, resident } = match subject {
        Subject::Certificates(kind) => certificates(kind, count, false),
        Subject::Shrunk(kind) => certificates(kind, count, true),
        Subject::Names => names(count),
    };
    println!("{FIGURES} {count} {accounted} {resident} ");
    true
}

/// Fills a store with certificates, each of which has signed once; perhaps every sixth of them stays.
fn certificates(kind: KeyKind, count: usize, is_shrunk: bool) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be built");
    let ca = TestCa::with_intermediate();
    let secrets: Vec<TestSecret> = (0..DISTINCT)
        .map(|number| ca.leaf(&[&format!("service-{number}.namespace.example.test")]).key(kind).issue())
        .collect();
    let source = ScriptedSource::new();
    let store = CertStore::builder(source.clone()).budget(1 << 32).build();
    runtime.block_on(async {
        load(&store, &source, &secrets, 0..WARM_UP).await;
        let (before, resident) = (store.stats(), resident_bytes());
        load(&store, &source, &secrets, WARM_UP..WARM_UP + count).await;
        if is_shrunk {
            shrink(&store, count);
        }
        let resident = resident_bytes().saturating_sub(resident);
        let after = store.stats();
        let accounted = after.bytes.saturating_sub(before.bytes);
        Measured { count: after.entries.saturating_sub(before.entries), accounted, resident }
    })
}

/// Leaves room for a sixth of the certificates: every sixth, which was used more than once.
fn shrink(store: &Arc<CertStore>, count: usize) {
    let stats = store.stats();
    for number in (0..WARM_UP + count).step_by(6) {
        store.cached(&secret(number)).expect("it is cached");
    }
    // An eighth is headroom.
    store.set_budget(stats.bytes / 6 * 8 / 7 + 1000);
    let store = Arc::clone(store);
    let gather = std::thread::spawn(move || store.gather(|| true));
    let moved = gather.join().expect("it moves what there is");
    assert!(moved > (WARM_UP + count) / 7, "{moved} were moved");
}

fn secret(number: usize) -> SecretRef {
    SecretRef::new("namespace", format!("route-{number:08}"))
}

async fn load(store: &CertStore, source: &ScriptedSource, secrets: &[TestSecret], numbers: Range<usize>) {
    let schemes = [
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::ED25519,
    ];
    for number in numbers {
        let secret = secret(number);
        source.put(&secret, secrets[number % secrets.len()].clone().at("123456789"));
        let certificate =
            store.certificate(&secret, "service-0.namespace.example.test").await.expect("it can be served");
        source.forget(&secret);
        let signer = certificate.certified_key().key.choose_scheme(&schemes).expect("one of the schemes is the key's");
        signer.sign(b"transcript").expect("the key signs");
    }
}

/// Binds names, each to a Secret of its own; the texts, which the index shares with others, are not counted.
fn names(count: usize) -> Measured {
    let mut index = TlsIndex::default();
    let texts: Vec<(SniPattern, SecretRef)> = (0..count)
        .map(|number| {
            let name = format!("service-{number:06}.namespace.example.test");
            let secret = SecretRef::new("namespace", format!("route-{number:08}"));
            (SniPattern::try_from(name.as_str()).expect("it is a host name"), secret)
        })
        .collect();
    let resident = resident_bytes();
    for (pattern, secret) in texts.iter().cloned() {
        index.insert(pattern, TlsBinding { secret, policy: 0_u8 });
    }
    let resident = resident_bytes().saturating_sub(resident);
    Measured { count: index.len() as u64, accounted: 0, resident }
}

/// What the process occupies, from `/proc/self/statm`.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second field is RSS");
    pages * 4096
}
