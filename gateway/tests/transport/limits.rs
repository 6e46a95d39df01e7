//! Limits on who may connect.

use std::sync::Arc;
use std::time::Duration;

use certstore::testing::{Answer, Gate};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use postern::listener::Limits;
use postern::tls::Settings;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{config, connect, exchange, hello, read_to_end, read_until};
use crate::rig::{Rig, Setup, secret_ref};

/// For what happens at once, or never.
const PATIENCE: Duration = Duration::from_secs(5);

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nhost: one.test\r\n\r\n";

async fn rig(limits: Limits) -> Rig {
    Rig::with(Setup { limits, ..Setup::default() }).await
}

async fn served(rig: &Rig) -> TcpStream {
    let mut tcp = TcpStream::connect(rig.http()).await.unwrap();
    tcp.write_all(REQUEST).await.unwrap();
    read_until(&mut tcp, "hello /a").await;
    tcp
}

#[tokio::test]
async fn a_connection_too_many_is_closed_until_another_ends() {
    for limits in [
        Limits { max_connections: 1, ..Limits::default() },
        Limits { max_connections_per_source: Some(1), ..Limits::default() },
    ] {
        let rig = rig(limits).await;
        let first = served(&rig).await;
        let mut second = TcpStream::connect(rig.http()).await.unwrap();
        assert_eq!(read_to_end(&mut second).await, b"");
        drop(first);
        rig.admission.closed().await;
        served(&rig).await;
    }
}

/// A gateway whose clients at 127.0.0.1 have memory for so many connections, and handshakes under way among them.
async fn rig_with_memory(connections: u64, handshakes: u64, tls: Settings) -> Rig {
    let rig = Rig::with(Setup { tls, ..Setup::default() }).await;
    // A source has a quarter; a connection takes 16 KiB, and a handshake 64 KiB more.
    rig.admission.ledger().set_total(4 * 1024 * (connections * 16 + handshakes * 64 + 8));
    rig
}

#[tokio::test]
async fn handshakes_wait_for_memory() {
    let rig = rig_with_memory(2, 1, Settings::default()).await;
    let config = Arc::new(config(&rig));
    // It has its memory, and does not get on with it.
    let mut slow = TcpStream::connect(rig.https()).await.unwrap();
    slow.write_all(&[0x16]).await.unwrap();
    let address = rig.https();
    let waiting = tokio::spawn(async move { connect(address, &config, "one.test").await.map(drop) });
    drop(slow);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handshake_that_gets_no_memory_ends_at_its_deadline() {
    let tls = Settings { handshake_timeout: Duration::from_millis(150), ..Settings::default() };
    let rig = rig_with_memory(1, 0, tls).await;
    assert_eq!(exchange(rig.https(), &hello(config(&rig), "one.test")).await, b"");
    assert_eq!(rig.source.loads(), 0);
}

#[tokio::test]
async fn a_source_that_does_not_get_on_leaves_memory_to_others() {
    let tls = Settings { handshake_timeout: Duration::from_secs(600), ..Settings::default() };
    let rig = rig_with_memory(20, 4, tls).await;
    let config = config(&rig);
    let hello = hello(config.clone(), "one.test");
    let mut slow = FuturesUnordered::new();
    for _ in 0..20 {
        let mut tcp = TcpStream::connect(rig.https()).await.unwrap();
        tcp.write_all(&hello).await.unwrap();
        // Those that have memory are answered, and never finish.
        slow.push(async move {
            tcp.readable().await.unwrap();
            tcp
        });
    }
    let mut answered = Vec::new();
    for _ in 0..4 {
        answered.push(slow.next().await.unwrap());
    }
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let tcp = other.connect(rig.https()).await.unwrap();
    let name = "one.test".try_into().unwrap();
    let shaking = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp);
    tokio::time::timeout(PATIENCE, shaking).await.expect("there is memory for it").unwrap();
}

#[tokio::test]
async fn a_handshake_that_waits_for_its_certificate_leaves_its_memory_to_others() {
    let rig = rig_with_memory(2, 1, Settings::default()).await;
    let config = Arc::new(config(&rig));
    let gate = Gate::closed();
    let content = rig.ca.issue(&["one.test"]);
    rig.source.script(&secret_ref("one"), Answer::secret(&content).behind(&gate));
    let (address, of_first) = (rig.https(), Arc::clone(&config));
    let first = tokio::spawn(async move { connect(address, &of_first, "one.test").await.map(drop) });
    gate.arrival().await;
    let second = connect(address, &config, "two.test");
    tokio::time::timeout(PATIENCE, second).await.expect("the memory is free").unwrap();
    gate.open_for(1);
    first.await.unwrap().unwrap();
}
