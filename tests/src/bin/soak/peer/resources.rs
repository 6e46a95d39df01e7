//! Envoy's resources, in the shape that Kourier generates.

use std::net::SocketAddr;
use std::path::Path;

use postern_tests::cluster::numbered_service;
use serde_json::{Value, json};

use super::file;

/// A service as Envoy is to serve it.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) number: usize,
    pub(super) certificate: Certificate,
    pub(super) endpoints: Vec<SocketAddr>,
}

/// Chain and key, in PEM and base64, as a Secret and Envoy's `inline_bytes` have them.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) chain: String,
    pub(super) key: String,
}

/// Where Envoy listens on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) https: u16,
    pub(super) probe_https: u16,
    pub(super) http: u16,
    pub(super) internal_http: u16,
    pub(super) admin: u16,
}

/// The namespace of the simulated cluster's service of this number.
pub(super) fn namespace(number: usize) -> String {
    let host = numbered_service(number, &[]).external_host();
    host.split('.').nth(1).unwrap_or_default().to_owned()
}

fn cluster_name(number: usize) -> String {
    format!("{}/{}", namespace(number), numbered_service(number, &[]).revision())
}

/// A static cluster for each service, its endpoints inlined.
pub(super) fn clusters(services: &[Service]) -> Vec<Value> {
    let cluster = |service: &Service| {
        let name = cluster_name(service.number);
        let endpoint = |endpoint: &SocketAddr| json!({"endpoint": {"address": socket(&endpoint.ip().to_string(), endpoint.port())}});
        let endpoints: Vec<Value> = service.endpoints.iter().map(endpoint).collect();
        json!({
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": name, "connect_timeout": "5s", "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        })
    };
    services.iter().map(cluster).collect()
}

/// Six virtual hosts for each service: its local hosts and its external one inside, the external one outside, and again
/// for TLS. Each configuration with its name.
pub(super) fn routes(services: &[Service]) -> [(&'static str, Value); 3] {
    let configuration = |name: &'static str, hosts: fn(&Service) -> Vec<String>| {
        let virtual_hosts: Vec<Value> = services
            .iter()
            .flat_map(|service| hosts(service).into_iter().map(|host| virtual_host(service, &host)))
            .collect();
        let routes = json!({
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": name, "virtual_hosts": virtual_hosts,
        });
        (name, routes)
    };
    let external = |service: &Service| vec![numbered_service(service.number, &[]).external_host()];
    let internal = |service: &Service| {
        let service = numbered_service(service.number, &[]);
        let mut hosts = service.local_hosts().to_vec();
        hosts.push(service.external_host());
        hosts
    };
    [
        configuration("internal_services", internal),
        configuration("external_services", external),
        configuration("external_tls_services", external),
    ]
}

/// Each path twice: once for Knative's probes, once for traffic.
fn virtual_host(service: &Service, host: &str) -> Value {
    let name = cluster_name(service.number);
    let revision = numbered_service(service.number, &[]).revision();
    let route = |route_match: Value| {
        let header = |key: &str, value: &str| json!({"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"});
        json!({
            "name": host, "match": route_match,
            "route": {
                "weighted_clusters": {"clusters": [{
                    "name": name, "weight": 100,
                    "request_headers_to_add": [
                        header("Knative-Serving-Namespace", &namespace(service.number)),
                        header("Knative-Serving-Revision", &revision),
                    ],
                }]},
                "timeout": "0s", "upgrade_configs": [{"upgrade_type": "websocket", "enabled": true}],
            },
        })
    };
    let probe = json!({"prefix": "/", "headers": [{"name": "K-Network-Hash", "string_match": {"exact": "override"}}]});
    json!({"name": host, "domains": [host, format!("{host}:*")], "routes": [route(probe), route(json!({"prefix": "/"}))]})
}

/// Two listeners with a filter chain for each certificate, and two without TLS.
pub(super) fn listeners(services: &[Service], ports: Ports, directory: &Path) -> Vec<Value> {
    let tls = |name: &str, port: u16| {
        let chains: Vec<Value> =
            services.iter().map(|service| filter_chain(service, "external_tls_services", directory)).collect();
        json!({
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": name, "address": socket("127.0.0.1", port), "filter_chains": chains,
            "listener_filters": [{
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
            }],
        })
    };
    let plain = |name: &str, port: u16, routes: &str| {
        json!({
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": name, "address": socket("127.0.0.1", port),
            "filter_chains": [{"filters": [connection_manager(routes, directory)]}],
        })
    };
    vec![
        tls("listener_8443", ports.https),
        tls("listener_9443", ports.probe_https),
        plain("listener_8080", ports.http, "external_services"),
        plain("listener_8081", ports.internal_http, "internal_services"),
    ]
}

fn filter_chain(service: &Service, routes: &str, directory: &Path) -> Value {
    let Certificate { chain, key } = &service.certificate;
    json!({
        "filter_chain_match": {
            "server_names": [numbered_service(service.number, &[]).external_host()], "transport_protocol": "tls",
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                    "tls_certificates": [{"certificate_chain": {"inline_bytes": chain}, "private_key": {"inline_bytes": key}}],
                },
            },
        },
        "filters": [connection_manager(routes, directory)],
    })
}

fn connection_manager(routes: &str, directory: &Path) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress_http", "codec_type": "AUTO",
            "rds": {"route_config_name": routes, "config_source": file(directory, routes)},
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }],
        },
    })
}

/// What Envoy is started with.
pub(super) fn bootstrap(ports: Ports, directory: &Path) -> Value {
    json!({
        "node": {"id": "soak", "cluster": "soak"},
        "admin": {"address": socket("127.0.0.1", ports.admin)},
        "dynamic_resources": {
            "cds_config": file(directory, "clusters"),
            "lds_config": file(directory, "listeners"),
        },
    })
}

fn socket(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_takes_what_kourier_makes_of_it() {
        let certificate = Certificate { chain: "Y2hhaW4=".to_owned(), key: "a2V5".to_owned() };
        let endpoints = vec![SocketAddr::from(([127, 0, 0, 1], 8_080))];
        let services = [Service { number: 7, certificate, endpoints }];
        let routes = routes(&services);
        let hosts: usize = routes.iter().map(|(_, routes)| routes["virtual_hosts"].as_array().unwrap().len()).sum();
        assert_eq!(hosts, 6);
        let ports = Ports { https: 1, probe_https: 2, http: 3, internal_http: 4, admin: 5 };
        let listeners = listeners(&services, ports, Path::new("/x"));
        let with_key = listeners.iter().filter(|listener| listener.to_string().contains("a2V5")).count();
        assert_eq!((listeners.len(), with_key), (4, 2));
        let name = &clusters(&services)[0]["name"];
        let used = &routes[2].1["virtual_hosts"][0]["routes"][1]["route"]["weighted_clusters"]["clusters"][0]["name"];
        assert_eq!((name, name.as_str()), (used, Some("tenant-07/service-000007-00001")));
    }
}
