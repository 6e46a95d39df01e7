//! Alerts are about metrics that there are, and can fire.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use postern_tests::deployed;
use postern_tests::{Result, ensure};
use serde_json::Value;

use crate::rendered::list;

/// Functions and keywords of `PromQL` that the alerts use.
const WORDS: [&str; 4] = ["rate", "increase", "and", "or"];

fn rules() -> Result<Vec<Value>> {
    let file = deployed::folder().join("kustomize/components/alerts/prometheus-rule.yaml");
    let rule: Value = serde_saphyr::from_str(&fs::read_to_string(file)?)?;
    Ok(list(&rule["spec"]["groups"]).iter().flat_map(|group| list(&group["rules"]).to_vec()).collect())
}

/// The identifiers of an expression that stand neither in braces nor in brackets.
fn identifiers(expression: &str) -> BTreeSet<String> {
    let mut depth = 0_i32;
    let outside: String = expression
        .chars()
        .map(|character| {
            depth += i32::from("{[".contains(character)) - i32::from("}]".contains(character));
            if depth == 0 { character } else { ' ' }
        })
        .collect();
    let words = outside.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let names = words.filter(|word| word.starts_with(|first: char| first.is_ascii_alphabetic()));
    names.filter(|word| !WORDS.contains(word)).map(ToOwned::to_owned).collect()
}

/// All of the code that exports metrics.
fn code() -> Result<String> {
    let mut pending: Vec<_> =
        ["certstore", "xds", "gateway"].map(|part| deployed::folder().join(format!("../{part}/src"))).into();
    let mut text = String::new();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension() == Some(Path::new("rs").as_os_str()) {
                text.push_str(&fs::read_to_string(path)?);
            }
        }
    }
    Ok(text)
}

#[test]
fn every_metric_of_an_alert_is_one_that_the_gateway_exports() -> Result<()> {
    let code = code()?;
    let mut seen = 0;
    for rule in rules()? {
        let expression = rule["expr"].as_str().unwrap_or_default();
        for metric in identifiers(expression) {
            ensure(code.contains(&format!("\"{metric}\"")), || format!("{}: no metric {metric}", rule["alert"]))?;
            seen += 1;
        }
    }
    ensure(seen >= 10, || format!("only {seen} metrics"))
}

#[test]
fn labels_that_an_alert_asks_for_are_values_that_the_code_gives() -> Result<()> {
    let code = code()?;
    for rule in rules()? {
        let expression = rule["expr"].as_str().unwrap_or_default();
        for selector in expression.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            let value = selector.split('"').nth(1).unwrap_or_default();
            for value in value.split('|') {
                ensure(code.contains(&format!("\"{value}\"")), || format!("{}: {value} in {selector}", rule["alert"]))?;
            }
        }
    }
    Ok(())
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() -> Result<()> {
    let mut names = BTreeSet::new();
    for rule in rules()? {
        let name = rule["alert"].as_str().unwrap_or_default();
        assert!(name.starts_with("Postern") && names.insert(name.to_owned()), "{name}");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap_or_default()), "{name}");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| text.len() > 20), "{name}: {text}");
        }
    }
    assert!(names.len() >= 7, "{names:?}");
    Ok(())
}

#[test]
fn identifiers_are_told_from_labels_and_functions() {
    let found = identifiers("rate(a_total[15m]) / b{c=\"d\"} > 0.1 and increase(e[1h]) > 0");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a_total", "b", "e"]);
}
