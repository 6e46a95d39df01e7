//! The page: verdicts, figures and plots, with nothing loaded from elsewhere.

use std::fmt::Write;

use super::plot::escape;
use crate::arguments::Arguments;
use crate::run::Run;
use crate::verdict::Verdict;

mod figures;
mod plots;

use plots::Keys;

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;max-width:940px;margin:2em auto;padding:0 1em;color:#222}\
figure{margin:1.6em 0}figcaption{margin-bottom:.3em}svg{width:100%;height:auto}svg text{font-size:11px;fill:#555}\
svg text.over{fill:#c00}svg text.key{font-size:10px;fill:#888}.grid{stroke:#ddd}.limit{stroke:#c00;stroke-dasharray:6 4}\
.curve{fill:none;stroke-width:1.4}.band{opacity:.35}.swatch{display:inline-block;width:1.2em;height:.8em;opacity:.5}\
.mark{fill:#888;background:#888;opacity:.14}.shrink{fill:#f0e442;background:#f0e442}.close{fill:#e69f00;background:#e69f00}\
.refuse{fill:#d55e00;background:#d55e00}table{border-collapse:collapse;margin:.6em 0}\
td,th{padding:.15em .8em .15em 0;text-align:left;vertical-align:top;font-weight:normal}th{color:#555}\
td.number{text-align:right}.failed{color:#c00;font-weight:bold}";

const MIB: f64 = 1_048_576.0;

/// The whole page.
pub(super) fn page(arguments: &Arguments, runs: &[(Run, Verdict)]) -> String {
    let mut html = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Postern soak</title><style>{STYLE}</style></head>\
         <body><h1>Soak: {} services, limit {:.0} MiB, {} s, seed {}</h1>\n<p>{}</p>\n",
        arguments.services,
        arguments.limit as f64 / MIB,
        arguments.duration.as_secs(),
        arguments.seed,
        escape(&super::machine())
    );
    for (run, verdict) in runs {
        html.push_str(&checks(run, verdict));
    }
    html.push_str(&figures::table(runs));
    let keys = Keys::of(runs);
    html.push_str(&legend(&keys));
    for plot in plots::all(arguments, runs, &keys) {
        html.push_str(&plot.to_html());
    }
    for (run, _) in runs {
        html.push_str(&words("Failures", run, &run.ledger.examples));
        html.push_str(&words("Refused as declared", run, &run.ledger.refusals));
    }
    html.push_str("</body></html>\n");
    html
}

fn checks(run: &Run, verdict: &Verdict) -> String {
    let class = |passed| if passed { "ok" } else { "failed" };
    let mut html = format!(
        "<h2 class=\"{}\">{}: {}</h2><table>",
        class(verdict.passed),
        run.subject,
        if verdict.passed { "passed" } else { "failed" }
    );
    if let Some(why) = &run.not_enforced {
        // Writing to a String does not fail.
        let _ = write!(html, "<tr><td>!</td><td colspan=\"2\">The limit was not enforced: {}</td></tr>", escape(why));
    }
    for check in &verdict.checks {
        let (class, sign) = (class(check.passed), if check.passed { "✓" } else { "✗" });
        let seen = escape(&check.seen);
        let _ = write!(html, "<tr class=\"{class}\"><td>{sign}</td><td>{}</td><td>{seen}</td></tr>", check.name);
    }
    html.push_str("</table>\n");
    html
}

/// What the colours and keys behind the curves mean.
fn legend(keys: &Keys) -> String {
    let mut html = String::from(
        "<h2>Over time</h2><p>Stages of overload: <span class=\"swatch shrink\"></span> shrink the cache, \
         <span class=\"swatch close\"></span> close connections, <span class=\"swatch refuse\"></span> refuse. \
         <span class=\"swatch mark\"></span> What the script did",
    );
    let named: Vec<_> = keys.iter().map(|(key, name)| format!("<b>{key}</b> {}", escape(name))).collect();
    if !named.is_empty() {
        let _ = write!(html, ": {}", named.join(", "));
    }
    html.push_str(".</p>\n");
    html
}

/// Failures or refusals, word by word.
fn words(title: &str, run: &Run, words: &[String]) -> String {
    if words.is_empty() {
        return String::new();
    }
    let lines: Vec<_> = words.iter().map(|words| escape(words)).collect();
    format!("<h3>{}: {title}, the first ones</h3><ul><li>{}</li></ul>\n", run.subject, lines.join("</li><li>"))
}
