//! Backends in a process of their own: cheap, and steady with ten thousand connections.
//!
//! Not [`postern_tests::backend`]: that one keeps a hyper connection and what it saw for each request.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use postern_tests::conversation::Conversation;
use postern_tests::{Result, address};
use rustix::process::Pid;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::{BACKENDS, raise_file_limit, value_name};

mod echo;
mod head;

use head::{Head, Scanner, read};

/// Addresses that they listen on: each has ports of its own for the gateway to connect from.
const ADDRESSES: usize = 4;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;

/// Path of a request that is read and never answered.
pub(crate) const NEVER: &str = "/-/never";

/// Path of a request whose body is not read.
pub(crate) const STUCK: &str = "/-/stuck";

/// Path of a request that is answered when all of its body was read.
pub(crate) const UPLOAD: &str = "/-/upload";

/// Path of a WebSocket whose bytes come back.
pub(crate) const ECHO: &str = "/-/echo";

/// Target of the request line that the preface of HTTP/2 looks like.
const PREFACE: &str = "*";

/// Path of a response of this many bytes.
const BYTES: &str = "/-/bytes/";

/// Bytes of a response are these, again and again.
static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// Path of a response with this many bytes.
pub(crate) fn bytes(count: usize) -> String {
    format!("{BYTES}{count}")
}

/// Buffers of the kernel for each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Buffers {
    /// The kernel's defaults, which grow.
    Default,
    /// Small and fixed, so that bytes wait in the gateway and not here.
    Small,
}

/// An order.
#[derive(Debug, Parser)]
struct Arguments {
    #[arg(value_enum)]
    buffers: Buffers,
}

/// Running backends; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Backends {
    process: Conversation,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Backends {
    pub(crate) async fn start(buffers: Buffers) -> Result<Self> {
        const START: Duration = Duration::from_secs(20);
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(BACKENDS).arg(value_name(&buffers));
        let mut process = Conversation::start("backends", command)?;
        let ready = process.hear(START).await?;
        Ok(Self { process, addresses: serde_json::from_value(ready["addresses"].clone())? })
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        self.process.pid()
    }
}

/// Says where it listens, and serves until the input ends.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let name = std::iter::once(OsString::from(BACKENDS));
    let Arguments { buffers } = Arguments::parse_from(name.chain(arguments));
    raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut addresses = Vec::new();
        for _ in 0..ADDRESSES {
            let address = address::unused();
            tokio::spawn(accept(listen(address, buffers)?));
            addresses.push(address);
        }
        println!("{}", json!({"addresses": addresses}));
        let mut input = Vec::new();
        tokio::io::stdin().read_to_end(&mut input).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn listen(address: SocketAddr, buffers: Buffers) -> std::io::Result<TcpListener> {
    const RECEIVE: u32 = 16 * 1024;
    const SEND: u32 = 64 * 1024;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    if buffers == Buffers::Small {
        socket.set_recv_buffer_size(RECEIVE)?;
        socket.set_send_buffer_size(SEND)?;
    }
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
    while let Some(Head { target, length }) = scanner.next(&stream, |target| [NEVER, STUCK].contains(&target)).await? {
        match target.as_str() {
            NEVER => return drain(stream).await,
            STUCK => return hold(stream).await,
            ECHO => return echo::websocket(stream).await,
            PREFACE => return echo::streams(stream, scanner.unread()).await,
            UPLOAD => {
                scanner.skip(&stream, length).await?;
                respond(&mut stream, 0).await?;
            }
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
