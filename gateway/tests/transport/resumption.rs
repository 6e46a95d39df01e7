//! Session resumption: it works, and never under another name or another Secret.

use std::sync::Arc;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs::kx_group::X25519;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt;
use xds::resource::Visibility;

use crate::client::{config_with, connect, read_until};
use crate::rig::{Rig, secret_ref};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn client(rig: &Rig, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    Arc::new(config_with(rig, &[version], vec![X25519]))
}

/// Shakes hands, does a request (which brings the ticket along), and says how the handshake went.
async fn visit(rig: &Rig, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<HandshakeKind> {
    let mut stream = connect(rig.https(), config, name).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: one.test\r\n\r\n").await?;
    read_until(&mut stream, "hello /").await;
    Ok(stream.get_ref().1.handshake_kind().unwrap())
}

#[tokio::test]
async fn a_session_is_resumed_under_its_own_name() {
    let rig = Rig::start().await;
    for version in VERSIONS {
        let config = client(&rig, version);
        assert_eq!(visit(&rig, &config, "one.test").await.unwrap(), HandshakeKind::Full, "{version:?}");
        assert_eq!(visit(&rig, &config, "one.test").await.unwrap(), HandshakeKind::Resumed, "{version:?}");
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_under_another_name() {
    let rig = Rig::start().await;
    // Both names are covered by both certificates' Secret: only the name differs.
    rig.source.put(&secret_ref("one"), rig.ca.issue(&["one.test", "two.test"]));
    rig.bind("two.test", "one", Visibility::External);
    for version in VERSIONS {
        let mut config = config_with(&rig, &[version], vec![X25519]);
        config.resumption = Resumption::store(Arc::new(OneForAll(ClientSessionMemoryCache::new(8))));
        let config = Arc::new(config);
        assert_eq!(visit(&rig, &config, "one.test").await.unwrap(), HandshakeKind::Full);
        assert_eq!(visit(&rig, &config, "two.test").await.unwrap(), HandshakeKind::Full, "{version:?}");
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_after_its_name_is_bound_to_another_secret() {
    let rig = Rig::start().await;
    for version in VERSIONS {
        let config = client(&rig, version);
        rig.bind("one.test", "one", Visibility::External);
        visit(&rig, &config, "one.test").await.unwrap();
        rig.serve("one.test", "other");
        assert_eq!(visit(&rig, &config, "one.test").await.unwrap(), HandshakeKind::Full, "{version:?}");
        assert_eq!(visit(&rig, &config, "one.test").await.unwrap(), HandshakeKind::Resumed, "{version:?}");
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_after_its_name_is_gone() {
    let rig = Rig::start().await;
    for version in VERSIONS {
        let config = client(&rig, version);
        rig.bind("one.test", "one", Visibility::External);
        visit(&rig, &config, "one.test").await.unwrap();
        rig.unbind("one.test");
        let error = visit(&rig, &config, "one.test").await.unwrap_err();
        assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_after_its_secret_is_gone() {
    let rig = Rig::start().await;
    for version in VERSIONS {
        let config = client(&rig, version);
        rig.serve("one.test", "one");
        rig.store.secret_changed(&secret_ref("one"), "next");
        visit(&rig, &config, "one.test").await.unwrap();
        rig.source.remove(&secret_ref("one"));
        rig.store.secret_removed(&secret_ref("one"));
        let error = visit(&rig, &config, "one.test").await.unwrap_err();
        assert!(error.to_string().contains("InternalError"), "{error}");
    }
}

/// A client that offers the same session to everybody, as none should.
#[derive(Debug)]
struct OneForAll(ClientSessionMemoryCache);

fn anybody() -> ServerName<'static> {
    ServerName::try_from("anybody.test").unwrap()
}

impl ClientSessionStore for OneForAll {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(anybody(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&anybody())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(anybody(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&anybody())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&anybody());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(anybody(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&anybody())
    }
}
