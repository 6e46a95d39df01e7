//! Backends of the attacked gateway, in a process of their own: cheap, and steady with ten thousand connections.
//!
//! Not [`postern_tests::backend`]: that one keeps a hyper connection and what it saw for each request.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use postern_tests::{Result, address};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

mod head;

use head::{Scanner, read};

/// Addresses that they listen on: each has ports of its own for the gateway to connect from.
const ADDRESSES: usize = 4;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;

/// Path of a request that is read and never answered.
pub(super) const NEVER: &str = "/-/never";

/// Path of a request whose body is not read.
pub(super) const STUCK: &str = "/-/stuck";

/// Path of a response of this many bytes.
const BYTES: &str = "/-/bytes/";

/// Bytes of a response are these, again and again.
static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// Path of a response with this many bytes.
pub(super) fn bytes(count: usize) -> String {
    format!("{BYTES}{count}")
}

/// Says where it listens, and serves until the input ends.
pub(super) fn main() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut addresses = Vec::new();
        for _ in 0..ADDRESSES {
            let address = address::unused();
            tokio::spawn(accept(listen(address)?));
            addresses.push(address);
        }
        println!("{}", json!({"addresses": addresses}));
        let mut input = Vec::new();
        tokio::io::stdin().read_to_end(&mut input).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Buffers are small and fixed, so that bytes wait in the gateway and not here.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    const RECEIVE: u32 = 16 * 1024;
    const SEND: u32 = 64 * 1024;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(RECEIVE)?;
    socket.set_send_buffer_size(SEND)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    // A gateway may break off at any time.
                    let _ended = serve(stream).await;
                });
            }
            // No file is free; some will be.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut scanner = Scanner::default();
    while let Some(target) = scanner.next(&stream, |target| [NEVER, STUCK].contains(&target)).await? {
        match target.as_str() {
            NEVER => return drain(stream).await,
            STUCK => return hold(stream).await,
            target => {
                let count = target.strip_prefix(BYTES).and_then(|count| count.parse().ok()).unwrap_or(0);
                respond(&mut stream, count).await?;
            }
        }
    }
    Ok(())
}

async fn respond(stream: &mut TcpStream, mut count: usize) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {count}\r\n\r\n");
    let first = count.min(2 * 1024);
    stream.write_all(&[head.as_bytes(), &CHUNK[..first]].concat()).await?;
    count -= first;
    while count > 0 {
        let part = count.min(CHUNK.len());
        stream.write_all(&CHUNK[..part]).await?;
        count -= part;
    }
    Ok(())
}

/// Reads to the end.
async fn drain(stream: TcpStream) -> std::io::Result<()> {
    while read(&stream, |_| ()).await? {}
    Ok(())
}

/// Reads nothing, until the other side has closed or a time is over: what it could not send hides its close.
async fn hold(stream: TcpStream) -> std::io::Result<()> {
    const LONGEST: Duration = Duration::from_secs(30);
    let ends = Instant::now() + LONGEST;
    while Instant::now() < ends && !stream.ready(Interest::READABLE).await?.is_read_closed() {
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
