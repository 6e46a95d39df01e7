//! The page of the admin listener: the state at a glance, made anew for each look.

use std::fmt::{Display, Write};

use super::Admin;

/// More rows than this are not for reading; the JSON API has them all.
const MAX_ROWS: usize = 200;

/// Renders the page. It loads nothing from elsewhere.
pub(super) fn render(admin: &Admin) -> String {
    let mut page = String::from(HEAD);
    figures(&mut page, admin);
    faults(&mut page, admin);
    certificates(&mut page, admin);
    page.push_str(FOOT);
    page
}

fn figures(page: &mut String, admin: &Admin) {
    let tables = admin.tables.load();
    let certs = admin.certs.stats();
    page.push_str("<h2>Now</h2><table>");
    row(page, &[&"ready", &admin.health.unready_reason().unwrap_or("yes".into())]);
    row(page, &[&"configuration version", &tables.version]);
    row(page, &[&"virtual hosts", &tables.routes.len()]);
    row(page, &[&"clusters", &tables.clusters.len()]);
    row(page, &[&"TLS names", &tables.tls.len()]);
    row(page, &[&"overload", &admin.overload.stage().as_str()]);
    if let Some((limit, working_set)) = admin.overload.usage() {
        row(page, &[&"memory", &format_args!("{working_set} of {limit}")]);
    }
    if let Some(plan) = admin.overload.plan() {
        row(page, &[&"memory plan", &plan]);
    }
    row(page, &[&"cached certificates", &certs.entries]);
    row(page, &[&"their bytes", &format_args!("{} of {}", certs.bytes, certs.budget)]);
    row(page, &[&"hits / misses", &format_args!("{} / {}", certs.hits, certs.misses)]);
    row(page, &[&"evictions", &certs.evictions]);
    page.push_str("</table>");
}

fn faults(page: &mut String, admin: &Admin) {
    let faults = admin.faults.all();
    // Writing to a String cannot fail.
    let _ = write!(page, "<h2>Faults ({})</h2><table>", admin.faults.len());
    for fault in faults.iter().take(MAX_ROWS) {
        row(page, &[&fault.severity.as_str(), &fault.subject, &fault.field.as_deref().unwrap_or(""), &fault.message]);
    }
    page.push_str("</table>");
}

fn certificates(page: &mut String, admin: &Admin) {
    let certificates = admin.certs.page(0, MAX_ROWS);
    let _ = write!(page, "<h2>Cached certificates ({})</h2><table>", certificates.total);
    for entry in &certificates.entries {
        row(page, &[&entry.secret, &entry.details.names.join(", "), &entry.details.issuer, &entry.details.serial]);
    }
    page.push_str("</table>");
}

fn row(page: &mut String, cells: &[&dyn Display]) {
    page.push_str("<tr>");
    for cell in cells {
        page.push_str("<td>");
        escape(page, &cell.to_string());
        page.push_str("</td>");
    }
    page.push_str("</tr>");
}

/// Names and messages come from manifests and certificates: nothing of them may become markup.
fn escape(page: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '&' => page.push_str("&amp;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            other => page.push(other),
        }
    }
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Postern</title><style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse}td{border-top:1px solid #ccc;padding:.2rem .8rem .2rem 0;vertical-align:top;\
overflow-wrap:anywhere}h2{margin-top:2rem}</style><h1>Postern</h1>";

const FOOT: &str = "<p>As JSON: <a href=/api/v1/status>status</a>, <a href=/api/v1/faults>faults</a>, \
<a href=/api/v1/certificates>certificates</a>, <a href=/api/v1/cache>cache</a>, <a href=/api/v1/cache/advice>advice</a>, <a href=/api/v1/settings>settings</a>; \
for Prometheus: <a href=/metrics>metrics</a>.</p></html>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manifest_says_never_becomes_markup() {
        let mut page = String::new();
        row(&mut page, &[&"<script>'x'&\"</script>"]);
        assert_eq!(page, "<tr><td>&lt;script&gt;&#39;x&#39;&amp;&quot;&lt;/script&gt;</td></tr>");
    }
}
