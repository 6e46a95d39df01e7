//! What the store accounts is what certificates take, with the gateway's allocator.

mod measure;

use certstore::KeyKind;
use measure::{Measured, Subject};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SUBJECTS: [Subject; 6] = [
    Subject::Certificates(KeyKind::EcdsaP256),
    Subject::Certificates(KeyKind::EcdsaP384),
    Subject::Certificates(KeyKind::Rsa { bits: 2048 }),
    Subject::Names,
    Subject::Shrunk(KeyKind::EcdsaP256),
    Subject::Shrunk(KeyKind::Rsa { bits: 2048 }),
];

#[test]
fn accounted_bytes_are_resident_bytes_within_a_fifth() {
    let arguments = ["--exact", "accounted_bytes_are_resident_bytes_within_a_fifth", "--nocapture"];
    if measure::serve(&SUBJECTS) {
        return;
    }
    for (subject, what) in SUBJECTS.iter().enumerate().take(3) {
        let measured = measure::in_own_process(subject, 3000, &arguments);
        let ratio = measured.accounted as f64 / measured.resident as f64;
        assert!((0.8..=1.15).contains(&ratio), "{what:?}: {ratio:.2} of what is resident is accounted: {measured:?}");
    }
}

#[test]
fn a_name_costs_about_a_hundred_bytes() {
    let arguments = ["--exact", "a_name_costs_about_a_hundred_bytes", "--nocapture"];
    if measure::serve(&SUBJECTS) {
        return;
    }
    let Measured { count, resident, .. } = measure::in_own_process(3, 50_000, &arguments);
    assert!(resident / count < 150, "{} bytes a name", resident / count);
}

#[test]
fn memory_follows_the_budget_downwards() {
    let arguments = ["--exact", "memory_follows_the_budget_downwards", "--nocapture"];
    if measure::serve(&SUBJECTS) {
        return;
    }
    for subject in [4, 5] {
        let what = SUBJECTS[subject];
        let Measured { accounted, resident, .. } = measure::in_own_process(subject, 6000, &arguments);
        println!("{what:?}: {accounted} bytes accounted, {resident} resident");
        // Left where they were, they would hold most pages of six times as many.
        assert!(resident < accounted * 2 + (2 << 20), "{what:?}: {resident} resident, {accounted} accounted");
    }
}
