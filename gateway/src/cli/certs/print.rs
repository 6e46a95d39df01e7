//! What `postern certs` prints for people.

use std::fmt::{self, Write};

use bytesize::ByteSize;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// One line for each certificate, with what is wrong below it, and one for each Secret that is refused.
pub(super) fn list(answer: &Value) -> String {
    let all = answer.as_array().map_or(&[][..], Vec::as_slice);
    let (refused, certificates): (Vec<_>, Vec<_>) = all.iter().partition(|entry| entry["refused"].is_object());
    let mut table = Table::new(&["SECRET", "SERVER NAMES", "EXPIRES", "USED", "SIZE", "SOURCE"]);
    for certificate in &certificates {
        table.row([
            text(&certificate["secret"]),
            names(certificate),
            expiry(certificate),
            ago(&certificate["idleSeconds"]),
            size(&certificate["bytes"]),
            text(&certificate["source"]),
        ]);
        if let Some(error) = certificate["lastError"].as_str() {
            table.note(format!("  last good; the newer one cannot be served: {}{}", clean(error), retry(certificate)));
        }
    }
    let mut lines = format!("{table}{} certificates\n", certificates.len());
    for entry in refused {
        let (secret, names) = (text(&entry["secret"]), names(entry));
        let refused = &entry["refused"];
        let (message, note, since) = (text(&refused["message"]), text(&refused["note"]), text(&refused["since"]));
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "refused: {secret} ({names}) since {since}\n  {message}\n  {note}");
    }
    lines
}

/// What a server name leads to.
pub(super) fn show(answer: &Value) -> String {
    let mut lines = Lines::default();
    lines.add("server name", text(&answer["host"]));
    lines.add("state", text(&answer["state"]));
    if let Some(message) = answer["message"].as_str() {
        lines.add("", clean(message));
        return lines.0;
    }
    lines.add("bound by", format!("{} ({})", text(&answer["pattern"]), text(&answer["match"])));
    lines.add("secret", text(&answer["secret"]));
    lines.add("visibility", text(&answer["visibility"]));
    let refusal = &answer["refusal"];
    if refusal.is_object() {
        let failures = refusal["failures"].as_u64().unwrap_or(0);
        lines.add("refused", clean(refusal["reason"].as_str().unwrap_or_default()));
        lines.add("", format!("{failures} times in a row{}", retry(refusal)));
    }
    let fault = &answer["fault"];
    if fault["refused"].is_object() {
        let refused = &fault["refused"];
        lines
            .add("newest version", format!("refused since {}: {}", text(&refused["since"]), text(&refused["message"])));
        lines.add("", text(&refused["note"]));
    }
    for warning in fault["warnings"].as_array().into_iter().flatten() {
        lines.add("warning", text(&warning["message"]));
    }
    let certificate = &answer["certificate"];
    if certificate.is_object() {
        details(&mut lines, certificate);
    }
    lines.0
}

fn details(lines: &mut Lines, certificate: &Value) {
    lines.add("certificate for", strings(&certificate["names"]));
    lines.add("server names", names(certificate));
    lines.add("issuer", text(&certificate["issuer"]));
    lines.add("serial", text(&certificate["serial"]));
    lines.add("SHA-256", text(&certificate["fingerprintSha256"]));
    lines.add("key", text(&certificate["key"]));
    lines.add("expires", expiry(certificate));
    lines.add("loaded at", text(&certificate["loadedAt"]));
    lines.add("used", ago(&certificate["idleSeconds"]));
    lines.add("size", size(&certificate["bytes"]));
    lines.add("source", text(&certificate["source"]));
    lines.add("version", text(&certificate["version"]));
    if let Some(error) = certificate["lastError"].as_str() {
        lines.add("last error", format!("{}{}", clean(error), retry(certificate)));
    }
}

/// Sums.
pub(super) fn stats(answer: &Value) -> String {
    let mut lines = Lines::default();
    let share = |of: &Value| match (of.as_f64(), answer["budgetBytes"].as_f64()) {
        (Some(bytes), Some(budget)) if budget > 0.0 => {
            format!("{} ({:.0} % of the budget)", size(of), 100.0 * bytes / budget)
        }
        _ => size(of),
    };
    lines.add("budget", size(&answer["budgetBytes"]));
    lines.add("cached", format!("{} certificates, {}", text(&answer["entries"]), share(&answer["bytes"])));
    lines.add("in memory", size(&answer["heldBytes"]));
    let ratio = answer["hitRatio"].as_f64().map_or(String::new(), |ratio| format!(" ({:.2} % hits)", ratio * 100.0));
    lines.add("hits, misses", format!("{}, {}{ratio}", text(&answer["hits"]), text(&answer["misses"])));
    let loads = format!(
        "{}, {} failed, {} under way",
        text(&answer["loads"]),
        text(&answer["failedLoads"]),
        text(&answer["loadsInFlight"])
    );
    lines.add("loads", loads);
    lines.add("waiting", format!("{} handshakes", text(&answer["waiting"])));
    lines.add("evictions", text(&answer["evictions"]));
    lines.add(
        "renewals",
        format!("{} swapped in, {} bad and not taken", text(&answer["swaps"]), text(&answer["keptLastGood"])),
    );
    lines.add("refused", format!("{} Secrets", text(&answer["refusedSecrets"])));
    lines.add("first expiry", text(&answer["soonestExpiry"]));
    if answer["sealed"].is_object() {
        let sealed = &answer["sealed"];
        lines.add(
            "sealed copies",
            format!(
                "{}, {} on disk; served {} times",
                text(&sealed["copies"]),
                size(&sealed["bytes"]),
                text(&sealed["served"])
            ),
        );
    }
    lines.0
}

/// Fewer references tell little.
const FEW_REFERENCES: f64 = 1000.0;

/// What other budgets would bring.
pub(super) fn advice(answer: &Value) -> String {
    let references = answer["references"].as_f64().unwrap_or(0.0);
    let sizes = answer["sizes"].as_array().map_or(&[][..], Vec::as_slice);
    let counted = answer["countedSeconds"].as_f64().and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
    let counted = coarse(counted.unwrap_or_default());
    if sizes.is_empty() {
        return format!(
            "no certificate was asked for in the {counted} since counting began, so there is nothing to advise\n"
        );
    }
    let mut table = Table::new(&["BUDGET", "FOUND", "SLOWEST 1 % WAIT", ""]);
    for size_of in sizes {
        let is_now = size_of["budgetBytes"] == answer["presentBudgetBytes"];
        table.row([
            size(&size_of["budgetBytes"]),
            percent(&size_of["hitRatio"]),
            seconds(&size_of["certificateSecondsP99"]),
            if is_now { "now".to_owned() } else { String::new() },
        ]);
    }
    let mut lines = Lines(table.to_string());
    let (followed, present) = (&answer["budgetBytes"], &answer["presentBudgetBytes"]);
    if followed != present {
        let said =
            format!("{} now; shares of {} are told of, until another budget has lasted", size(present), size(followed));
        lines.add("budget", said);
    }
    lines.add("counted for", counted);
    lines.add("measured now", format!("{} of {references:.0} references found", percent(&answer["measuredHitRatio"])));
    if let Some(error) = answer["error"].as_f64() {
        lines.add("error", format!("{:+.2} points at {}", error * 100.0, size(followed)));
    }
    let cost = &answer["missSeconds"];
    lines.add(
        "a miss costs",
        format!("{} on average, 99 % of them {} at most", seconds(&cost["mean"]), seconds(&cost["p99"])),
    );
    if references < FEW_REFERENCES {
        lines.add("", "few references yet: do not rely on this");
    }
    lines.0
}

fn percent(ratio: &Value) -> String {
    ratio.as_f64().map_or_else(|| "-".to_owned(), |ratio| format!("{:.2} %", ratio * 100.0))
}

fn seconds(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(seconds) if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

/// What a change of the budget came to.
pub(super) fn budget(answer: &Value) -> String {
    let (is, was) = (&answer["budgetBytes"], &answer["wasBytes"]);
    let mut lines = format!("budget {}, was {}; {}\n", size(is), size(was), text(&answer["lasts"]));
    let wanted = &answer["wantedBytes"];
    // Writing to a String cannot fail.
    if wanted.is_u64() && wanted != is {
        let stage = text(&answer["stage"]);
        let why = if stage == "calm" { "was short" } else { "is short" };
        let _ = writeln!(lines, "memory {why} (stage {stage}): {} as soon as there is room for it", size(wanted));
    }
    if let Some(warning) = answer["warning"].as_str() {
        let _ = writeln!(lines, "warning: {}", clean(warning));
    }
    lines
}

/// Facts with their headings.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, heading: &str, fact: impl fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{heading:<16}{fact}");
    }
}

/// Columns as wide as their widest cell.
struct Table {
    rows: Vec<Row>,
}

enum Row {
    Cells(Vec<String>),
    Note(String),
}

impl Table {
    fn new(heading: &[&str]) -> Self {
        Self { rows: vec![Row::Cells(heading.iter().map(|&cell| cell.to_owned()).collect())] }
    }

    fn row(&mut self, cells: impl Into<Vec<String>>) {
        self.rows.push(Row::Cells(cells.into()));
    }

    fn note(&mut self, text: String) {
        self.rows.push(Row::Note(text));
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| match row {
            Row::Cells(cells) => cells.get(column).map(|cell| cell.chars().count()),
            Row::Note(_) => None,
        });
        cells.max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<_> = (0..).map_while(|column| Some(self.width(column)).filter(|width| *width > 0)).collect();
        for row in &self.rows {
            match row {
                Row::Note(text) => writeln!(f, "{text}")?,
                Row::Cells(cells) => {
                    let (last, first) = cells.split_last().expect("a row has cells");
                    for (cell, width) in first.iter().zip(&widths) {
                        write!(f, "{cell:<width$}  ")?;
                    }
                    writeln!(f, "{last}")?;
                }
            }
        }
        Ok(())
    }
}

/// A value as text. What comes from certificates may hold anything; a terminal must not obey it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

fn strings(value: &Value) -> String {
    let all: Vec<_> = value.as_array().into_iter().flatten().map(text).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

/// The server names that lead to a certificate: those of the answer, and how many more there are.
fn names(certificate: &Value) -> String {
    let listed = certificate["serverNames"].as_array().map_or(0, Vec::len) as u64;
    let more = certificate["serverNameCount"].as_u64().unwrap_or(0).saturating_sub(listed);
    let names = strings(&certificate["serverNames"]);
    if more == 0 { names } else { format!("{names} and {more} more") }
}

fn size(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), |bytes| ByteSize::b(bytes).display().iec().to_string())
}

/// `2026-11-21 (in 89 days)`.
fn expiry(certificate: &Value) -> String {
    let time = certificate["notAfter"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let Some(time) = time else { return "-".to_owned() };
    let date = time.strftime("%Y-%m-%d");
    let left = time.duration_since(Timestamp::now());
    if left.is_negative() { format!("{date} (EXPIRED)") } else { format!("{date} (in {})", coarse(left)) }
}

fn ago(seconds: &Value) -> String {
    seconds
        .as_i64()
        .map_or_else(|| "-".to_owned(), |seconds| format!("{} ago", coarse(SignedDuration::from_secs(seconds))))
}

fn retry(failed: &Value) -> String {
    match failed["retryInSeconds"].as_f64() {
        Some(seconds) if seconds >= 0.5 => format!(", tried again in {seconds:.0} s"),
        Some(_) => ", tried again next".to_owned(),
        None => String::new(),
    }
}

fn coarse(time: SignedDuration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_terminal_is_sent_nothing_to_obey() {
        let certificate = json!([{"secret": "shop/web\u{1b}[31m", "names": ["a\u{7}b"], "lastError": "bad\r\nvery", "retryInSeconds": 3.2}]);
        let printed = list(&certificate);
        assert!(!printed.contains(['\u{1b}', '\u{7}', '\r']), "{printed:?}");
        assert!(printed.contains("tried again in 3 s"), "{printed:?}");
    }

    #[test]
    fn a_budget_that_has_to_wait_or_cannot_work_out_says_so() {
        let mut answer = json!({"budgetBytes": 3 << 20, "wantedBytes": 3 << 20, "wasBytes": 2 << 20, "stage": "calm",
            "warning": null, "lasts": "until then"});
        assert_eq!(budget(&answer), "budget 3.0 MiB, was 2.0 MiB; until then\n");
        answer["wantedBytes"] = json!(64 << 20);
        answer["stage"] = json!("shrink");
        answer["warning"] = json!("too small");
        let printed = budget(&answer);
        assert!(printed.contains("memory is short (stage shrink): 64.0 MiB as soon"), "{printed}");
        assert!(printed.ends_with("warning: too small\n"), "{printed}");
    }

    #[test]
    fn advice_after_a_change_of_the_budget_says_what_it_is_about() {
        let mut answer = json!({"budgetBytes": 32 << 20, "presentBudgetBytes": 2 << 20, "countedSeconds": 7000.0,
            "sizes": [{"budgetBytes": 32 << 20, "hitRatio": 0.9, "certificateSecondsP99": 0.0}],
            "references": 5000.0, "measuredHitRatio": 0.8, "error": 0.1, "missSeconds": {}});
        let printed = advice(&answer);
        assert!(printed.contains("2.0 MiB now; shares of 32.0 MiB") && printed.contains("116 min"), "{printed}");
        assert!(!printed.lines().nth(1).is_some_and(|row| row.contains("now")), "{printed}");
        answer["sizes"] = json!([]);
        assert!(advice(&answer).contains("in the 116 min since counting began"));
    }

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["A", "B"]);
        table.row(["long".to_owned(), "x".to_owned()]);
        assert_eq!(table.to_string(), "A     B\nlong  x\n");
    }

    #[test]
    fn times_are_coarse() {
        for (seconds, expected) in [(5, "5 s"), (600, "10 min"), (10_000, "2 h"), (864_000, "10 days")] {
            assert_eq!(coarse(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
