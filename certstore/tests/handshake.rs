//! What the store hands out is what a TLS client accepts.

mod common;

use std::sync::Arc;

use certstore::testing::{ScriptedSource, TestCa};
use certstore::{CertStore, KeyKind};
use common::{NAME, web};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Named, since other crates of a build may bring a second provider.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn server_config(resolver: Arc<Only>) -> ServerConfig {
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    config.expect("the provider has them").with_no_client_auth().with_cert_resolver(resolver)
}

fn client(ca: &TestCa, versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root_der()).expect("a root is a trust anchor");
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions);
    Arc::new(config.expect("the provider has these versions").with_root_certificates(roots).with_no_client_auth())
        .into()
}

#[tokio::test]
async fn a_client_accepts_every_kind_of_certificate_in_every_version_of_tls() {
    let ca = TestCa::with_intermediate();
    for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Rsa { bits: 2048 }, KeyKind::Ed25519] {
        let source = ScriptedSource::new();
        source.put(&web(), ca.leaf(&[NAME]).key(kind).issue());
        let store = CertStore::builder(source.clone()).build();
        let certificate = store.certificate(&web(), NAME).await.unwrap();
        let resolver = Arc::new(Only(Arc::clone(certificate.certified_key())));
        let config = Arc::new(server_config(resolver));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let (near, far) = tokio::io::duplex(16 * 1024);
            let server = TlsAcceptor::from(Arc::clone(&config)).accept(far);
            let connector = client(&ca, &[version]);
            let connection = connector.connect(NAME.try_into().unwrap(), near);
            let (client, server) = tokio::join!(connection, server);
            assert!(server.is_ok(), "{kind} {version:?}: {server:?}");
            assert!(client.is_ok(), "{kind} {version:?}: {client:?}");
        }
    }
}
