//! Envoy as a peer, with a static configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use postern_tests::Result;
use serde_json::{Value, json};
use tokio::process::Command;

use super::peer::Layout;
use super::routes::Route;

/// The executable that `.ci/install-peers` gets.
pub(super) fn installed() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("peers/envoy/_bin/envoy")
}

/// One worker.
pub(super) fn peer(program: &Path, layout: &Layout<'_>) -> Result<Command> {
    let file = layout.directory.write("envoy.json", configuration(layout).to_string())?;
    let mut command = Command::new(program);
    command.args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error", "-c"]).arg(file);
    Ok(command)
}

fn configuration(layout: &Layout<'_>) -> Value {
    let file = |name: &str| json!({"filename": layout.directory.path(name)});
    let tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{"certificate_chain": file("chain.pem"), "private_key": file("key.pem")}],
            },
        },
    });
    let listener = json!({
        "name": "https", "address": socket(layout.https), "tcp_backlog_size": 4_096,
        "filter_chains": [{"transport_socket": tls, "filters": [connection_manager(layout)]}],
    });
    json!({
        "static_resources": {
            "listeners": [listener],
            "clusters": layout.routes.iter().map(cluster).collect::<Vec<_>>(),
        },
    })
}

fn connection_manager(layout: &Layout<'_>) -> Value {
    let route = |Route { name, prefix, upgrades, .. }: &Route| {
        let upgrades = json!([{"upgrade_type": "websocket", "enabled": upgrades}]);
        let action = json!({"cluster": name, "timeout": "0s", "upgrade_configs": upgrades});
        json!({"match": {"prefix": prefix}, "route": action})
    };
    let routes: Vec<Value> = layout.routes.iter().map(route).collect();
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "https", "codec_type": "AUTO", "use_remote_address": true,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }],
    });
    if let Some(path) = &layout.log {
        manager["access_log"] = json!([{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": path,
            },
        }]);
    }
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager})
}

/// More connections and requests at a time than any case has.
fn cluster(route: &Route) -> Value {
    const MANY: u32 = 100_000;
    let Route { name, upstream, http2, .. } = route;
    let protocol = if *http2 { "http2_protocol_options" } else { "http_protocol_options" };
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [{
            "max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY, "max_retries": MANY,
        }]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {protocol: {}},
            },
        },
        "load_assignment": {
            "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(*upstream)}}]}],
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
