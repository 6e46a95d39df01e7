//! The rows of all trials, for people and for programs.

use std::fmt;

use serde_json::{Value, json};

use super::Arguments;
use super::trial::Row;
use super::verdict::faults;
use crate::report::machine;

/// Rows so far.
#[derive(Debug)]
pub(super) struct Report {
    sources: u8,
    seconds: u64,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(arguments: &Arguments) -> Self {
        Self { sources: arguments.sources, seconds: arguments.seconds, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Returns `true` if the gateway held in all trials.
    pub(super) fn passed(&self) -> bool {
        self.failed() == 0
    }

    fn failed(&self) -> usize {
        self.rows.iter().filter(|row| !faults(row, self.sources).is_empty()).count()
    }

    /// The head of the table.
    pub(super) fn head() -> String {
        format!(
            "{:>7} {:>4} {:5} {:15} {:>6} {:>7} {:>7} {:>11} {:>15} {:>15} {:>13} {:>13} {:>4} {:>6}  verdict",
            "limit",
            "cpu",
            "",
            "case",
            "killed",
            "peak",
            "+sockets",
            "failed",
            "p50 ms",
            "p99 ms",
            "open",
            "streams",
            "cpu",
            "others"
        )
    }

    /// A row as a line.
    pub(super) fn line(&self, row: &Row) -> String {
        let (alone, beside) = (row.alone.summary(), row.beside.summary());
        let percent = |bytes: u64| format!("{:.1}%", 100.0 * bytes as f64 / row.setting.limit.as_u64() as f64);
        let arrow = |before: f64, after: f64| format!("{before:.1} > {after:.1}");
        let attack = &row.attack;
        let processors = row.processors.unwrap_or_default();
        let faults = faults(row, self.sources);
        let verdict = if faults.is_empty() { "holds".to_owned() } else { format!("FAILS: {}", faults.join("; ")) };
        format!(
            "{:>7} {:>3}% {:5} {:15} {:>6} {:>7} {:>7} {:>11} {:>15} {:>15} {:>13} {:>13} {:>4.2} {:>6.2}  {verdict}",
            format!("{:.0}Mi", row.setting.limit.as_mib()),
            row.setting.cpu,
            row.setting.transport_name(),
            row.setting.case_name(),
            if row.oom_kills > 0 {
                "OOM"
            } else if row.ended.is_some() {
                "ended"
            } else {
                "no"
            },
            percent(row.peak),
            percent(row.with_sockets),
            format!("{}/{}", beside.failures, beside.attempts),
            arrow(alone.p50, beside.p50),
            arrow(alone.p99, beside.p99),
            format!("{}-{}/{}", attack.most_open, attack.failed, attack.opened),
            format!("{}-{}", attack.streams, attack.streams_ended),
            processors.gateway,
            processors.others,
        )
    }

    /// The report for programs.
    pub(super) fn to_json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row_to_json(row)).collect();
        json!({
            "benchmark": "hostile", "machine": machine(), "sources": self.sources, "seconds": self.seconds,
            "passed": self.passed(), "rows": rows,
        })
    }

    fn row_to_json(&self, row: &Row) -> Value {
        let faults = faults(row, self.sources);
        json!({
            "limit": row.setting.limit.as_u64(), "cpu_percent": row.setting.cpu,
            "transport": row.setting.transport_name(), "case": row.setting.case_name(),
            "fault": row.fault,
            "killed": row.oom_kills > 0, "oom_kills": row.oom_kills, "ended": row.ended,
            "peak": row.peak, "peak_percent": 100.0 * row.peak_share(),
            "working_set_peak": row.working_set, "sockets_peak": row.sockets, "with_sockets_peak": row.with_sockets,
            "with_sockets_percent": 100.0 * row.share_with_sockets(),
            "visitor_alone": row.alone.summary(), "visitor": row.beside.summary(),
            "attack": row.attack, "processors": row.processors,
            "holds": faults.is_empty(), "faults": faults,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nhostile: {} of {} trials held, on {}",
            self.rows.len() - self.failed(),
            self.rows.len(),
            machine()
        )?;
        writeln!(
            f,
            "peak: the highest usage of the cgroup, of its limit; +sockets: with the buffers of sockets, which version 2 of \
             cgroups counts against the limit and version 1 does not; failed: visits of somebody else, new connection and \
             request, {} s; times: before the attack and during it; open: connections of the attacker that were open at \
             once - that failed / that came about; streams: opened - ended; cpu: processors that the gateway took; others: \
             that other programs took. Wanted: no kill, no failed visit, p99 at most twice that before plus 20 ms with a \
             processor and 1 s with less, both peaks at most 95 %",
            self.seconds
        )?;
        for row in &self.rows {
            if let Some(failure) = row.fault.clone().or_else(|| row.beside.summary().first_failure) {
                let Row { setting, .. } = row;
                writeln!(f, "{} {}% {}: {failure}", setting.limit, setting.cpu, setting.case_name())?;
            }
        }
        Ok(())
    }
}
