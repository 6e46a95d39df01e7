use super::*;

/// Sizes, switches, and two numbers of which one must not be larger than the other.
#[derive(Debug)]
struct Numbers;

impl Schema for Numbers {
    fn settings(&self) -> Vec<(&'static str, Effect)> {
        let now = [
            "accept-unsupported",
            "access-log",
            "default-certificate",
            "least",
            "most",
            "proxy-protocol",
            "stream-idle-timeout",
            "trusted-hops-count",
            "use-remote-address",
        ];
        let mut settings: Vec<_> = now.into_iter().map(|name| (name, Effect::Now)).collect();
        settings.extend([("version", Effect::NextStart), ("threads", Effect::Never)]);
        settings
    }

    fn check(&self, values: &Values) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut number = |setting: &'static str, default: u32| match values.get(setting).map(|value| &value.text) {
            None => default,
            Some(text) => text.parse().unwrap_or_else(|_| {
                wrong.push((setting, format!("{text:?} is not a number")));
                default
            }),
        };
        number("trusted-hops-count", 0);
        let (least, most) = (number("least", 0), number("most", 10));
        if least > most {
            wrong.push(("least", format!("{least} is more than most, which is {most}")));
        }
        wrong
    }

    fn accepted(&self, values: &Values) -> BTreeSet<String> {
        let given = values.get("accept-unsupported").into_iter().flat_map(|value| value.text.split(','));
        given.map(|key| key.trim().to_owned()).collect()
    }
}

struct World {
    reader: Reader,
    values: watch::Receiver<Values>,
    faults: Faults,
}

impl World {
    fn new() -> Self {
        let faults = Faults::default();
        let (reader, values) = Reader::new(Names::default(), Box::new(Numbers), faults.clone());
        Self { reader, values, faults }
    }

    fn apply(&mut self, name: &ObjectRef, data: &[(&str, &str)]) {
        let mut map = ConfigMap::default();
        map.metadata.namespace = Some(name.namespace.to_string());
        map.metadata.name = Some(name.name.to_string());
        map.data = Some(data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        self.reader.read(&[ObjectEvent::Applied(Object::ConfigMap(Box::new(map)))]);
    }

    fn postern(&mut self, data: &[(&str, &str)]) {
        self.apply(&Names::default().postern, data);
    }

    fn kourier(&mut self, data: &[(&str, &str)]) {
        self.apply(&ObjectRef::new("knative-serving", "config-kourier"), data);
    }

    fn now(&self) -> String {
        let values = self.values.borrow();
        values.iter().map(|(setting, value)| format!("{setting}={}", value.text)).collect::<Vec<_>>().join(" ")
    }

    fn faults(&self) -> Vec<String> {
        self.faults.all().iter().map(ToString::to_string).collect()
    }
}

#[test]
fn what_a_map_sets_is_published_and_taken_back_with_it() {
    let mut world = World::new();
    world.postern(&[("most", " 64\n"), ("version", "1.3")]);
    assert_eq!(world.now(), "most=64 version=1.3");
    let value = world.values.borrow()["most"].clone();
    assert_eq!((value.map, value.key.as_str()), (Names::default().postern, "most"));
    world.postern(&[("most", "64")]);
    assert_eq!(world.now(), "most=64");
    let key = ObjectKey { kind: ObjectKind::ConfigMap, object: Names::default().postern };
    world.reader.read(&[ObjectEvent::Deleted(key)]);
    assert_eq!(world.now(), "");
}

#[test]
fn kouriers_map_sets_what_postern_has_and_yields_to_posterns() {
    let mut world = World::new();
    world.kourier(&[
        ("enable-service-access-logging", "false"),
        ("enable-proxy-protocol", "T"),
        ("stream-idle-timeout", "1m30s"),
        ("certs-secret-name", "wildcard"),
        ("certs-secret-namespace", "certs"),
        ("trusted-hops-count", " 2"),
        ("use-remote-address", "True"),
        ("tracing-endpoint", "otel:4317"),
        ("_example", "everything"),
    ]);
    let expected = "access-log=off default-certificate=certs/wildcard proxy-protocol=on stream-idle-timeout=90000ms \
                    trusted-hops-count=2 use-remote-address=on";
    assert_eq!((world.now().as_str(), world.faults()), (expected, vec![]));
    world.postern(&[("stream-idle-timeout", "5s"), ("default-certificate", "ours/cert"), ("trusted-hops-count", "1")]);
    let expected = "access-log=off default-certificate=ours/cert proxy-protocol=on stream-idle-timeout=5s \
                    trusted-hops-count=1 use-remote-address=on";
    assert_eq!(world.now(), expected);
}

#[test]
fn an_invalid_value_is_a_fault_and_the_last_good_one_stays() {
    let mut world = World::new();
    world.postern(&[("most", "64")]);
    world.postern(&[("most", "much"), ("least", "few"), ("access-log", "on")]);
    assert_eq!(world.now(), "access-log=on most=64");
    let faults = world.faults();
    let expected = [
        "ConfigMap postern-system/config-postern: data.least: \"few\" is not a number; what holds without this key \
         stays in effect",
        "ConfigMap postern-system/config-postern: data.most: \"much\" is not a number; \"64\" stays in effect",
    ];
    assert_eq!(faults, expected);
    world.postern(&[("most", "much"), ("access-log", "off")]);
    assert_eq!(world.now(), "access-log=off most=64", "it stays for as long as it is wrong");
    world.postern(&[("most", "7")]);
    assert_eq!((world.now().as_str(), world.faults()), ("most=7", vec![]));
}

#[test]
fn values_that_do_not_go_together_are_refused_together_or_one_by_one() {
    let mut world = World::new();
    world.postern(&[("least", "20"), ("most", "30")]);
    assert_eq!(world.now(), "least=20 most=30");
    world.postern(&[("least", "40"), ("most", "30")]);
    assert_eq!(world.now(), "least=20 most=30");
    assert!(world.faults()[0].contains("40 is more than most, which is 30; \"20\" stays"), "{:?}", world.faults());
    world.postern(&[("least", "40"), ("most", "5")]);
    assert_eq!(world.now(), "most=5", "the old value does not go with the new one either");
}

#[test]
fn a_value_that_kourier_would_not_read_leaves_the_last_good_one() {
    let mut world = World::new();
    world.kourier(&[("stream-idle-timeout", "5s")]);
    world.kourier(&[("stream-idle-timeout", "soon")]);
    assert_eq!(world.now(), "stream-idle-timeout=5000ms");
    assert!(world.faults()[0].contains("\"soon\" is not a time: expected one like 500ms"), "{:?}", world.faults());
}

#[test]
fn wrong_hops_of_kourier_are_faults_with_key_and_value_and_the_last_good_ones_stay() {
    let mut world = World::new();
    world.kourier(&[("trusted-hops-count", "1"), ("use-remote-address", "true")]);
    world.kourier(&[("trusted-hops-count", "-1"), ("use-remote-address", "yes")]);
    assert_eq!(world.now(), "trusted-hops-count=1 use-remote-address=on");
    let expected = [
        "ConfigMap knative-serving/config-kourier: data.trusted-hops-count: \"-1\" is not a number; \"1\" stays in effect",
        "ConfigMap knative-serving/config-kourier: data.use-remote-address: \"yes\" is neither true nor false; \"on\" \
         stays in effect",
    ];
    let mut faults = world.faults();
    faults.sort_unstable();
    assert_eq!(faults, expected);
    world.kourier(&[]);
    assert_eq!((world.now().as_str(), world.faults()), ("", vec![]));
}

#[test]
fn an_unknown_key_is_named_and_one_that_knative_reads_is_not() {
    let mut world = World::new();
    world.postern(&[("mosst", "64")]);
    assert!(world.faults()[0].ends_with(
        "data.mosst: is not a setting: expected one of accept-unsupported, access-log, default-certificate, least, most, \
         proxy-protocol, stream-idle-timeout, trusted-hops-count, use-remote-address, version"
    ));
    world.postern(&[]);
    world.apply(
        &ObjectRef::new("knative-serving", "config-network"),
        &[("ingress-class", "kourier"), ("system-internal-tls", "disabled")],
    );
    assert!(world.faults().is_empty());
}

#[test]
fn a_setting_that_is_used_too_early_is_said_to_be_set_elsewhere() {
    let mut world = World::new();
    world.postern(&[("threads", "4")]);
    assert_eq!(world.now(), "");
    assert!(world.faults()[0].contains("data.threads: cannot be set here"), "{:?}", world.faults());
}

#[test]
fn half_of_a_default_certificate_is_a_fault() {
    let mut world = World::new();
    world.kourier(&[("certs-secret-name", "wildcard")]);
    assert_eq!(world.now(), "");
    assert!(world.faults()[0].contains("expected certs-secret-namespace too"), "{:?}", world.faults());
}

#[test]
fn other_maps_and_repetitions_change_nothing() {
    let mut world = World::new();
    world.postern(&[("most", "64")]);
    world.values.mark_unchanged();
    world.postern(&[("most", "64"), ("threads", "4")]);
    world.apply(&ObjectRef::new("shop", "config-postern"), &[("most", "1")]);
    assert!(!world.values.has_changed().unwrap());
}

const NETWORK: &str = "config-network";

impl World {
    fn network(&mut self, data: &[(&str, &str)]) {
        self.apply(&ObjectRef::new("knative-serving", NETWORK), data);
    }

    fn withheld(&self) -> Vec<String> {
        self.reader.withheld().borrow().to_vec()
    }
}

#[test]
fn a_key_that_would_open_what_was_closed_is_an_error_and_keeps_everything_from_being_served() {
    let mut world = World::new();
    for _ in 0..2 {
        assert!(world.faults().is_empty() && world.withheld().is_empty());
        world.kourier(&[("extauthz-host", "authz:50051"), ("extauthz-protocol", "grpc")]);
        assert_eq!(world.withheld(), ["config-kourier extauthz-host"]);
        world.network(&[("system-internal-tls", "Enabled")]);
        assert_eq!(world.withheld(), ["config-kourier extauthz-host", "config-network system-internal-tls"]);
        let faults = world.faults.all();
        assert!(faults.iter().all(|fault| fault.severity == Severity::Error), "{faults:?}");
        let expected = "ConfigMap knative-serving/config-kourier: data.extauthz-host: is not implemented: requests would be \
                        served without asking the authorization server; nothing is served until it is gone or \
                        accept-unsupported names extauthz-host";
        assert_eq!(world.faults()[0], expected);
        world.kourier(&[("extauthz-host", "")]);
        let key = ObjectKey { kind: ObjectKind::ConfigMap, object: ObjectRef::new("knative-serving", NETWORK) };
        world.reader.read(&[ObjectEvent::Deleted(key)]);
    }
}

#[test]
fn a_key_that_is_accepted_is_a_warning_and_withholds_nothing() {
    let mut world = World::new();
    world.kourier(&[("extauthz-host", "authz:50051"), ("cipher-suites", "AES128-SHA")]);
    for _ in 0..2 {
        assert_eq!(world.withheld().len(), 1);
        // Whichever map comes last.
        world.postern(&[("accept-unsupported", "extauthz-host, cipher-suites")]);
        assert!(world.withheld().is_empty());
        let faults = world.faults.all();
        assert_eq!(faults.len(), 2);
        let is_accepted = |fault: &Fault| fault.severity == Severity::Warning && fault.message.contains("names it");
        assert!(faults.iter().all(is_accepted), "{faults:?}");
        world.postern(&[]);
    }
}

#[test]
fn no_key_that_changes_who_may_reach_a_service_is_passed_over() {
    let mut world = World::new();
    let keys = [
        ("cipher-suites", "AES128-SHA"),
        ("cluster-cert-secret", "internal"),
        ("extauthz-host", "authz:50051"),
        ("listen-ip-addresses", "10.0.0.1"),
    ];
    world.kourier(&keys);
    assert_eq!(world.faults().len(), keys.len());
    for (key, _) in keys {
        assert!(world.faults().iter().any(|fault| fault.contains(&format!("data.{key}: "))), "{key}");
    }
    assert_eq!(world.reader.without_effect().count(), 0);
}

#[test]
fn kouriers_environment_counts_as_its_map() {
    let mut world = World::new();
    world.reader.read_environment(|name| (name == "KOURIER_EXTAUTHZ_HOST").then(|| "authz:50051".to_owned()));
    assert_eq!(world.withheld(), ["environment KOURIER_EXTAUTHZ_HOST"]);
    assert!(world.faults()[0].starts_with("environment: KOURIER_EXTAUTHZ_HOST: is not implemented"));
    world.postern(&[("accept-unsupported", "extauthz-host")]);
    assert!(world.withheld().is_empty());
}
