//! Objects into records, one kind at a time.

use hashbrown::HashMap;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::classes;
use super::draft::{Draft, Drafting};
use super::objects::IngressPart;
use super::problem::Problems;
use super::service::PackedService;
use super::slice::{PackedSlice, SERVICE_LABEL};
use super::users::IngressId;
use super::{Translator, host, ingress, ingress_nginx, kingress};
use crate::fault::{Fault, Finder, Subject};
use crate::object::{KIngress, ObjectKey, ObjectKind, ObjectRef};
use crate::status::{Marks, Published};

impl Translator {
    pub(super) fn apply_kingress(&mut self, ingress: KIngress) {
        let key = key(ObjectKind::KIngress, &ingress.metadata);
        let mut problems = Problems::of(Subject::Object(key.clone()));
        let class = kingress::class(&ingress).map(str::to_owned);
        if class.as_deref() != Some(&*self.options.kingress_class) {
            self.remove_ingress(&key);
            if self.options.report_unknown_class {
                let (class, ours) = (class.unwrap_or_default(), &self.options.kingress_class);
                let message = format_args!("left alone: the class is {class:?}, ours is {ours:?}");
                problems.warn(format_args!("metadata.annotations[{}]", kingress::CLASS_ANNOTATION), message);
            }
            self.tell(Finder::Translate, &key, problems.into_faults());
            return;
        }
        check_name(&key.object, &mut problems);
        let published = Published::of_kingress(&ingress.metadata, &ingress.status);
        let marks = Marks::of(&ingress.metadata);
        let draft = self.draft(&mut problems, |on| kingress::draft(ingress, &key.object, on));
        let rejected = problems.rejected();
        self.tell(Finder::Translate, &key, problems.into_faults());
        let id = self.slot(&key, None);
        self.note(id, published, marks.rejected(rejected));
        if !rejected {
            self.contribute(id, draft);
        }
    }

    pub(super) fn apply_ingress(&mut self, ingress: &Ingress) {
        let key = key(ObjectKind::Ingress, &ingress.metadata);
        let mut problems = Problems::of(Subject::Object(key.clone()));
        check_name(&key.object, &mut problems);
        let class = classes::wanted(ingress);
        let is_taken_over = self.classes.is_taken_over(class, &self.options);
        ingress_nginx::check(ingress, is_taken_over, &mut problems);
        let draft = self.draft(&mut problems, |on| ingress::draft(ingress, &key.object, on));
        let (rejected, withdrawn) = (problems.rejected(), problems.withdrawn());
        let id = self.slot(&key, Some(IngressPart { class: None, faults: Vec::new() }));
        self.classify(id, class, problems.into_faults());
        let published = Published::of_ingress(&ingress.metadata, ingress.status.as_ref());
        self.note(id, published, Marks::of(&ingress.metadata).rejected(rejected));
        if withdrawn {
            self.contribute(id, Draft::nothing());
        } else if !rejected {
            self.contribute(id, draft);
        }
        self.reconsider(id);
    }

    pub(super) fn apply_class(&mut self, class: &IngressClass) {
        let name = class.metadata.name.as_deref().unwrap_or_default();
        for id in self.classes.apply(name, class, &self.options) {
            self.reconsider(id);
        }
    }

    pub(super) fn remove_class(&mut self, name: &str) {
        for id in self.classes.remove(name) {
            self.reconsider(id);
        }
    }

    pub(super) fn apply_service(&mut self, service: &Service) {
        let key = key(ObjectKind::Service, &service.metadata);
        let mut problems = Problems::of(Subject::Object(key.clone()));
        check_name(&key.object, &mut problems);
        if let Some(service) = PackedService::pack(service, &mut problems) {
            self.state.backends.apply_service(&key.object, PackedService(&service), &mut self.pending);
        }
        self.tell(Finder::Translate, &key, problems.into_faults());
    }

    pub(super) fn apply_slice(&mut self, slice: &EndpointSlice) {
        let key = key(ObjectKind::EndpointSlice, &slice.metadata);
        let mut problems = Problems::of(Subject::Object(key.clone()));
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
        if let Some(service) = service.filter(|service| !service.is_empty()) {
            check_name(&key.object, &mut problems);
            check_name(&ObjectRef { name: service.as_str().into(), ..key.object.clone() }, &mut problems);
            if let Some(slice) = PackedSlice::pack(&key.object.name, service, slice, &mut problems) {
                self.state.backends.apply_slice(&key.object, service, PackedSlice(&slice), &mut self.pending);
            }
        } else {
            let message = "without this label it belongs to no Service, so it is not used";
            problems.warn(format_args!("metadata.labels[{SERVICE_LABEL}]"), message);
            self.state.backends.remove_slice(&key.object, &mut self.pending);
        }
        self.tell(Finder::Translate, &key, problems.into_faults());
    }

    /// Forgets an Ingress or KIngress.
    pub(super) fn remove_ingress(&mut self, key: &ObjectKey) {
        let Some(id) = self.state.objects.find(key.kind, &key.object) else { return };
        let limit = self.options.limits.routes_per_host;
        let heirs = self.state.younger_rivals(id);
        self.state.set_effect(id, false, limit, &mut self.pending);
        self.replace_claims(id, self.state.objects.pack(id, i64::MAX, Vec::new(), &[]), &[]);
        if let Some(part) = self.state.objects.part(id) {
            self.classes.leave(part.class.as_ref(), id);
        }
        self.state.objects.remove(id);
        self.forget_status(id);
        self.state.settle(heirs, limit, &mut self.pending);
        self.tell(Finder::References, key, Vec::new());
    }

    pub(super) fn tell(&self, finder: Finder, key: &ObjectKey, faults: Vec<Fault>) {
        self.faults.set(finder, Subject::Object(key.clone()), faults);
    }

    fn draft(&self, problems: &mut Problems, draft: impl FnOnce(&mut Drafting<'_>) -> Draft) -> Draft {
        draft(&mut Drafting { options: &self.options, problems, bound: HashMap::new() })
    }

    /// The record of an object, made if need be.
    fn slot(&mut self, key: &ObjectKey, ingress: Option<IngressPart>) -> IngressId {
        if let Some(id) = self.state.objects.find(key.kind, &key.object) {
            return id;
        }
        let is_kingress = ingress.is_none();
        let id = self.state.objects.insert(&key.object, ingress);
        if !is_kingress {
            self.classes.join(None, id);
        }
        id
    }
}

fn key(kind: ObjectKind, metadata: &ObjectMeta) -> ObjectKey {
    let [namespace, name] = [&metadata.namespace, &metadata.name].map(|text| text.as_deref().unwrap_or_default());
    ObjectKey { kind, object: ObjectRef::new(namespace, name) }
}

/// Namespace and name become parts of clusters' names, so they must be what Kubernetes allows.
fn check_name(object: &ObjectRef, problems: &mut Problems) {
    if !object.namespace.is_empty() && !host::is_object_name(&object.namespace) {
        problems.error("metadata.namespace", format_args!("{:?} is not the name of a namespace", object.namespace));
    }
    if !host::is_object_name(&object.name) {
        problems.error("metadata.name", format_args!("{:?} is not the name of an object", object.name));
    }
}
