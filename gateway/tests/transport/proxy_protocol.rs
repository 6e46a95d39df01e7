//! The PROXY protocol in front of HTTP and TLS.

use std::sync::Arc;
use std::time::Duration;

use postern::listener::{ListenerName, Policy};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{config, exchange, read_to_end, read_until};
use crate::rig::{Rig, Setup};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.9 4711 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x09\x12\x67\x01\xbb";
const REQUEST: &[u8] = b"GET /facts HTTP/1.1\r\nhost: one.test\r\n\r\n";

async fn rig() -> Rig {
    let policy = Policy { proxy_protocol: true, proxy_header_timeout: Duration::from_millis(150), ..Policy::default() };
    Rig::with(Setup { policy, ..Setup::default() }).await
}

#[tokio::test]
async fn the_client_is_who_the_header_says() {
    let rig = rig().await;
    for header in [V1, V2] {
        let mut tcp = TcpStream::connect(rig.http()).await.unwrap();
        tcp.write_all(&[header, REQUEST].concat()).await.unwrap();
        read_until(&mut tcp, "external-http 192.0.2.7:4711 198.51.100.9:443 plain").await;
        tcp.write_all(REQUEST).await.unwrap();
        read_until(&mut tcp, "external-http 192.0.2.7:4711 198.51.100.9:443 plain").await;
    }
}

#[tokio::test]
async fn a_header_comes_before_tls() {
    let rig = rig().await;
    for header in [V1, V2] {
        let mut tcp = TcpStream::connect(rig.https()).await.unwrap();
        tcp.write_all(header).await.unwrap();
        let name = "one.test".try_into().unwrap();
        let mut stream = TlsConnector::from(Arc::new(config(&rig))).connect(name, tcp).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        read_until(&mut stream, "192.0.2.7:4711 198.51.100.9:443 TLSv1_3 one.test shop/one").await;
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let rig = rig().await;
    let mut tcp = TcpStream::connect(rig.http()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    for byte in [V2, REQUEST].concat() {
        tcp.write_all(&[byte]).await.unwrap();
    }
    read_until(&mut tcp, "192.0.2.7:4711 198.51.100.9:443 plain").await;
}

#[tokio::test]
async fn a_sender_that_speaks_for_itself_keeps_its_address() {
    let rig = rig().await;
    let mut tcp = TcpStream::connect(rig.http()).await.unwrap();
    tcp.write_all(&[b"PROXY UNKNOWN\r\n", REQUEST].concat()).await.unwrap();
    let facts = format!("external-http {} {} plain", tcp.local_addr().unwrap(), rig.http());
    read_until(&mut tcp, &facts).await;
}

#[tokio::test]
async fn probes_come_without_a_header() {
    let rig = rig().await;
    let mut tcp = TcpStream::connect(rig.address(ListenerName::ProbeHttp)).await.unwrap();
    tcp.write_all(REQUEST).await.unwrap();
    read_until(&mut tcp, " plain").await;
}

#[tokio::test]
async fn a_connection_without_a_header_is_closed() {
    let rig = rig().await;
    assert_eq!(exchange(rig.http(), REQUEST).await, b"");
}

#[tokio::test]
async fn a_header_that_takes_too_long_ends_the_connection() {
    let rig = rig().await;
    let mut tcp = TcpStream::connect(rig.http()).await.unwrap();
    tcp.write_all(&V1[..20]).await.unwrap();
    assert_eq!(read_to_end(&mut tcp).await, b"");
}

#[tokio::test]
async fn a_header_counts_for_nothing_where_it_is_not_expected() {
    let rig = Rig::start().await;
    let answer = exchange(rig.http(), &[V1, b"\r\n", REQUEST].concat()).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
}
