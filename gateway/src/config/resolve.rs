//! From layers of text to a valid [`Config`], or to every fault in them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::layers::{ConfigFault, Layers, Origin, place};
use super::parse::{
    default_address, parse_auto_count, parse_auto_size, parse_auto_switch, parse_listen, parse_log_format,
    parse_log_level, parse_memory_limit, parse_object, parse_secret_ref, parse_source, parse_tls_version,
    parse_underscore_headers, parse_unsupported, parse_word,
};
use super::setting::{GATEWAY_SETTINGS, Setting};
use super::value::{parse_count, parse_hops, parse_percent, parse_range, parse_size, parse_switch, parse_time};
use super::{Config, KubeConfig, SourceConfig, StatusConfig};
use crate::listener::ListenerName;
use crate::overload::Thresholds;
use crate::proxy::trust::Hops;
use crate::upstream::Reach;

/// The stages' settings, as they follow one another.
const THRESHOLDS: [&str; 3] = ["overload-shrink", "overload-close", "overload-refuse"];

impl Config {
    /// Makes a configuration of what the layers say.
    ///
    /// # Errors
    /// Every fault.
    pub fn resolve(layers: &Layers) -> Result<Self, Vec<ConfigFault>> {
        let mut read = Reader { layers, faults: Vec::new() };
        let config = read.config();
        read.check_timeouts(&config);
        read.check_thresholds(config.overload);
        if read.faults.is_empty() { Ok(config) } else { Err(read.faults) }
    }
}

/// What is wrong with single values, whether or not they go together.
pub(super) fn faults_of_values(layers: &Layers) -> Vec<ConfigFault> {
    let mut read = Reader { layers, faults: Vec::new() };
    read.config();
    read.faults
}

struct Reader<'a> {
    layers: &'a Layers,
    faults: Vec<ConfigFault>,
}

fn setting(name: &str) -> &'static Setting {
    GATEWAY_SETTINGS.iter().find(|setting| setting.name == name).expect("every setting that is read is in the table")
}

impl Reader<'_> {
    fn config(&mut self) -> Config {
        let read = self;
        Config {
            source: read.source(),
            own_namespace: read.optional("own-namespace", parse_word),
            knative_namespace: Some(read.value("knative-namespace", parse_word)).filter(|name| name != "off"),
            listen: read.listen(),
            sealed_dir: read.optional("sealed-dir", |text| Ok(text.into())),
            sealed_bytes: read.value("sealed-bytes", parse_size),
            memory_limit: read.value("memory-limit", parse_memory_limit),
            overload: read.thresholds(),
            cert_cache: read.value("cert-cache", parse_auto_size),
            cert_loads: read.value("cert-loads", parse_count),
            cert_miss_rate: read.value("cert-miss-rate", parse_count),
            default_certificate: read.optional("default-certificate", parse_secret_ref),
            min_tls_version: read.value("min-tls-version", parse_tls_version),
            handshake_timeout: read.value("handshake-timeout", parse_time),
            header_timeout: read.value("header-timeout", parse_time),
            keepalive_timeout: read.value("keepalive-timeout", parse_time),
            write_stall_timeout: read.value("write-stall-timeout", parse_time),
            max_buffered: read.value("max-buffered", parse_auto_size),
            max_connections: read.value("max-connections", parse_auto_count),
            max_connections_per_client: read.value("max-connections-per-client", parse_auto_count),
            proxy_protocol: read.value("proxy-protocol", parse_switch),
            trusted_proxies: read.list("trusted-proxies", parse_range),
            hops: read.hops(),
            underscore_headers: read.value("underscore-headers", parse_underscore_headers),
            reach: read.reach(),
            endpoint_wait: read.value("endpoint-wait", parse_time),
            stream_idle_timeout: read.value("stream-idle-timeout", parse_time),
            kingress_class: read.value("kingress-class", parse_word),
            ingress_controller: read.value("ingress-controller", parse_word),
            ingress_class: read.value("ingress-class", parse_word),
            https_redirect: read.value("https-redirect", parse_switch),
            accept_unsupported: read.list("accept-unsupported", parse_unsupported),
            shared_secret_namespaces: read.list("shared-secret-namespaces", parse_word),
            drain_delay: read.value("drain-delay", parse_time),
            drain_timeout: read.value("drain-timeout", parse_time),
            log_format: read.value("log-format", parse_log_format),
            log_level: read.value("log-level", parse_log_level),
            access_log: read.value("access-log", parse_switch),
            threads: read.optional("threads", parse_count).unwrap_or_else(processors),
        }
    }

    fn fault(&mut self, setting: &Setting, origin: Origin, message: String) {
        self.faults.push(ConfigFault { place: place(setting, origin), message, about: Some((setting.name, origin)) });
    }

    fn optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let setting = setting(name);
        let effective = self.layers.effective(setting);
        match parse(effective.values.last()?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(setting, effective.origin, message);
                // The default is valid: reading on finds the other faults, and this one is said already.
                parse(setting.default).ok()
            }
        }
    }

    fn required<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let setting = setting(name);
        if self.layers.effective(setting).values.is_empty() {
            let message = format!("is required, as {} (or {})", setting.value_name, setting.variable());
            self.fault(setting, Origin::Flag, message);
        }
        self.optional(name, parse)
    }

    fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.optional(name, parse).expect("the table holds a valid default for every setting that is read so")
    }

    fn list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let setting = setting(name);
        let effective = self.layers.effective(setting);
        let mut values = Vec::new();
        for text in effective.values.iter().filter(|text| !text.is_empty()) {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(message) => self.fault(setting, effective.origin, message),
            }
        }
        values
    }

    fn hops(&mut self) -> Option<Hops> {
        let count = self.value("trusted-hops-count", parse_hops);
        let appends_peer = self.value("use-remote-address", parse_switch);
        (count > 0 || appends_peer).then_some(Hops { count, appends_peer })
    }

    fn source(&mut self) -> SourceConfig {
        let kube = KubeConfig {
            kubeconfig: self.optional("kubeconfig", |text| Ok(text.into())),
            context: self.optional("kube-context", parse_word),
            namespaces: self.list("namespaces", parse_word),
            secret_selector: self.optional("secret-selector", |text| Ok(text.to_owned())),
            qps: self.value("kube-api-qps", parse_count),
            status: self.status(),
        };
        match self.required("source", parse_source) {
            Some(SourceConfig::Kube(_)) => SourceConfig::Kube(kube),
            Some(source) => source,
            // Its absence is a fault, so that no configuration comes of this.
            None => SourceConfig::Dir(".".into()),
        }
    }

    /// Who writes a directory of manifests runs this host; who writes objects of a cluster need not.
    fn reach(&mut self) -> Reach {
        let is_dir = |read: &Self| {
            let source = read.layers.effective(setting("source"));
            source.values.last().is_some_and(|source| matches!(parse_source(source), Ok(SourceConfig::Dir(_))))
        };
        let is_everywhere = self.value("loopback-endpoints", parse_auto_switch).unwrap_or_else(|| is_dir(self));
        if is_everywhere { Reach::Everywhere } else { Reach::Elsewhere }
    }

    fn status(&mut self) -> Option<Box<StatusConfig>> {
        let is_on = self.value("status", parse_switch);
        let status = StatusConfig {
            pod_name: self.optional("pod-name", parse_word),
            public_service: self.value("public-service", parse_word),
            internal_service: self.value("internal-service", parse_word),
            cluster_domain: self.value("cluster-domain", parse_word),
            publish_service: self.optional("publish-service", |text| parse_object("a Service", text)),
            publish_addresses: self.list("publish-status-address", parse_word),
            lease_name: self.value("lease-name", parse_word),
            lease_duration: self.value("lease-duration", parse_time),
            lease_renew_deadline: self.value("lease-renew-deadline", parse_time),
            lease_retry_period: self.value("lease-retry-period", parse_time),
            rate: self.value("status-rate", parse_count),
        };
        self.check_lease(&status);
        is_on.then(|| Box::new(status))
    }

    /// A holder must stop before others begin, and have more than one try until then.
    fn check_lease(&mut self, status: &StatusConfig) {
        let [duration, deadline, period] =
            [status.lease_duration, status.lease_renew_deadline, status.lease_retry_period];
        if duration.as_secs() == 0 || duration.subsec_nanos() != 0 {
            self.fault_of("lease-duration", format!("{duration:?} is not a whole number of seconds above zero"));
        }
        if deadline >= duration {
            let message = format!("{deadline:?} is not shorter than lease-duration, which is {duration:?}");
            self.fault_of("lease-renew-deadline", message);
        }
        if period.is_zero() || period * 2 > deadline {
            let message = format!("{period:?} does not fit twice into lease-renew-deadline, which is {deadline:?}");
            self.fault_of("lease-retry-period", message);
        }
    }

    fn fault_of(&mut self, name: &str, message: String) {
        let setting = setting(name);
        self.fault(setting, self.layers.effective(setting).origin, message);
    }

    /// Listeners add up: each layer changes only those that it names.
    fn listen(&mut self) -> BTreeMap<ListenerName, SocketAddr> {
        let setting = setting("listen");
        let mut listen: BTreeMap<_, _> =
            ListenerName::ALL.into_iter().map(|name| (name, default_address(name))).collect();
        for (origin, text) in self.layers.accumulated(setting) {
            match parse_listen(&text) {
                Ok((name, Some(address))) => drop(listen.insert(name, address)),
                Ok((name, None)) => drop(listen.remove(&name)),
                Err(message) => self.fault(setting, origin, message),
            }
        }
        listen
    }

    fn thresholds(&mut self) -> Thresholds {
        let [shrink, close, refuse] = THRESHOLDS.map(|name| self.value(name, parse_percent));
        Thresholds { shrink, close, refuse }
    }

    /// Each stage includes those before it.
    fn check_thresholds(&mut self, given: Thresholds) {
        let percents = [given.shrink, given.close, given.refuse];
        for (names, [lower, upper]) in
            THRESHOLDS.windows(2).zip([[percents[0], percents[1]], [percents[1], percents[2]]])
        {
            if lower >= upper {
                let message = format!("{lower}% is not below {}, which is {upper}%", names[1]);
                self.fault_of_changed(&[names[0], names[1]], message);
            }
        }
    }

    fn check_timeouts(&mut self, config: &Config) {
        if config.drain_delay > config.drain_timeout {
            let message = format!(
                "the drain-delay of {:?} is longer than drain-timeout, which is {:?} and includes it",
                config.drain_delay, config.drain_timeout
            );
            self.fault_of_changed(&["drain-delay", "drain-timeout"], message);
        }
    }

    /// Of settings that do not go together the first is at fault; if a `ConfigMap` has changed one of them, that is the one
    /// to be taken back.
    fn fault_of_changed(&mut self, names: &[&str], message: String) {
        let is_changed = |name: &&str| self.layers.effective(setting(name)).origin == Origin::ConfigMap;
        self.fault_of(names.iter().copied().find(is_changed).unwrap_or(names[0]), message);
    }
}

/// As many as the processors that the process may use (the cgroup's quota included).
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;
    use crate::overload::MemoryLimit;

    fn flags(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        let mut flags: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in pairs {
            flags.entry((*name).to_owned()).or_default().push((*value).to_owned());
        }
        flags
    }

    fn resolve(pairs: &[(&str, &str)]) -> Result<Config, Vec<ConfigFault>> {
        Config::resolve(&Layers::default().with_flags(flags(pairs)))
    }

    #[test]
    fn every_default_in_the_table_is_valid() {
        let config = resolve(&[("source", "dir:/manifests")]).expect("defaults are valid");
        assert_eq!(config.listen.len(), ListenerName::ALL.len());
        assert_eq!(config.listen[&ListenerName::Admin], "127.0.0.1:9901".parse().expect("an address"));
    }

    #[test]
    fn all_faults_are_reported_each_with_its_flag() {
        let faults = resolve(&[("cert-cache", "big"), ("listen", "front=1"), ("drain-timeout", "soon")]).unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| fault.place.as_str()).collect();
        assert_eq!(places, ["--source", "--listen", "--cert-cache", "--drain-timeout"]);
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let environment = |name: &str| match name {
            "POSTERN_CERT_CACHE" => Some("2MiB".to_owned()),
            "POSTERN_CERT_LOADS" => Some("2".to_owned()),
            _ => None,
        };
        let file = "source: dir:/m\ncert-cache: 3MiB\ncert-loads: 3\nthreads: 3\naccess-log: off\n";
        let layers = Layers::default()
            .with_flags(flags(&[("cert-cache", "1MiB")]))
            .with_environment(GATEWAY_SETTINGS, environment)
            .with_file(GATEWAY_SETTINGS, file)
            .expect("the file is valid");
        let config = Config::resolve(&layers).expect("the configuration is valid");
        assert_eq!(config.cert_cache, Some(ByteSize::mib(1)));
        assert_eq!((config.cert_loads, config.threads, config.access_log), (2, 3, false));
    }

    #[test]
    fn listeners_of_several_layers_add_up() {
        let environment = |name: &str| (name == "POSTERN_LISTEN").then(|| "metrics=off, admin=127.0.0.1:1".to_owned());
        let layers = Layers::default()
            .with_flags(flags(&[("source", "dir:/m"), ("listen", "admin=[::1]:2"), ("listen", "probe-http=off")]))
            .with_environment(GATEWAY_SETTINGS, environment);
        let listen = Config::resolve(&layers).expect("the configuration is valid").listen;
        assert_eq!(listen.get(&ListenerName::Admin), Some(&"[::1]:2".parse().expect("an address")));
        assert_eq!((listen.get(&ListenerName::Metrics), listen.get(&ListenerName::ProbeHttp)), (None, None));
        assert!(listen.contains_key(&ListenerName::ExternalHttps));
    }

    #[test]
    fn the_file_may_write_listeners_as_a_mapping() {
        let file = "source: dir:/m\nlisten:\n  metrics: off\n  external-http: 127.0.0.1:80\n";
        let layers = Layers::default().with_file(GATEWAY_SETTINGS, file).expect("the file is valid");
        let listen = Config::resolve(&layers).expect("the configuration is valid").listen;
        assert_eq!(listen.get(&ListenerName::Metrics), None);
        assert_eq!(listen[&ListenerName::ExternalHttp].port(), 80);
    }

    #[test]
    fn an_unknown_key_in_the_file_is_named() {
        let faults = Layers::default().with_file(GATEWAY_SETTINGS, "cert-cash: 1MiB\n").unwrap_err();
        assert_eq!(faults[0].place, "configuration file: cert-cash");
        assert!(faults[0].message.contains("cert-cache"), "{}", faults[0].message);
    }

    #[test]
    fn admin_refuses_an_address_that_others_can_reach() {
        let faults = resolve(&[("source", "dir:/m"), ("listen", "admin=0.0.0.0:9901")]).unwrap_err();
        assert!(faults[0].message.contains("loopback"), "{}", faults[0].message);
    }

    #[test]
    fn a_drain_delay_beyond_the_deadline_is_refused() {
        let faults = resolve(&[("source", "dir:/m"), ("drain-timeout", "1s")]).unwrap_err();
        assert_eq!(faults[0].place, "--drain-delay");
    }

    #[test]
    fn stages_of_overload_that_do_not_follow_one_another_are_refused() {
        let faults = resolve(&[("source", "dir:/m"), ("overload-shrink", "92%")]).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.place.as_str()).collect::<Vec<_>>(), ["--overload-shrink"]);
        assert!(faults[0].message.contains("overload-close, which is 92%"), "{}", faults[0].message);
        let faults = resolve(&[("source", "dir:/m"), ("overload-close", "99"), ("overload-shrink", "0")]).unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| fault.place.as_str()).collect();
        assert_eq!(places, ["--overload-shrink", "--overload-close"]);
    }

    #[test]
    fn memory_is_limited_by_the_cgroup_by_a_size_or_not_at_all() {
        let limit = |text| resolve(&[("source", "dir:/m"), ("memory-limit", text)]).map(|config| config.memory_limit);
        assert_eq!(limit("auto").ok(), Some(MemoryLimit::Auto));
        assert_eq!(limit("off").ok(), Some(MemoryLimit::Off));
        assert_eq!(limit("300MiB").ok(), Some(MemoryLimit::Size(ByteSize::mib(300))));
        let faults = limit("none").unwrap_err();
        assert!(faults[0].message.ends_with("or auto, or off"), "{}", faults[0].message);
        let faults = limit("512").unwrap_err();
        assert_eq!(faults[0].place, "--memory-limit");
        assert!(faults[0].message.contains("less than 32.0 MiB"), "{}", faults[0].message);
        assert_eq!(limit("32MiB").ok(), Some(MemoryLimit::Size(ByteSize::mib(32))));
        let config = resolve(&[("source", "dir:/m"), ("cert-cache", "auto")]).expect("it is valid");
        assert_eq!(config.cert_cache, None);
    }

    #[test]
    fn endpoints_may_be_on_this_host_with_a_directory_only_unless_it_is_said() {
        let reach = |pairs: &[(&str, &str)]| resolve(pairs).expect("it is valid").reach;
        assert_eq!(reach(&[("source", "dir:/m")]), Reach::Everywhere);
        assert_eq!(reach(&[("source", "kube")]), Reach::Elsewhere);
        assert_eq!(reach(&[("source", "dir:/m"), ("source", "kube")]), Reach::Elsewhere);
        assert_eq!(reach(&[("source", "dir:/m"), ("loopback-endpoints", "off")]), Reach::Elsewhere);
        assert_eq!(reach(&[("source", "kube"), ("loopback-endpoints", "on")]), Reach::Everywhere);
    }

    #[test]
    fn a_lease_that_two_could_hold_at_a_time_is_refused() {
        let faults =
            resolve(&[("source", "kube"), ("lease-duration", "10s"), ("lease-retry-period", "6s")]).unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| fault.place.as_str()).collect();
        assert_eq!(places, ["--lease-renew-deadline", "--lease-retry-period"]);
    }

    #[test]
    fn kouriers_variable_switches_redirects_off_whatever_it_says_and_ours_is_stronger() {
        let redirects = |variables: &[(&str, &str)]| {
            let lookup = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.to_owned());
            let layers =
                Layers::default().with_flags(flags(&[("source", "dir:/m")])).with_environment(GATEWAY_SETTINGS, lookup);
            Config::resolve(&layers).expect("it is valid").https_redirect
        };
        assert!(redirects(&[]));
        for value in ["true", "false", ""] {
            assert!(!redirects(&[("KOURIER_HTTPOPTION_DISABLED", value)]), "{value:?}");
        }
        assert!(redirects(&[("KOURIER_HTTPOPTION_DISABLED", "true"), ("POSTERN_HTTPS_REDIRECT", "on")]));
        assert!(!redirects(&[("POSTERN_HTTPS_REDIRECT", "off")]));
    }

    #[test]
    fn only_keys_that_are_not_implemented_can_be_accepted() {
        let accepts = |keys: &[&str]| {
            let given: Vec<_> = keys.iter().map(|key| ("accept-unsupported", *key)).collect();
            resolve(&[&[("source", "dir:/m")], &given[..]].concat()).map(|config| config.accept_unsupported)
        };
        assert_eq!(accepts(&["extauthz-host", "cipher-suites"]).unwrap(), ["extauthz-host", "cipher-suites"]);
        assert!(accepts(&["trusted-hops-count"]).is_ok(), "it was not implemented once");
        let faults = accepts(&["extauthz"]).unwrap_err();
        assert!(faults[0].message.contains("write one of certs-secret-name, cipher-suites,"), "{faults:?}");
    }

    #[test]
    fn the_annotated_file_in_deploy_says_the_defaults() {
        let text = include_str!("../../../deploy/postern.yaml");
        let layers = Layers::default().with_file(GATEWAY_SETTINGS, text).expect("the file is valid");
        let written = Config::resolve(&layers).expect("the file is a valid configuration");
        let default = resolve(&[("source", "dir:/etc/postern/manifests")]).expect("defaults are valid");
        assert_eq!(format!("{written:?}"), format!("{default:?}"));
        for setting in GATEWAY_SETTINGS {
            assert!(text.contains(&format!("{}:", setting.name)), "{} is missing", setting.name);
        }
    }
}
