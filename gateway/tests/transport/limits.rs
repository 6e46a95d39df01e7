//! Limits on who may connect.

use std::sync::Arc;
use std::time::Duration;

use postern::listener::Limits;
use postern::tls::Settings;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{config, connect, exchange, hello, read_to_end, read_until};
use crate::rig::{Rig, Setup};

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
        Limits { max_connections_per_source: 1, ..Limits::default() },
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

#[tokio::test]
async fn handshakes_wait_for_their_turn() {
    let rig = rig(Limits { max_handshakes: 1, ..Limits::default() }).await;
    let config = Arc::new(config(&rig));
    // It has its turn, and does not get on with it.
    let mut slow = TcpStream::connect(rig.https()).await.unwrap();
    slow.write_all(&[0x16]).await.unwrap();
    let address = rig.https();
    let waiting = tokio::spawn(async move { connect(address, &config, "one.test").await.map(drop) });
    drop(slow);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handshake_that_gets_no_turn_ends_at_its_deadline() {
    let limits = Limits { max_handshakes: 0, ..Limits::default() };
    let tls = Settings { handshake_timeout: Duration::from_millis(150), ..Settings::default() };
    let rig = Rig::with(Setup { limits, tls, ..Setup::default() }).await;
    assert_eq!(exchange(rig.https(), &hello(config(&rig), "one.test")).await, b"");
    assert_eq!(rig.source.loads(), 0);
}
