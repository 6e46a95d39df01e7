//! Prints what certificates and names cost: bytes accounted against resident memory.
//!
//! `cargo run --release -p certstore --example weigh [certificates of each kind]`

#[path = "../tests/weight/measure.rs"]
mod measure;

use certstore::KeyKind;
use measure::{Measured, Subject};

/// The gateway's allocator, which serves the TLS library's C code too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SUBJECTS: [Subject; 10] = [
    Subject::Certificates(KeyKind::EcdsaP256),
    Subject::Certificates(KeyKind::EcdsaP384),
    Subject::Certificates(KeyKind::EcdsaP521),
    Subject::Certificates(KeyKind::Ed25519),
    Subject::Certificates(KeyKind::Rsa { bits: 2048 }),
    Subject::Certificates(KeyKind::Rsa { bits: 3072 }),
    Subject::Certificates(KeyKind::Rsa { bits: 4096 }),
    Subject::Certificates(KeyKind::Rsa { bits: 8192 }),
    Subject::Shrunk(KeyKind::EcdsaP256),
    Subject::Names,
];
/// Names in the index.
const NAMES: usize = 100_000;

fn main() {
    if measure::serve(&SUBJECTS) {
        return;
    }
    let certificates = std::env::args().nth(1).map_or(5000, |text| text.parse().expect("the argument is a number"));
    println!("{:<12} {:>8} {:>16} {:>16} {:>6}", "what", "count", "accounted each", "resident each", "ratio");
    for (number, subject) in SUBJECTS.into_iter().enumerate() {
        match subject {
            Subject::Certificates(kind) | Subject::Shrunk(kind) => {
                let Measured { count, accounted, resident } = measure::in_own_process(number, certificates, &[]);
                let (each, real) = (accounted / count, resident / count);
                let ratio = accounted as f64 / resident as f64;
                let what =
                    if matches!(subject, Subject::Shrunk(_)) { format!("{kind}, 1/6") } else { kind.to_string() };
                println!("{what:<12} {count:>8} {each:>14} B {real:>14} B {ratio:>6.2}");
            }
            Subject::Names => {
                let Measured { count, resident, .. } = measure::in_own_process(number, NAMES, &[]);
                println!("{:<12} {count:>8} {:>16} {:>14} B", "name", "", resident / count);
            }
        }
    }
}
