//! What is simulated in miniature is what full caches of each size do, to two points; and what the store itself measures.

#[path = "../common/mod.rs"]
mod common;
mod full;
mod trace;

use std::time::Duration;

use certstore::advice::{Advice, Advisor, SHARES};
use certstore::testing::{ScriptedSource, TestCa};
use certstore::{CertStore, SecretRef};
use common::NAME;
use full::Full;
use trace::{Kind, Trace};

/// The largest error of a hit ratio that is let pass.
const POINTS: f64 = 0.02;

/// Long enough that nothing fades.
const NEVER: Duration = Duration::from_secs(1_000_000_000);

/// Plays a trace to full caches of all sizes and to the advisor of the middle one.
fn play(trace: &Trace, budget: u64) -> (Full, Advice) {
    let advisor = Advisor::new(budget, 0).seeded(7).half_life(NEVER);
    let mut full = Full::new(budget);
    let secrets: Vec<_> = (0..trace.names).map(|name| SecretRef::new("shop", format!("s{name}"))).collect();
    for name in trace.references() {
        if !full.refer(name) {
            advisor.missed(Duration::from_millis(3));
        }
        advisor.refer(&secrets[name], full::weight(name));
    }
    advisor.fold(full.found());
    let advice = advisor.advice();
    (full, advice)
}

fn assert_close(what: &str, full: &Full, advice: &Advice) {
    let real = full.hit_ratios();
    let told: Vec<_> = advice.sizes.iter().map(|size| size.hit_ratio).collect();
    let report = format!("{what}: real {real:.4?}, told {told:.4?}, of {} names", advice.sampled);
    println!("{report}");
    assert_eq!(told.len(), SHARES.len());
    for (real, told) in real.iter().zip(&told) {
        assert!((real - told).abs() <= POINTS, "{report}");
    }
    assert!(advice.error.is_some_and(|error| error.abs() <= POINTS), "{report}: {:?}", advice.error);
    assert!(advice.bytes < 1024 * 1024, "{} bytes", advice.bytes);
}

/// Few names, all of which are simulated, and many, of which a sample is.
fn both(kind: Kind) {
    // A weight is 4,000 bytes on average: at first 300 certificates fit, then 3,000.
    for (names, budget, references, most) in [(3_000, 1_200_000, 30_000, 1.0), (30_000, 12_000_000, 60_000, 0.5)] {
        let trace = Trace { kind, names, references, seed: 11 };
        let (full, advice) = play(&trace, budget);
        assert_close(&format!("{kind:?} of {names} names"), &full, &advice);
        assert!(advice.sampled <= most, "{} of the names are in the sample", advice.sampled);
    }
}

#[test]
fn it_agrees_with_full_caches_where_a_few_names_are_asked_for_most() {
    both(Kind::Zipf);
}

#[test]
fn it_agrees_with_full_caches_while_somebody_asks_for_all_names_in_turn() {
    both(Kind::Scan);
}

#[test]
fn it_agrees_with_full_caches_while_names_come_and_go() {
    both(Kind::Churn);
}

#[test]
fn it_agrees_with_full_caches_through_a_daily_cycle() {
    both(Kind::Daily);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_long_ago_is_forgotten() {
    let advisor = Advisor::new(1_000_000, 0).seeded(7).half_life(Duration::from_secs(60));
    let ask = |names: std::ops::Range<usize>, times: usize| {
        for name in names.cycle().take(times) {
            advisor.refer(&SecretRef::new("shop", format!("s{name}")), 10_000);
        }
    };
    // A thousand names in turn: no cache of these sizes keeps any of them.
    ask(0..1000, 10_000);
    advisor.fold(10_000);
    assert!(advisor.advice().sizes[3].hit_ratio < 0.2);
    // An hour later a few names, which all of them hold.
    for minute in 1..=60 {
        tokio::time::advance(Duration::from_secs(60)).await;
        ask(0..5, 1000);
        advisor.fold(10_000 + minute * 1000);
    }
    let advice = advisor.advice();
    assert!(advice.sizes.iter().all(|size| size.hit_ratio > 0.98), "{advice:?}");
    assert!(advice.references < 3000.0, "{advice:?}");
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_followed_when_it_lasts() {
    let advisor = Advisor::new(1_000_000, 0);
    let budget = || {
        advisor.fold(0);
        advisor.advice().budget
    };
    advisor.set_budget(2_000_000);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(budget(), 1_000_000);
    advisor.set_budget(1_000_000);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(budget(), 1_000_000);
    advisor.set_budget(2_000_000);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(budget(), 2_000_000);
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_of_a_size_stays_when_the_budget_changes() {
    let advisor = Advisor::new(100_000, 0);
    let mut found = 0;
    let mut ask = |advisor: &Advisor| {
        // Ten times 200 names of 1,000 bytes: they fit into twice the budget.
        for number in 0..2_000 {
            advisor.refer(&SecretRef::new("shop", format!("s{}", number % 200)), 1_000);
        }
        found += 2_000;
        advisor.fold(found);
    };
    ask(&advisor);
    let ratio = |advice: &Advice, budget: u64| {
        advice.sizes.iter().find(|size| size.budget == budget).map(|size| size.hit_ratio)
    };
    let before = advisor.advice();
    advisor.set_budget(200_000);
    tokio::time::advance(Duration::from_secs(61)).await;
    advisor.fold(2_000);
    let after = advisor.advice();
    assert_eq!((after.budget, after.sizes.len()), (200_000, 6), "{after:?}");
    assert!(after.counted >= Duration::from_secs(61));
    for budget in [25_000, 50_000, 100_000, 200_000, 400_000, 800_000] {
        let (before, after) = (ratio(&before, budget).expect("was told"), ratio(&after, budget).expect("is told"));
        assert!((before - after).abs() < 1e-9, "{budget}: {before}, then {after}");
    }
    assert_eq!((ratio(&after, 1_600_000), after.measured_hit_ratio), (None, None));
    // Nothing was known of these sizes.
    advisor.set_budget(300_000);
    tokio::time::advance(Duration::from_secs(61)).await;
    advisor.fold(2_000);
    let anew = advisor.advice();
    assert!(anew.sizes.is_empty() && anew.counted.is_zero(), "{anew:?}");
    ask(&advisor);
    assert_eq!(advisor.advice().sizes.len(), 7);
}

#[test]
fn waits_for_certificates_are_foretold_from_what_misses_cost() {
    let trace = Trace { kind: Kind::Zipf, names: 3_000, references: 40_000, seed: 3 };
    let (_, advice) = play(&trace, 1_200_000);
    let mean = advice.miss_mean.expect("there were misses");
    assert!((2900..3100).contains(&mean.as_micros()), "{mean:?}");
    for size in &advice.sizes {
        let waits = !size.certificate_p99.is_zero();
        assert_eq!(waits, size.hit_ratio < 0.99, "{size:?}");
    }
}

#[tokio::test]
async fn what_the_store_measures_is_what_it_simulates() {
    let source = ScriptedSource::new();
    let content = TestCa::new().issue(&[NAME]);
    let trace = Trace { kind: Kind::Zipf, names: 400, references: 6_000, seed: 5 };
    let secrets: Vec<_> = (0..trace.names).map(|name| SecretRef::new("shop", format!("s{name}"))).collect();
    for secret in &secrets {
        source.put(secret, content.clone());
    }
    let store = CertStore::builder(source.clone()).budget(150_000).build();
    for name in trace.references() {
        store.certificate(&secrets[name], NAME).await.expect("it can be served");
    }
    let (advice, stats) = (store.advice(), store.stats());
    let measured = stats.hits as f64 / (stats.hits + stats.misses) as f64;
    println!("measured {measured}, {advice:?}");
    assert!(advice.measured_hit_ratio.is_some_and(|ratio| (ratio - measured).abs() < 0.001), "{advice:?}");
    assert!((0.1..0.9).contains(&measured), "{measured}");
    assert!(advice.error.is_some_and(|error| error.abs() <= POINTS), "{advice:?}");
    assert!(advice.miss_mean.is_some_and(|mean| !mean.is_zero()), "{advice:?}");
    assert_eq!((advice.budget, advice.dropped), (150_000, 0));
}
