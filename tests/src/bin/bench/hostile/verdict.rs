//! Verdict on a trial.

use super::trial::Row;

/// With one hostile source, the visitor's 99th percentile may rise by this factor plus these milliseconds.
const SLOWER_BY: f64 = 20.0;
const SLOWER_TIMES: f64 = 2.0;

/// From this quota on, in percent, the visitor's time is bound to that without an attack.
const WHOLE_PROCESSOR: u32 = 100;

/// Below, it is bound by this many milliseconds.
const SLOWEST: f64 = 1_000.0;

/// With many hostile sources: the share of visits that must succeed.
const SHARE: f64 = 0.9;

/// The highest usage, as a share of the limit.
const PEAK: f64 = 0.95;

/// Returns the expectations that did not hold.
pub(super) fn faults(row: &Row, sources: u8) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |holds: bool, otherwise: String| {
        if !holds {
            faults.push(otherwise);
        }
    };
    if row.fault.is_some() {
        expect(false, "could not be tried".to_owned());
        return faults;
    }
    if row.oom_kills > 0 || row.ended.is_some() {
        expect(false, if row.oom_kills > 0 { "killed".to_owned() } else { "ended".to_owned() });
        return faults;
    }
    let (alone, beside) = (row.alone.summary(), row.beside.summary());
    expect(alone.failures == 0, format!("{} visits failed before the attack", alone.failures));
    if sources == 1 {
        expect(beside.failures == 0, format!("{} visits failed", beside.failures));
        let most = if row.setting.cpu >= WHOLE_PROCESSOR { SLOWER_TIMES * alone.p99 + SLOWER_BY } else { SLOWEST };
        expect(beside.p99 <= most, format!("p99 above {most:.0} ms"));
    } else {
        let served = beside.attempts.saturating_sub(beside.failures) as f64;
        expect(served >= SHARE * beside.attempts as f64, format!("{} visits failed", beside.failures));
    }
    let (share, with_sockets) = (row.peak_share(), row.share_with_sockets());
    expect(share <= PEAK, format!("peak above {:.0} %", 100.0 * PEAK));
    // Version 1 does not kill for them; version 2 does.
    expect(share > PEAK || with_sockets <= PEAK, format!("peak with sockets above {:.0} %", 100.0 * PEAK));
    faults
}
