//! No part of a private key is in what the crate prints, logs or reports.

mod common;

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use certstore::testing::{KeyEncoding, ScriptedSource, TestCa, TestSecret};
use certstore::{CertStore, KeyKind, inspect};
use common::{NAME, web};

/// Shorter pieces of base64 occur by chance.
const PIECE: usize = 12;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether any piece of the key's text is in `output`.
fn leaks(output: &str, key: &str) -> bool {
    let lines = key.lines().filter(|line| !line.starts_with("-----") && line.len() >= PIECE);
    lines
        .flat_map(|line| line.as_bytes().windows(PIECE))
        .any(|piece| std::str::from_utf8(piece).is_ok_and(|piece| output.contains(piece)))
}

/// The ways in which users break a key.
fn broken(good: &TestSecret) -> Vec<TestSecret> {
    let with = |key: String| TestSecret { key, ..good.clone() };
    vec![
        with(good.key.replace('\n', "")),
        with(good.key.replace('\n', " ")),
        with(good.key.replace("-----END", "----END")),
        with(good.key.replace("-----\n", "--\n")),
        with(good.key.replacen('A', "!", 1)),
        with(good.key.chars().take(good.key.len() / 2).collect()),
        with(good.key.lines().filter(|line| !line.starts_with('-')).collect()),
        TestSecret { chain: good.key.clone(), ..good.clone() },
        TestSecret { chain: format!("{}{}", good.key, good.chain), ..good.clone() },
        TestSecret { chain: good.key.replace("PRIVATE KEY", "CERTIFICATE"), ..good.clone() },
        TestSecret { chain: good.key.replace('\n', ""), ..good.clone() },
    ]
}

#[test]
fn the_search_finds_a_key_that_is_printed() {
    let key = TestCa::new().issue(&[NAME]).key;
    assert!(leaks(&key, &key));
    assert!(leaks(&key.replace('\n', ""), &key));
}

#[tokio::test]
async fn no_key_is_in_any_log_error_or_debug_text() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let ca = TestCa::new();
    for (kind, encoding) in [
        (KeyKind::EcdsaP256, KeyEncoding::Pkcs8),
        (KeyKind::EcdsaP384, KeyEncoding::Sec1),
        (KeyKind::Rsa { bits: 2048 }, KeyEncoding::Pkcs1),
    ] {
        let good = ca.leaf(&[NAME]).key(kind).encoding(encoding).issue();
        let mut printed = drive(&good).await;
        for content in broken(&good) {
            let result = inspect(&web(), &content.data(), &["other.test"]);
            write!(printed, "{result:?} {:?}", content.data().private_key).unwrap();
            printed += &drive(&content).await;
        }
        let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(logged.contains("refused secret"), "nothing was logged");
        assert!(!leaks(&logged, &good.key), "a {kind} key was logged");
        assert!(!leaks(&printed, &good.key), "a {kind} key was printed");
    }
}

/// Lets a store load and reload the Secret, and prints all that can be printed of it.
async fn drive(content: &TestSecret) -> String {
    let source = ScriptedSource::new();
    source.put(&web(), content.clone().at("1"));
    let store = CertStore::builder(source.clone()).build();
    let mut printed = match store.certificate(&web(), "other.test").await {
        Ok(certificate) => format!("{certificate:?} {:?} {:?}", certificate.details(), certificate.certified_key().key),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error} {error:?} {cause:?}")
        }
    };
    store.secret_changed(&web(), "2");
    common::eventually("the reload is over", || store.stats().loads_in_flight == 0).await;
    write!(printed, "{store:?} {:?} {:?}", store.entries(), store.refusals())
        .expect("writing to a String does not fail");
    printed
}
