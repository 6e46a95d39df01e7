//! The handshake itself: what is agreed on, and what a client may not do.

use std::sync::Arc;
use std::time::Duration;

use postern::tls::{Settings, TlsVersion};
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{config, config_with, connect, get, hello, http2, read_to_end, read_until, text, with_alpn};
use crate::rig::{Rig, Setup};

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

/// Nothing but the limit under test can end the handshake.
fn patient() -> Settings {
    let hour = Duration::from_secs(3600);
    Settings { handshake_timeout: hour, first_byte_timeout: hour, ..Settings::default() }
}

#[tokio::test]
async fn a_hello_that_is_too_large_ends_the_connection() {
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
    assert_eq!(read_to_end(&mut tcp).await, b"");
    assert_eq!(rig.source.loads(), 0);
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
