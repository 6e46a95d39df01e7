//! Annotations of ingress-nginx on the Ingresses that would be served, and what each comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};
use xds::ObjectRef;
use xds::fault::Severity;
use xds::translate::Translator;
use xds::translate::ingress_nginx::{Finding, Reading, Survey};

/// Ingresses whose names are printed for one annotation; JSON has them all.
const NAMED: usize = 5;

/// The annotations found, by effect and name.
#[derive(Default)]
pub(super) struct Annotations {
    /// Ingresses that are ours.
    ingresses: usize,
    /// Those of them that are not served, or behave differently.
    differing: BTreeSet<ObjectRef>,
    found: BTreeMap<(Reading, String), Found>,
}

/// An annotation with one effect.
struct Found {
    lost: &'static str,
    ingresses: BTreeSet<ObjectRef>,
}

impl Annotations {
    /// Puts together what `survey` has found on the Ingresses that `translator` takes for ours.
    pub(super) fn new(survey: &Survey, translator: &Translator) -> Self {
        let (ingresses, findings) = survey.read(translator);
        let mut annotations = Self { ingresses, ..Self::default() };
        for Finding { ingress, name, reading, lost } in findings {
            if matches!(reading, Reading::Refused | Reading::Differs) {
                annotations.differing.insert(ingress.clone());
            }
            let found = annotations.found.entry((reading, name));
            found.or_insert_with(|| Found { lost, ingresses: BTreeSet::new() }).ingresses.insert(ingress);
        }
        annotations
    }

    /// The same for programs.
    pub(super) fn to_json(&self) -> Value {
        let names = |objects: &BTreeSet<ObjectRef>| objects.iter().map(ToString::to_string).collect::<Vec<_>>();
        let annotations = self.found.iter().map(|((reading, name), found)| {
            json!({
                "annotation": name, "effect": reading.as_str(), "severity": severity(*reading),
                "lost": lost(*reading, found), "ingresses": names(&found.ingresses),
            })
        });
        json!({
            "ingresses": self.ingresses,
            "differing": names(&self.differing),
            "annotations": annotations.collect::<Vec<_>>(),
        })
    }
}

/// Nothing, where no Ingress has such an annotation.
impl fmt::Display for Annotations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.found.is_empty() {
            return Ok(());
        }
        let (differing, all) = (self.differing.len(), self.ingresses);
        writeln!(f, "\nAnnotations of ingress-nginx ({differing} of {all} Ingresses would behave differently)")?;
        for ((reading, name), found) in &self.found {
            write!(f, "  {name}: {}", reading.as_str())?;
            if let Some(severity) = severity(*reading) {
                write!(f, " ({severity})")?;
            }
            if let Some(lost) = lost(*reading, found) {
                write!(f, ": {lost}")?;
            }
            let named: Vec<_> = found.ingresses.iter().take(NAMED).map(ToString::to_string).collect();
            write!(f, "\n    {}", named.join(", "))?;
            match found.ingresses.len().saturating_sub(NAMED) {
                0 => writeln!(f)?,
                more => writeln!(f, " and {more} more")?,
            }
        }
        Ok(())
    }
}

/// The severity of the fault that an annotation is.
fn severity(reading: Reading) -> Option<&'static str> {
    match reading {
        Reading::Refused => Some(Severity::Error.as_str()),
        Reading::Differs => Some(Severity::Warning.as_str()),
        Reading::WithoutEffect | Reading::Honoured => None,
    }
}

fn lost(reading: Reading, found: &Found) -> Option<&'static str> {
    (reading != Reading::Honoured).then_some(found.lost)
}
