//! The script of a run.

use std::time::Duration;

use super::{Action, Arguments, Event, Part, Rng, Spell};

/// The share of a run after which memory is expected to be flat,
const WARM_UP: f64 = 0.2;

/// and the longest that this is.
const LONGEST_WARM_UP: Duration = Duration::from_secs(300);

/// The share at the end in which nothing begins.
const QUIET_END: f64 = 0.08;

/// The kinds of events; each run has each at least once.
const KINDS: usize = 10;

/// From one event to the next, at most.
const LONGEST_SLOT: Duration = Duration::from_secs(60);

/// How long a run warms up.
pub(crate) fn warm_up(duration: Duration) -> Duration {
    duration.mul_f64(WARM_UP).min(LONGEST_WARM_UP)
}

/// All events of a run in the order of their times.
pub(crate) fn schedule(arguments: &Arguments) -> Vec<Event> {
    match arguments.only {
        Some(Part::Burst) => bursts_alone(arguments),
        Some(Part::Traffic) => Vec::new(),
        None => {
            let mut events = slots(arguments);
            events.extend(renewals(arguments));
            events.sort_by_key(|event| event.at);
            events
        }
    }
}

/// One event a slot; all kinds in an order of their own, again and again.
fn slots(arguments: &Arguments) -> Vec<Event> {
    let mut rng = Rng::with_seed(arguments.seed);
    let begin = warm_up(arguments.duration);
    let time = arguments.duration.mul_f64(1.0 - QUIET_END).saturating_sub(begin);
    let longest = (time / 10).min(LONGEST_SLOT);
    let count = KINDS
        * usize::try_from(time.as_millis() / longest.as_millis().max(1)).unwrap_or(KINDS).div_euclid(KINDS).max(1);
    let slot = time.div_f64(count as f64);
    let mut kinds: Vec<usize> = (0..KINDS).collect();
    let mut events = Vec::new();
    for number in 0..count {
        if number % KINDS == 0 {
            rng.shuffle(&mut kinds);
        }
        let at = begin + slot.mul_f64(number as f64 + 0.2 * rng.f64());
        events.extend(of_kind(kinds[number % KINDS], at, slot.mul_f64(0.5), arguments, &mut rng));
    }
    events
}

fn of_kind(kind: usize, at: Duration, lasts: Duration, arguments: &Arguments, rng: &mut Rng) -> Vec<Event> {
    let services = arguments.services as usize;
    let spell = |what| vec![Event { at, action: Action::Spell { what, lasts } }];
    let silence = |how| {
        let answer = Event { at: at + lasts, action: Action::Answer { after: lasts } };
        vec![Event { at, action: Action::Silence { how, lasts } }, answer]
    };
    match kind {
        0 => {
            let count = arguments.burst() as usize;
            vec![Event { at, action: Action::Burst { first: rng.usize(0..=services - count), count } }]
        }
        1 => {
            let count = (services / 10).clamp(1, 1_000);
            vec![Event { at, action: Action::Churn { first: rng.usize(0..=services - count), count } }]
        }
        2 => silence("stalled"),
        3 => silence("refusing"),
        4 => spell(Spell::Scan),
        5 => spell(Spell::Crawl { first: rng.usize(0..services), rate: arguments.rate }),
        6 => spell(Spell::RapidReset),
        7 => spell(Spell::ContinuationFlood),
        8 => spell(Spell::PingFlood),
        _ => spell(Spell::SettingsFlood),
    }
}

/// Renewals of every day: some each second.
fn renewals(arguments: &Arguments) -> Vec<Event> {
    let mut rng = Rng::with_seed(arguments.seed ^ 0x5265_6e65);
    let count = arguments.renewals() as usize;
    let seconds = if count == 0 { 0 } else { arguments.duration.as_secs() };
    let event = |second| Event {
        at: Duration::from_secs(second),
        action: Action::Renew { first: rng.usize(0..=arguments.services as usize - count), count },
    };
    (1..seconds).map(event).collect()
}

/// Certificates of the first services are brought into the cache by a crawl; those of the last ones are renewed in a burst,
/// then these.
fn bursts_alone(arguments: &Arguments) -> Vec<Event> {
    let duration = arguments.duration;
    let (services, count) = (arguments.services as usize, arguments.burst() as usize);
    // The crawl, which goes a little further so that the last one is not missed, comes to none of the others.
    let cached = count.min((services - count) * 4 / 5).max(1);
    let crawled = cached * 11 / 10 + 1;
    let rate = u32::try_from(crawled / usize::try_from((duration / 4).as_secs()).unwrap_or(1).max(1) + 1);
    let rate = rate.unwrap_or(10_000).min(10_000);
    let crawl = Duration::from_secs(1).mul_f64(crawled as f64 / f64::from(rate));
    let last = services - count;
    vec![
        Event {
            at: duration.mul_f64(0.1),
            action: Action::Spell { what: Spell::Crawl { first: 0, rate }, lasts: crawl },
        },
        Event { at: duration.mul_f64(0.5), action: Action::Burst { first: last, count } },
        Event { at: duration.mul_f64(0.75), action: Action::Burst { first: 0, count: cached } },
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn of(line: &str) -> Vec<Event> {
        schedule(&Arguments::parse_from(line.split(' ')))
    }

    #[test]
    fn the_same_seed_makes_the_same_script_and_another_one_another() {
        let [first, again, other] = ["1", "1", "2"].map(|seed| of(&format!("soak --duration 60s --seed {seed}")));
        assert_eq!(first, again);
        assert_ne!(first, other);
    }

    #[test]
    fn short_and_long_runs_have_every_kind_of_event_and_end_quietly() {
        for (duration, seconds) in [("40s", 40.0), ("30m", 1_800.0)] {
            let events = of(&format!("soak --duration {duration}"));
            let has = |wanted: fn(&Action) -> bool| events.iter().any(|event| wanted(&event.action));
            assert!(has(|action| matches!(action, Action::Burst { .. })));
            assert!(has(|action| matches!(action, Action::Churn { .. })));
            for spell in
                [Spell::Scan, Spell::RapidReset, Spell::ContinuationFlood, Spell::PingFlood, Spell::SettingsFlood]
            {
                let found =
                    events.iter().any(|event| matches!(event.action, Action::Spell { what, .. } if what == spell));
                assert!(found, "{duration}: {spell:?}");
            }
            let silences = events.iter().filter(|event| matches!(event.action, Action::Silence { .. })).count();
            let answers = events.iter().filter(|event| matches!(event.action, Action::Answer { .. })).count();
            assert!(silences >= 2 && silences == answers, "{duration}: {silences} and {answers}");
            let busy = events.iter().filter(|event| !matches!(event.action, Action::Renew { .. }));
            assert!(busy.map(|event| event.at.as_secs_f64()).all(|at| at < 0.95 * seconds));
            assert!(events.is_sorted_by_key(|event| event.at));
        }
    }

    #[test]
    fn of_bursts_alone_one_is_of_services_that_were_visited_and_one_of_others() {
        for line in [
            "soak --only burst --services 200 --duration 32s --burst 60",
            "soak --only burst --services 2000 --duration 60s --burst 1000",
            "soak --only burst --services 500 --duration 30m --burst 400",
            "soak --only burst --services 100000 --duration 5m",
        ] {
            let events = of(line);
            let [Action::Spell { what: Spell::Crawl { first: 0, rate }, lasts }, uncached, cached] =
                [0, 1, 2].map(|index| events[index].action.clone())
            else {
                panic!("{events:?}");
            };
            let visited = f64::from(rate) * lasts.as_secs_f64();
            let (Action::Burst { first, .. }, Action::Burst { first: 0, count }) = (uncached, cached) else {
                panic!("{events:?}");
            };
            assert!(count as f64 <= visited && visited <= first as f64, "{line}: {count} {visited} {first}");
            assert!(events[0].at + lasts < events[1].at, "{line}");
        }
    }

    #[test]
    fn events_are_about_services_that_exist() {
        for event in of("soak --services 50 --duration 10m --burst 50") {
            if let Action::Burst { first, count } | Action::Churn { first, count } | Action::Renew { first, count } =
                event.action
            {
                assert!(first + count <= 50, "{event:?}");
            }
        }
    }
}
