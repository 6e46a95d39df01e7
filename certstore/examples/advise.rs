//! Prints what a lookup of a cached certificate costs, and which part of it advice takes.
//!
//! `cargo run --release -p certstore --example advise [names]`

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use certstore::advice::Advisor;
use certstore::testing::{ScriptedSource, TestCa};
use certstore::{CertStore, SecretRef};

/// Lookups for one figure.
const LOOKUPS: usize = 2_000_000;
/// CPU of a full TLS 1.3 handshake (`bench handshake`).
const HANDSHAKE_NANOS: f64 = 177_000.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let names = std::env::args().nth(1).map_or(Ok(1000), |text| text.parse())?;
    let (source, content) = (ScriptedSource::new(), TestCa::new().issue(&["web.shop.test"]));
    let secrets: Vec<_> = (0..names).map(|name| SecretRef::new("shop", format!("s{name}"))).collect();
    let store = CertStore::builder(source.clone()).budget(1 << 30).build();
    for secret in &secrets {
        source.put(secret, content.clone());
        store.certificate(secret, "web.shop.test").await?;
    }
    println!("{names} names, {LOOKUPS} lookups each");
    let began = Instant::now();
    for secret in secrets.iter().cycle().take(LOOKUPS) {
        black_box(store.certificate(secret, "web.shop.test").await?);
    }
    report("cached lookup, advice included", began);

    let advisor = Advisor::new(1 << 30, 0);
    let bytes = store.certificate(&secrets[0], "web.shop.test").await?.bytes();
    let began = Instant::now();
    for secret in secrets.iter().cycle().take(LOOKUPS) {
        advisor.refer(black_box(secret), bytes);
    }
    report(&format!("advice, {} of the names in the sample", advisor.advice().sampled), began);

    // So many that few are in the sample.
    (0..400_000).for_each(|name| advisor.refer(&SecretRef::new("other", format!("s{name}")), bytes));
    let began = Instant::now();
    for secret in secrets.iter().cycle().take(LOOKUPS) {
        advisor.refer(black_box(secret), bytes);
    }
    let advice = advisor.advice();
    report(&format!("advice, {} of the names in the sample", advice.sampled), began);
    println!("advice takes {} bytes", advice.bytes);
    Ok(())
}

fn report(what: &str, began: Instant) {
    let each = began.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64;
    println!("{what:<48} {each:>7.0} ns, {:.2} % of a handshake", each / HANDSHAKE_NANOS * 100.0);
}
