//! Annotations of all Ingresses together, for a report.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::Ingress;

use super::{PREFIX, Reading, is_redirected_by_default, read};
use crate::object::{Object, ObjectEvent, ObjectKind, ObjectRef};
use crate::translate::Translator;

/// Name under which the redirect is reported that ingress-nginx makes without an annotation.
const BY_DEFAULT: &str = "ssl-redirect (by default)";

/// Ingresses that a source has yielded. Holds them whole, so it is for a report and not for a gateway.
#[derive(Debug, Default)]
pub struct Survey(BTreeMap<ObjectRef, Ingress>);

/// An annotation on one Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The Ingress.
    pub ingress: ObjectRef,
    /// Name of the annotation, without its prefix.
    pub name: String,
    /// Its effect here.
    pub reading: Reading,
    /// What is lost without it.
    pub lost: &'static str,
}

impl Survey {
    /// Takes in a change of an Ingress; other objects are passed over.
    pub fn note(&mut self, event: &ObjectEvent) {
        match event {
            ObjectEvent::Applied(Object::Ingress(ingress)) => {
                let name = |text: &Option<String>| text.clone().unwrap_or_default();
                let object = ObjectRef::new(name(&ingress.metadata.namespace), name(&ingress.metadata.name));
                self.0.insert(object, (**ingress).clone());
            }
            ObjectEvent::Deleted(key) if key.kind == ObjectKind::Ingress => drop(self.0.remove(&key.object)),
            _ => {}
        }
    }

    /// The number of Ingresses with a class of ours, and the annotations found on them.
    pub fn read(&self, translator: &Translator) -> (usize, Vec<Finding>) {
        let (mut ours, mut findings) = (0, Vec::new());
        for (object, ingress) in self.0.iter().filter(|(object, _)| translator.is_ours(object)) {
            ours += 1;
            let mut add = |name: &str, reading, lost| {
                findings.push(Finding { ingress: object.clone(), name: name.to_owned(), reading, lost });
            };
            for (annotation, value) in ingress.metadata.annotations.iter().flatten() {
                if let Some(name) = annotation.strip_prefix(PREFIX) {
                    let (reading, lost) = read(name, value);
                    add(name, reading, lost);
                }
            }
            if translator.takes_over(ingress) && is_redirected_by_default(ingress) {
                add(BY_DEFAULT, Reading::Differs, "plain HTTP of hosts with TLS is not redirected to HTTPS");
            }
        }
        (ours, findings)
    }
}
