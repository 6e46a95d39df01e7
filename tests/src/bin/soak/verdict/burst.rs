//! What renewing many certificates at once cost.

use serde::Serialize;

use super::{Check, MIB, highest, mean, mebibytes};
use crate::sample::Sample;
use crate::script::Happened;

/// A burst is over for memory and CPU so long after its last renewal, in seconds.
const AFTER: f64 = 5.0;

/// The highest working set of a burst may be above the steady one by this share of it.
const RISE: f64 = 0.10;

/// It may be above it by so many MiB in any case: what an allocator keeps or gives back by chance is a tenth of a small gateway.
const LEAST_RISE: f64 = 4.0;

/// What a renewal may cost, in milliseconds of CPU: of a Secret that is not cached, and of one that is.
const CPU: (f64, f64) = (0.2, 1.0);

/// Of a burst of cached certificates at least this share is cached, and of the other one at most what is missing to all.
const SAME: f64 = 0.9;

/// A burst of renewals; memory in MiB.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Burst {
    pub(crate) at: f64,
    pub(crate) renewals: usize,
    /// The share of certificates that were cached and replaced; nothing if the program does not say.
    pub(crate) cached: Option<f64>,
    /// In the seconds before.
    pub(crate) steady: f64,
    /// Until a few seconds after.
    pub(crate) peak: f64,
    /// Milliseconds of the gateway's CPU for one renewal, what it used before taken off. Means something only without other
    /// load.
    pub(crate) cpu_millis: f64,
}

impl Burst {
    /// What an event cost, if it was a burst and there are samples before and after it.
    pub(super) fn of(event: &Happened, series: &[Sample]) -> Option<Self> {
        if event.renewed == 0 {
            return None;
        }
        let between = |from: f64, to: f64| {
            let first = series.partition_point(|sample| sample.at < from);
            let end = series.partition_point(|sample| sample.at <= to);
            series.get(first..end)
        };
        let before = between(event.at - AFTER, event.at)?;
        let during = between(event.at, event.at + event.lasted + AFTER)?;
        let (first, begin, last) = (before.first()?, before.last()?, during.last()?);
        let idle = if begin.at > first.at { (begin.cpu - first.cpu) / (begin.at - first.at) } else { 0.0 };
        let cpu = (last.cpu - begin.cpu - idle * (last.at - begin.at)).max(0.0);
        let swaps = begin.gateway.zip(last.gateway).map(|(begin, last)| last.swaps - begin.swaps);
        Some(Self {
            at: event.at,
            renewals: event.renewed,
            cached: swaps.map(|swaps| (swaps / event.renewed as f64).min(1.0)),
            steady: mean(before),
            peak: mebibytes(highest(during)),
            cpu_millis: 1e3 * cpu / event.renewed as f64,
        })
    }

    /// Above the steady working set, as a share of it.
    pub(crate) fn above(&self) -> f64 {
        self.peak / self.steady.max(1.0 / MIB) - 1.0
    }

    /// What the highest working set may be, in MiB.
    fn may_peak(&self) -> f64 {
        self.steady + (RISE * self.steady).max(LEAST_RISE)
    }

    /// What a renewal of this burst may cost, in milliseconds.
    fn allowed(&self) -> f64 {
        CPU.0 + (CPU.1 - CPU.0) * self.cached.unwrap_or_default()
    }
}

/// Judges bursts that were alone with the gateway. CPU is judged in release builds only: others do the same at another cost.
pub(super) fn checks(bursts: &[Burst]) -> Vec<Check> {
    judge(bursts, !cfg!(debug_assertions))
}

fn judge(bursts: &[Burst], judges_cpu: bool) -> Vec<Check> {
    let has = |kind: fn(f64) -> bool| bursts.iter().any(|burst| burst.cached.is_some_and(kind));
    let list = |words: &dyn Fn(&Burst) -> String| bursts.iter().map(words).collect::<Vec<_>>().join("; ");
    let cached = |burst: &Burst| match burst.cached {
        Some(share) => format!("{:.0} % of {} were cached", 100.0 * share, burst.renewals),
        None => format!("{}, nobody knows how many of them cached", burst.renewals),
    };
    let both = has(|share| share <= 1.0 - SAME) && has(|share| share >= SAME);
    let hint = if both { "" } else { "; one burst is to be cached (--cert-cache, --duration), another one not" };
    let peak = |burst: &Burst| {
        let (above, may_peak) = (100.0 * burst.above(), burst.may_peak());
        format!("{:.1} MiB ({above:+.1} % above {:.1}), at most {may_peak:.1}", burst.peak, burst.steady)
    };
    let cpu = |burst: &Burst| format!("{:.3} ms each, at most {:.2}", burst.cpu_millis, burst.allowed());
    let not_judged = if judges_cpu { "" } else { " (not judged: a debug build)" };
    vec![
        Check::new("bursts cached and not", both, format!("{}{hint}", list(&cached))),
        Check::new("little memory for bursts", bursts.iter().all(|burst| burst.peak <= burst.may_peak()), list(&peak)),
        Check::new(
            "little CPU for renewals",
            !judges_cpu || bursts.iter().all(|burst| burst.cpu_millis <= burst.allowed()),
            format!("{}{not_judged}", list(&cpu)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::Scrape;

    /// A burst of a thousand renewals in second 50 of 100.
    fn burst(swaps: f64, cpu_seconds: f64) -> Burst {
        let mut series = Vec::new();
        for second in 0_u32..100 {
            let after = second > 50;
            let swaps = if after { swaps } else { 0.0 };
            series.push(Sample {
                at: second.into(),
                working_set: 50 << 20,
                peak: if second == 52 { 54 << 20 } else { 50 << 20 },
                cpu: 0.1 * f64::from(second) + if after { cpu_seconds } else { 0.0 },
                gateway: Some(Scrape { swaps, ..Scrape::default() }),
                ..Sample::default()
            });
        }
        let event = Happened { at: 50.0, lasted: 2.0, what: "1000 renewals".to_owned(), renewed: 1_000, attack: false };
        Burst::of(&event, &series).unwrap()
    }

    fn failed(bursts: &[Burst]) -> Vec<&'static str> {
        judge(bursts, true).iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }

    #[test]
    fn what_a_burst_costs_is_what_it_adds_to_the_time_before() {
        let burst = burst(1_000.0, 0.9);
        assert!((burst.steady - 50.0).abs() < 0.1 && (burst.peak - 54.0).abs() < 0.1, "{burst:?}");
        assert!((burst.cpu_millis - 0.9).abs() < 0.01 && burst.cached == Some(1.0), "{burst:?}");
    }

    #[test]
    fn bursts_are_judged_by_how_much_of_them_was_cached() {
        assert!(failed(&[burst(0.0, 0.19), burst(1_000.0, 0.9)]).is_empty());
        assert_eq!(failed(&[burst(0.0, 0.3), burst(1_000.0, 0.9)]), ["little CPU for renewals"]);
        assert_eq!(failed(&[burst(0.0, 0.1), burst(1_000.0, 1.1)]), ["little CPU for renewals"]);
        assert_eq!(failed(&[burst(0.0, 0.1)]), ["bursts cached and not"]);
        assert_eq!(failed(&[burst(0.0, 0.1), burst(500.0, 0.5)]), ["bursts cached and not"]);
        assert_eq!(failed(&[]), ["bursts cached and not"]);
    }

    #[test]
    fn a_peak_between_samples_counts() {
        let mut high = burst(1_000.0, 0.9);
        high.peak = 55.1;
        assert_eq!(failed(&[burst(0.0, 0.1), high]), ["little memory for bursts"]);
    }

    #[test]
    fn a_small_gateway_is_not_judged_by_what_an_allocator_keeps() {
        let small = |peak| Burst { steady: 9.9, peak, ..burst(1_000.0, 0.9) };
        assert!(failed(&[burst(0.0, 0.1), small(11.0)]).is_empty());
        assert_eq!(failed(&[burst(0.0, 0.1), small(14.0)]), ["little memory for bursts"]);
    }

    #[test]
    fn a_debug_build_is_not_judged_by_its_cpu() {
        assert!(judge(&[burst(0.0, 5.0), burst(1_000.0, 9.0)], false).iter().all(|check| check.passed));
    }
}
