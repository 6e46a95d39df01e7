use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn stages() -> Stages {
    Stages::parse(
        "
name: ready
kind: pods
selector: {matchExpressions: [{key: /status/phase, operator: In, values: [Pending]}]}
delay: {durationMilliseconds: 2000, jitterMilliseconds: 3000}
next: {status: {phase: Running}}
---
name: ends
kind: pods
selector: {matchExpressions: [{key: /status/phase, operator: In, values: [Running]}]}
delay: {durationMilliseconds: 500}
next: {delete: true}
---
name: ends-late
kind: pods
selector: {matchExpressions: [{key: /status/phase, operator: In, values: [Running]}]}
weight: 0
next: {delete: true}
",
    )
    .unwrap()
}

fn pod(phase: &str, noise: u64) -> Value {
    json!({"metadata": {"annotations": {"noise": noise}}, "status": {"phase": phase}})
}

#[test]
fn a_stage_fires_at_its_time_whatever_events_arrive_meanwhile() {
    // A property, tried with many arrivals: repeated, changed in what no stage looks at, in bursts, and right before the time.
    for seed in 0..500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let key: Key = format!("ns/pod-{seed}").into();
        let mut schedule = Schedule::new(&stages(), seed);
        schedule.observe(SECOND, Kind::Pod, &key, Some(&pod("Pending", 0)));
        let due = schedule.next_due().unwrap();
        assert!((3 * SECOND..=6 * SECOND).contains(&due));
        for _ in 0..random.usize(0..40) {
            let at = SECOND + due.saturating_sub(SECOND).mul_f64(random.f64());
            schedule.observe(at, Kind::Pod, &key, Some(&pod("Pending", random.u64(0..3))));
            assert_eq!(schedule.take_due(at.min(due.saturating_sub(Duration::from_nanos(1)))), None);
        }
        let (_, fired, stage) = schedule.take_due(due).unwrap();
        assert_eq!((fired, stage.name.as_str()), (key, "ready"));
        assert_eq!(schedule.take_due(due), None);
    }
}

#[test]
fn a_stage_that_no_longer_matches_gives_way_to_the_one_that_does() {
    let key: Key = "ns/pod".into();
    let mut schedule = Schedule::new(&stages(), 1);
    schedule.observe(SECOND, Kind::Pod, &key, Some(&pod("Pending", 0)));
    schedule.observe(SECOND, Kind::Pod, &key, Some(&pod("Running", 0)));
    assert_eq!(schedule.next_due(), Some(SECOND + SECOND / 2));
    assert_eq!(schedule.take_due(2 * SECOND).unwrap().2.name, "ends");
    assert_eq!(schedule.next_due(), None);
}

#[test]
fn nothing_happens_to_an_object_that_is_gone_or_matches_nothing() {
    let key: Key = "ns/pod".into();
    let mut schedule = Schedule::new(&stages(), 1);
    schedule.observe(SECOND, Kind::Pod, &key, Some(&pod("Pending", 0)));
    schedule.observe(SECOND, Kind::Pod, &key, None);
    assert_eq!(schedule.next_due(), None);
    schedule.observe(SECOND, Kind::Pod, &key, Some(&pod("Failed", 0)));
    assert_eq!(schedule.next_due(), None);
}

#[test]
fn the_same_seed_gives_the_same_times() {
    let times = |seed| {
        let mut schedule = Schedule::new(&stages(), seed);
        let mut times = Vec::new();
        for number in 0..50 {
            schedule.observe(SECOND, Kind::Pod, &format!("ns/pod-{number}").into(), Some(&pod("Pending", 0)));
        }
        while let Some(at) = schedule.next_due() {
            times.push((at, schedule.take_due(at).unwrap().1));
        }
        times
    };
    assert_eq!(times(7), times(7));
    assert_ne!(times(7), times(8));
}
