//! The handshake itself: what is agreed on, and what a client may not do.

use std::sync::Arc;
use std::time::Duration;

use certstore::KeyKind;
use postern::tls::{Settings, TlsVersion};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, ProtocolVersion, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xds::resource::Visibility;

use crate::client::{
    config, config_with, connect, exchange, get, hello, http2, read_to_end, read_until, text, with_alpn,
};
use crate::rig::{Rig, Setup, secret_ref};

#[tokio::test]
async fn a_post_quantum_key_exchange_is_preferred() {
    let rig = Rig::start().await;
    let config = config_with(&rig, &[&TLS13], vec![X25519MLKEM768, X25519]);
    let stream = connect(rig.https(), &Arc::new(config), "one.test").await.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(session.negotiated_cipher_suite().unwrap().suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[tokio::test]
async fn a_client_that_has_to_retry_its_hello_is_served() {
    let rig = Rig::start().await;
    // Its only share is for a group that the server doesn't know; it is asked for one it offered without a share.
    let config = config_with(&rig, &[&TLS13], vec![UNSUPPORTED, SECP384R1]);
    let stream = connect(rig.https(), &Arc::new(config), "one.test").await.unwrap();
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::FullWithHelloRetryRequest));
}

/// X25519 under a number that the server doesn't know, so that its share is of no use.
static UNSUPPORTED: &dyn rustls::crypto::SupportedKxGroup = &Renamed;

#[derive(Debug)]
struct Renamed;

impl rustls::crypto::SupportedKxGroup for Renamed {
    fn start(&self) -> Result<Box<dyn rustls::crypto::ActiveKeyExchange>, rustls::Error> {
        struct Exchange(Box<dyn rustls::crypto::ActiveKeyExchange>);
        impl rustls::crypto::ActiveKeyExchange for Exchange {
            fn complete(self: Box<Self>, peer: &[u8]) -> Result<rustls::crypto::SharedSecret, rustls::Error> {
                self.0.complete(peer)
            }
            fn pub_key(&self) -> &[u8] {
                self.0.pub_key()
            }
            fn group(&self) -> NamedGroup {
                Renamed.name()
            }
        }
        Ok(Box::new(Exchange(X25519.start()?)))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::Unknown(0xfe01)
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

use rustls::crypto::SupportedKxGroup as _;

#[tokio::test]
async fn tls_1_2_is_spoken_unless_it_is_switched_off() {
    let rig = Rig::start().await;
    let config = Arc::new(config_with(&rig, &[&TLS12], vec![SECP256R1]));
    let stream = connect(rig.https(), &config, "one.test").await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));

    let tls = Settings { min_version: TlsVersion::Tls13, ..Settings::default() };
    let rig = Rig::with(Setup { tls, ..Setup::default() }).await;
    let config = Arc::new(config_with(&rig, &[&TLS12], vec![SECP256R1]));
    assert!(connect(rig.https(), &config, "one.test").await.is_err());
}

#[tokio::test]
async fn http2_is_chosen_when_a_client_offers_it() {
    let rig = Rig::start().await;
    let config = Arc::new(with_alpn(config(&rig), "h2"));
    let stream = connect(rig.https(), &config, "one.test").await.unwrap();
    let (mut sender, _conn) = http2(stream).await;
    let response = sender.send_request(get("/over-h2")).await.unwrap();
    assert_eq!(text(response).await, "hello /over-h2");
    let facts = text(sender.send_request(get("/facts")).await.unwrap()).await;
    assert!(facts.starts_with("external-https 127.0.0.1:"), "{facts}");
    assert!(facts.ends_with(" TLSv1_3 one.test shop/one"), "{facts}");
}

#[tokio::test]
async fn http2_is_not_offered_when_it_is_switched_off() {
    let tls = Settings { http2: false, ..Settings::default() };
    let rig = Rig::with(Setup { tls, ..Setup::default() }).await;
    let mut config = config(&rig);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = connect(rig.https(), &Arc::new(config), "one.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn http1_is_served_with_and_without_alpn() {
    let rig = Rig::start().await;
    for config in [config(&rig), with_alpn(config(&rig), "http/1.1")] {
        let mut stream = connect(rig.https(), &Arc::new(config), "one.test").await.unwrap();
        stream.write_all(b"GET /over-h1 HTTP/1.1\r\nhost: one.test\r\n\r\n").await.unwrap();
        let answer = read_until(&mut stream, "hello /over-h1").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn the_end_of_a_connection_is_announced() {
    let rig = Rig::start().await;
    let mut stream = connect(rig.https(), &Arc::new(config(&rig)), "one.test").await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: one.test\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Without close_notify, rustls makes this an error.
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"hello /"));
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_is_answered_and_told_of_the_end() {
    let rig = Rig::start().await;
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(config_with(&rig, &[version], vec![X25519]));
        let mut stream = connect(rig.https(), &config, "one.test").await.unwrap();
        stream.write_all(b"GET /wait HTTP/1.1\r\nhost: one.test\r\n\r\n").await.unwrap();
        rig.backend.arrival().await;
        // A close_notify and the end of the TCP stream.
        stream.shutdown().await.unwrap();
        rig.backend.release();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.ends_with(b"waited"), "{version:?}: {}", String::from_utf8_lossy(&answer));
    }
}

/// Nothing but the limit under test can end the handshake.
fn patient() -> Settings {
    let hour = Duration::from_secs(3600);
    Settings { handshake_timeout: hour, first_byte_timeout: hour, ..Settings::default() }
}

#[tokio::test]
async fn a_hello_that_is_too_large_is_answered_with_an_alert() {
    let rig = Rig::with(Setup { tls: patient(), ..Setup::default() }).await;
    let mut tcp = TcpStream::connect(rig.https()).await.unwrap();
    // A ClientHello of 60,000 bytes, in records of 4,000.
    let mut bytes = vec![0x01, 0x00, 0xea, 0x60];
    bytes.resize(60_000, 0);
    for chunk in bytes.chunks(4000) {
        let length = u16::try_from(chunk.len()).unwrap().to_be_bytes();
        let record = [&[0x16, 0x03, 0x01, length[0], length[1]], chunk].concat();
        if tcp.write_all(&record).await.is_err() {
            break;
        }
    }
    // illegal_parameter
    assert_eq!(read_to_end(&mut tcp).await, [0x15, 3, 3, 0, 2, 2, 47]);
    assert_eq!(rig.source.loads(), 0);
}

/// A hello of TLS 1.1 or older: version, random, no session, a suite, no compression, and no extension.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let message = [&[1, 0, 0, length], &hello[..]].concat();
    [&[0x16, 3, 1, 0, length + 4], &message[..]].concat()
}

#[tokio::test]
async fn a_client_that_speaks_older_versions_only_is_told_so() {
    let rig = Rig::with(Setup { tls: patient(), ..Setup::default() }).await;
    for minor in [0, 1, 2] {
        let answer = exchange(rig.https(), &old_hello([3, minor])).await;
        // protocol_version
        assert_eq!(answer, [0x15, 3, minor, 0, 2, 2, 70], "{minor}");
    }
    // It speaks TLS 1.2, and offers nothing that a certificate could sign with: handshake_failure.
    assert_eq!(exchange(rig.https(), &old_hello([3, 3])).await, [0x15, 3, 3, 0, 2, 2, 40]);
}

/// Takes these signature schemes alone.
#[derive(Debug)]
struct Picky(Arc<WebPkiServerVerifier>, Vec<SignatureScheme>);

impl ServerCertVerifier for Picky {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.verify_server_cert(leaf, chain, name, ocsp, now)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        assert!(self.1.contains(&signature.scheme));
        self.0.verify_tls12_signature(message, leaf, signature)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, leaf, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.clone()
    }
}

fn picky(rig: &Rig, version: &'static SupportedProtocolVersion, schemes: &[SignatureScheme]) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rig.ca.root_der()).unwrap();
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build().unwrap();
    let mut config = config_with(rig, &[version], vec![X25519, SECP256R1]);
    config.dangerous().set_certificate_verifier(Arc::new(Picky(verifier, schemes.to_vec())));
    Arc::new(config)
}

#[tokio::test]
async fn in_tls_1_2_a_key_on_a_curve_signs_with_the_hash_that_the_client_takes() {
    let rig = Rig::start().await;
    for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384] {
        rig.source.put(&secret_ref("one"), rig.ca.leaf(&["one.test"]).key(kind).issue().at(&kind.to_string()));
        rig.store.secret_removed(&secret_ref("one"));
        for scheme in [SignatureScheme::ECDSA_NISTP384_SHA384, SignatureScheme::ECDSA_NISTP256_SHA256] {
            let session = connect(rig.https(), &picky(&rig, &TLS12, &[scheme]), "one.test").await;
            assert!(session.is_ok(), "{kind} {scheme:?}: {session:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_no_signature_of_the_key_is_told_so() {
    let rig = Rig::start().await;
    let (rsa, p384) = (SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP384_SHA384);
    for (version, scheme) in [(&TLS12, rsa), (&TLS13, rsa), (&TLS13, p384)] {
        let error = connect(rig.https(), &picky(&rig, version, &[scheme]), "one.test").await.unwrap_err();
        assert!(error.to_string().contains("HandshakeFailure"), "{version:?} {scheme:?}: {error}");
    }
}

#[tokio::test]
async fn certificates_with_the_largest_keys_are_served() {
    let rig = Rig::start().await;
    for (name, kind) in [("p521.test", KeyKind::EcdsaP521), ("rsa.test", KeyKind::Rsa { bits: 8192 })] {
        rig.source.put(&secret_ref(name), rig.ca.leaf(&[name]).key(kind).issue());
        rig.bind(name, name, Visibility::External);
        for version in [&TLS12, &TLS13] {
            let config = Arc::new(config_with(&rig, &[version], vec![X25519]));
            assert!(connect(rig.https(), &config, name).await.is_ok(), "{kind} {version:?}");
        }
    }
}

#[tokio::test]
async fn a_hello_that_takes_too_long_ends_the_connection() {
    let tls = Settings { handshake_timeout: Duration::from_millis(100), ..patient() };
    let rig = Rig::with(Setup { tls, ..Setup::default() }).await;
    let mut tcp = TcpStream::connect(rig.https()).await.unwrap();
    tcp.write_all(&hello(config(&rig), "one.test")[..50]).await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, b"");
}

#[tokio::test]
async fn a_client_that_never_says_a_word_is_let_go() {
    let tls = Settings { first_byte_timeout: Duration::from_millis(100), ..patient() };
    let rig = Rig::with(Setup { tls, ..Setup::default() }).await;
    let mut tcp = TcpStream::connect(rig.https()).await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, b"");
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_handshake_is_let_go() {
    let tls = Settings { handshake_timeout: Duration::from_millis(200), ..patient() };
    let rig = Rig::with(Setup { tls, ..Setup::default() }).await;
    let mut tcp = TcpStream::connect(rig.https()).await.unwrap();
    tcp.write_all(&hello(config(&rig), "one.test")).await.unwrap();
    let answer = read_to_end(&mut tcp).await;
    assert_eq!(answer.first(), Some(&0x16), "the server's side of the handshake came");
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_answered_with_an_alert() {
    let rig = Rig::with(Setup { tls: patient(), ..Setup::default() }).await;
    let answer = crate::client::exchange(rig.https(), b"GET / HTTP/1.1\r\nhost: one.test\r\n\r\n").await;
    assert_eq!(answer.first(), Some(&0x15));
}
