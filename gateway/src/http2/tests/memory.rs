//! Memory that a connection's client can make `h2` keep.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connection::Settings;
use crate::exchange::ClientError;
use crate::http2::frame::PREFACE;
use crate::http2::testing::{Server, frame};
use crate::ledger::Kind;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

/// A request whose `:path` goes into the table, in a frame of 16 KiB.
fn pinning(stream: u32) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x01, 1, b'a', 0x44, 7, b'/', b'e', b'm', b'p', b't', b'y', b'?', 0x00, 1, b'x'];
    // A literal of 16,000 bytes: 127 + 15,873.
    block.extend_from_slice(&[0x7f, 0x81, 0x7c]);
    block.extend(std::iter::repeat_n(b'0', 16_000));
    frame(0x1, 0x5, stream, &block)
}

async fn attack(server: &Server, acks: bool) -> TcpStream {
    let mut tcp = server.tcp().await;
    tcp.write_all(PREFACE).await.unwrap();
    tcp.write_all(&frame(0x4, 0, 0, &[])).await.unwrap();
    if acks {
        let _ = tcp.read(&mut [0; 4096]).await.unwrap();
        tcp.write_all(&frame(0x4, 1, 0, &[])).await.unwrap();
    }
    for n in 0..100_u32 {
        if tcp.write_all(&pinning(2 * n + 1)).await.is_err() {
            break;
        }
        let _ = tcp.try_read(&mut [0; 4096]);
    }
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    tcp
}

#[tokio::test]
async fn the_table_of_fields_is_empty_once_the_settings_are_acknowledged() {
    let server = Server::start(Settings::default()).await;
    let request = |stream, path: &[u8]| frame(0x1, 0x5, stream, &[&[0x82, 0x86, 0x01, 1, b'a'], path].concat());
    // `:path` goes into the table, and is taken from it.
    let (literal, entry) = (&b"\x44\x06/empty"[..], &b"\xbe"[..]);
    for (acks, is_answered) in [(false, true), (true, false)] {
        let mut tcp = server.tcp().await;
        tcp.write_all(&[&PREFACE[..], &frame(0x4, 0, 0, &[])].concat()).await.unwrap();
        if acks {
            tcp.write_all(&frame(0x4, 1, 0, &[])).await.unwrap();
        }
        tcp.write_all(&[request(1, literal), request(3, entry)].concat()).await.unwrap();
        let mut read = Vec::new();
        let _ = timeout(Duration::from_millis(300), tcp.read_to_end(&mut read)).await;
        // HEADERS that end stream 3.
        let answer = read.windows(9).any(|header| header[3..9] == [0x1, 0x5, 0, 0, 0, 3]);
        let go_away = read.windows(9).any(|header| header[3..9] == [0x7, 0, 0, 0, 0, 0]);
        assert_eq!((answer, go_away), (is_answered, !is_answered), "acknowledged: {acks}");
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_reserved_and_fails_where_there_is_no_memory() {
    let server = Server::start(Settings::default()).await;
    let mut requests = server.connect().await;
    for (total, errors) in [(1 << 30, &[][..]), (64 * 1024, &[ClientError::Shortage])] {
        server.ledger.set_total(total);
        let request = http::Request::builder().method("POST").uri("http://a.test/late").body(()).unwrap();
        let (_response, mut stream) = requests.send_request(request, false).unwrap();
        stream.reserve_capacity(60_000);
        stream.send_data(vec![7; 60_000].into(), true).unwrap();
        let mut most = 0;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            most = most.max(server.ledger.used_for(Kind::Request));
        }
        assert_eq!(server.toy.errors.lock().unwrap().as_slice(), errors);
        assert_eq!((most >= 60_000, server.ledger.used_for(Kind::Request)), (errors.is_empty(), 0), "{most}");
    }
}

#[tokio::test]
#[ignore = "a measurement"]
async fn measure() {
    for acks in [true, false] {
        let server = Server::start(Settings::default()).await;
        let _warm = attack(&server, acks).await;
        let before = resident();
        let mut held = Vec::new();
        for _ in 0..50 {
            held.push(attack(&server, acks).await);
        }
        println!("acks {acks}: {} KiB each", (resident() - before) / 50);
    }
}
