//! Secrets that only those are told of who refer to them, and Secrets that cannot be served.

use super::*;
use crate::object::Refusal;
use crate::source::api::SecretRoster;

/// A KIngress with a host that a Secret is bound to, and all that it needs but the Secret.
fn site(name: &str, secret: &str) -> [Object; 3] {
    let host = format!("{name}.test");
    let rules = json!([rule(&[&host], "ExternalIP", "hello")]);
    let tls = json!([{"hosts": [host], "secretName": secret}]);
    [
        kingress(name, json!({"rules": rules, "tls": tls})),
        plain_service("hello"),
        pods("hello-1", "hello", 80, &["10.0.0.1"]),
    ]
}

/// A cluster's Secrets, and a translator that is told of what it refers to.
struct Followed {
    world: World,
    roster: Arc<SecretRoster>,
}

impl Followed {
    fn new() -> Self {
        let (mut world, roster) = (World::new(), SecretRoster::new());
        world.translator.follow_secrets(Arc::clone(&roster));
        Self { world, roster }
    }

    /// What a watch does with a change.
    fn put(&mut self, name: &str, version: &str) -> Update {
        let is_told = self.roster.insert("", &reference(name), version);
        self.world.apply(is_told.then(|| secret(name, version)))
    }

    fn remove(&mut self, name: &str) -> Update {
        if self.roster.remove("", &reference(name)) {
            return self.world.delete(ObjectKind::Secret, name);
        }
        self.world.flush()
    }

    fn versions(&self) -> Vec<(String, String)> {
        self.world.secrets.iter().map(|(object, version)| (object.to_string(), version.0.to_string())).collect()
    }
}

fn pair(name: &str, version: &str) -> (String, String) {
    (name.to_owned(), version.to_owned())
}

#[test]
fn a_secret_counts_from_when_somebody_refers_to_it_until_nobody_does() {
    let mut followed = Followed::new();
    followed.put("cert", "1");
    assert!(followed.put("other", "2").is_empty());
    assert_eq!(followed.versions(), []);
    followed.world.apply(site("a", "cert"));
    assert_eq!(followed.world.faults(), [""; 0]);
    assert_eq!(followed.versions(), [pair("shop/cert", "1")]);
    followed.put("cert", "3");
    assert_eq!(followed.versions(), [pair("shop/cert", "3")]);
    followed.world.apply(site("b", "cert"));
    followed.world.delete(ObjectKind::KIngress, "a");
    assert_eq!(followed.versions(), [pair("shop/cert", "3")]);
    followed.world.delete(ObjectKind::KIngress, "b");
    assert_eq!(followed.versions(), []);
    assert!(followed.put("cert", "4").is_empty());
    assert_eq!(followed.world.translator.state.sizes()[2], 0, "nothing is kept of it");
}

#[test]
fn a_secret_that_is_missing_is_named_until_it_is_there() {
    let mut followed = Followed::new();
    followed.world.apply(site("a", "cert"));
    assert!(followed.world.fault().contains("Secret shop/cert does not exist"));
    followed.put("cert", "1");
    assert_eq!(followed.world.faults(), [""; 0]);
    followed.remove("cert");
    assert!(followed.world.fault().contains("Secret shop/cert does not exist"));
    assert_eq!(followed.versions(), []);
}

#[test]
fn an_event_that_waited_while_nobody_referred_to_its_secret_does_no_harm() {
    let mut followed = Followed::new();
    followed.put("cert", "1");
    followed.world.apply(site("a", "cert"));
    // Deleted and told; before that is heard, nobody refers to it, it is made again, and referred to again.
    followed.roster.remove("", &reference("cert"));
    followed.world.delete(ObjectKind::KIngress, "a");
    followed.roster.insert("", &reference("cert"), "2");
    followed.world.apply(site("a", "cert"));
    followed.world.delete(ObjectKind::Secret, "cert");
    assert_eq!(followed.versions(), [pair("shop/cert", "2")]);
    assert_eq!(followed.world.faults(), [""; 0]);
}

#[test]
fn what_changes_of_a_secret_that_no_object_refers_to_and_is_kept_is_told() {
    let mut followed = Followed::new();
    followed.put("default", "1");
    followed.roster.keep([reference("default")]);
    // Whoever loads it has never been told of it.
    assert!(followed.roster.remove("", &reference("default")));
    let key = ObjectKey { kind: ObjectKind::Secret, object: reference("default") };
    followed.world.translator.accept(ObjectEvent::Deleted(key));
    let gone = followed.world.translator.flush().unwrap();
    assert_eq!(gone.secrets, [(reference("default"), None)]);
    followed.put("default", "2");
    assert_eq!(followed.versions(), [pair("shop/default", "2")]);
}

fn refusal(has_last_good: bool) -> Refusal {
    Refusal { why: "tls.key is encrypted".into(), has_last_good }
}

#[test]
fn a_secret_that_cannot_be_served_is_a_fault_of_what_refers_to_it() {
    let mut world = World::new();
    world.apply(site("a", "cert").into_iter().chain([secret("cert", "1")]));
    let tls = json!([{"hosts": ["b.test"], "secretName": "cert"}]);
    world.apply([ingress("b", json!({"rules": [ingress_rule("b.test", &[("Prefix", "/")])], "tls": tls}))]);
    world.apply([plain_service("s0"), pods("s0-1", "s0", 80, &["10.0.0.1"])]);
    assert_eq!(world.faults(), [""; 0]);
    world.translator.judge((reference("cert"), Some(refusal(false))));
    world.flush();
    let says = "spec.tls: Secret shop/cert cannot be served: tls.key is encrypted";
    assert_eq!(world.faults(), [format!("Ingress shop/b: {says}"), format!("KIngress shop/a: {says}")]);
    assert!(world.faults.all().iter().all(|fault| fault.severity == crate::fault::Severity::Error));
    // A KIngress that is served with its last good certificate is ready.
    world.translator.judge((reference("cert"), Some(refusal(true))));
    world.flush();
    let severities: Vec<_> = world.faults.all().iter().map(|fault| fault.severity.as_str()).collect();
    assert_eq!(severities, ["error", "warning"]);
    assert!(world.faults().iter().all(|fault| fault.ends_with("; its last good version is served")));
    world.translator.judge((reference("cert"), None));
    world.flush();
    assert_eq!(world.faults(), [""; 0]);
}

#[test]
fn a_verdict_goes_with_its_secret() {
    let mut world = World::new();
    world.apply(site("a", "cert").into_iter().chain([secret("cert", "1")]));
    world.translator.judge((reference("cert"), Some(refusal(false))));
    world.translator.judge((reference("unknown"), Some(refusal(false))));
    world.delete(ObjectKind::KIngress, "a");
    world.delete(ObjectKind::Secret, "cert");
    assert_eq!(world.translator.state.sizes()[2], 0);
    world.apply(site("a", "cert").into_iter().chain([secret("cert", "2")]));
    assert_eq!(world.faults(), [""; 0]);
}
