//! The proxy behind the transport: sends everything to the backend, and says what is known of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use certstore::SecretRef;
use postern::apply::{Applier, SecretEvents};
use postern::connection::Connection;
use postern::exchange::{ClientStream, Handler};
use postern::message::{BodyLength, RequestHead, ResponseHead};
use postern::proxy::{Postern, Settings};
use postern::tables::Tables;
use xds::Update;
use xds::resource::{
    Cluster, ClusterName, Discovery, EndpointSet, Forward, HostPattern, PackedRouteSet, PathMatch, Route, RouteSet,
    Split, UpstreamProtocol, VirtualHost, Visibility, WildcardDepth,
};

pub(crate) struct TestProxy {
    inner: Postern,
    _applier: Applier,
}

#[derive(Debug)]
struct NoSecrets;

impl SecretEvents for NoSecrets {
    fn secret_changed(&self, _: &SecretRef, _: &str) {}
    fn secret_removed(&self, _: &SecretRef) {}
}

impl TestProxy {
    /// Sends the requests for every host to `backend`.
    pub(crate) fn new(tables: &Tables, backend: SocketAddr) -> Self {
        let mut applier = Applier::new(Arc::clone(tables), Arc::new(NoSecrets));
        let cluster = ClusterName::new(Arc::from("backend"));
        let split = Split { cluster: cluster.clone(), weight: 1, set_headers: Vec::new() };
        let action = Forward { splits: vec![split], set_headers: Vec::new(), rewrite_host: None, force_http1: false };
        let route = Route { path: PathMatch::StringPrefix(Arc::from("/")), headers: Vec::new(), action };
        let virtual_host = VirtualHost {
            visibility: Visibility::External,
            wildcard_depth: WildcardDepth::Any,
            redirect_to_https: false,
            routes: PackedRouteSet::pack(&RouteSet { routes: vec![route], probe_hash: None }),
        };
        applier.apply(Update {
            version: 1,
            clusters: vec![(
                cluster.clone(),
                Some(Cluster { protocol: UpstreamProtocol::Http1, discovery: Discovery::Endpoints }),
            )],
            endpoints: vec![(cluster, Some(EndpointSet { addresses: Arc::from([backend]) }))],
            virtual_hosts: vec![(HostPattern::new(Arc::from(HostPattern::ANY)), Some(virtual_host))],
            ..Update::default()
        });
        let settings = Settings { access_log: false, ..Settings::default() };
        let inner = Postern::new(Arc::clone(tables), applier.applied(), settings, Arc::new(|| true));
        Self { inner, _applier: applier }
    }
}

impl Handler for TestProxy {
    async fn handle<C: ClientStream>(&self, connection: &Connection, head: RequestHead, client: &mut C) {
        if head.path() != b"/facts" {
            return self.inner.handle(connection, head, client).await;
        }
        let text = facts(connection);
        let mut response = ResponseHead::new(200, BodyLength::Exact(text.len() as u64));
        response.fields.append(b"content-length", text.len().to_string().as_bytes());
        client.send_head(&response);
        client.send_data(Bytes::from(text));
        client.send_end(None);
        // An error means that the client is gone.
        let _ = std::future::poll_fn(|cx| client.poll_flush(cx)).await;
    }
}

fn facts(connection: &Connection) -> String {
    let tls = connection.tls.as_ref().map_or("plain".to_owned(), |tls| {
        let name = tls.server_name.as_deref().unwrap_or("none");
        let secret = tls.secret.as_ref().map_or("default".to_owned(), ToString::to_string);
        format!("{} {name} {secret}", tls.protocol_version)
    });
    format!("{} {} {} {tls}", connection.listener, connection.client, connection.local)
}
