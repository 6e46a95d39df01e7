use super::*;

struct World {
    reader: Reader,
    settings: watch::Receiver<Settings>,
    faults: Faults,
}

impl World {
    fn new() -> Self {
        let faults = Faults::default();
        let level = |text: &str| if text == "loud" { Err("\"loud\" is not a log level".to_owned()) } else { Ok(()) };
        let (reader, settings) = Reader::new(Names::default(), level, faults.clone());
        Self { reader, settings, faults }
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
        self.apply(&Names::default().kourier, data);
    }

    fn now(&self) -> Settings {
        self.settings.borrow().clone()
    }

    fn faults(&self) -> Vec<String> {
        self.faults.all().iter().map(ToString::to_string).collect()
    }
}

#[test]
fn what_a_map_sets_is_published_and_taken_back_with_it() {
    let mut world = World::new();
    world.postern(&[("cert-cache", "64MiB"), ("log-level", "debug"), ("access-log", "off"), ("endpoint-wait", "3s")]);
    let expected = Settings {
        cert_cache: Some(64 << 20),
        log_level: Some("debug".to_owned()),
        access_log: Some(false),
        endpoint_wait: Some(Duration::from_secs(3)),
        ..Settings::default()
    };
    assert_eq!(world.now(), expected);
    world.postern(&[("cert-cache", "64MiB")]);
    assert_eq!(world.now(), Settings { cert_cache: Some(64 << 20), ..Settings::default() });
    let key = ObjectKey { kind: ObjectKind::ConfigMap, object: Names::default().postern };
    world.reader.read(&[ObjectEvent::Deleted(key)]);
    assert_eq!(world.now(), Settings::default());
}

#[test]
fn kouriers_map_sets_what_postern_has_and_yields_to_posterns() {
    let mut world = World::new();
    world.kourier(&[
        ("enable-service-access-logging", "false"),
        ("stream-idle-timeout", "1m30s"),
        ("cluster-cert-secret", "internal"),
        ("certs-secret-name", "wildcard"),
        ("certs-secret-namespace", "certs"),
        ("trusted-hops-count", "1"),
        ("_example", "everything"),
    ]);
    let expected = Settings {
        access_log: Some(false),
        stream_idle_timeout: Some(Duration::from_secs(90)),
        default_certificate: Some(ObjectRef::new("certs", "wildcard")),
        internal_certificate: Some(ObjectRef::new("knative-serving", "internal")),
        ..Settings::default()
    };
    assert_eq!((world.now(), world.faults()), (expected, vec![]));
    world.postern(&[("stream-idle-timeout", "5s"), ("default-certificate", "ours/cert")]);
    let now = world.now();
    assert_eq!(now.stream_idle_timeout, Some(Duration::from_secs(5)));
    assert_eq!(now.default_certificate, Some(ObjectRef::new("ours", "cert")));
}

#[test]
fn an_invalid_value_is_a_fault_and_the_last_good_one_stays() {
    let mut world = World::new();
    world.postern(&[("cert-cache", "64MiB"), ("log-level", "debug")]);
    world.postern(&[("cert-cache", "much"), ("log-level", "loud"), ("access-log", "on")]);
    let now = world.now();
    assert_eq!((now.cert_cache, now.log_level.as_deref(), now.access_log), (Some(64 << 20), Some("debug"), Some(true)));
    let faults = world.faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("ConfigMap postern-system/config-postern: data.cert-cache: \"much\" is not a size"));
    world.postern(&[("cert-cache", "1MiB")]);
    assert_eq!((world.now().cert_cache, world.faults()), (Some(1 << 20), vec![]));
}

#[test]
fn an_unknown_key_is_named_and_one_that_knative_reads_is_not() {
    let mut world = World::new();
    world.postern(&[("cert-cash", "64MiB")]);
    assert!(world.faults()[0].contains("data.cert-cash: is not a setting: expected one of access-log, cert-cache"));
    world.postern(&[]);
    world.apply(&Names::default().network, &[("ingress-class", "kourier"), ("system-internal-tls", "enabled")]);
    assert!(world.faults().is_empty());
}

#[test]
fn half_of_a_default_certificate_is_a_fault() {
    let mut world = World::new();
    world.kourier(&[("certs-secret-name", "wildcard")]);
    assert_eq!(world.now(), Settings::default());
    assert!(world.faults()[0].contains("expected certs-secret-namespace too"), "{:?}", world.faults());
}

#[test]
fn other_maps_and_repetitions_change_nothing() {
    let mut world = World::new();
    world.postern(&[("cert-cache", "64MiB")]);
    world.settings.mark_unchanged();
    world.postern(&[("cert-cache", "64MiB"), ("threads", "4")]);
    world.apply(&ObjectRef::new("shop", "config-postern"), &[("cert-cache", "1MiB")]);
    assert!(!world.settings.has_changed().unwrap());
}
