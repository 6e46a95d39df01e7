//! Allocations of a request, as jemalloc counts them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use postern::listener::ListenerName;
use postern::proxy::Settings;
use tikv_jemalloc_ctl::{Access, AsName};
use tokio::runtime::Builder;
use xds::resource::UpstreamProtocol;

use crate::rig::Gateway;

/// The most allocations of one request over HTTP/1.1, and over HTTP/2, where most are those of the `h2` crate.
const HTTP1: f64 = 10.0;
const HTTP2: f64 = 30.0;

const WARM_UP: u32 = 500;
const REQUESTS: u32 = 5_000;

const RESPONSE_BODY: usize = 1024;

/// The name of the test that counts, as the test program knows it.
const COUNTING: &str = "allocations::counts_the_allocations_of_its_process";

/// Counts in a process of its own: other tests of this program allocate as well.
#[test]
fn a_request_takes_few_allocations() {
    let program = std::env::current_exe().expect("a program runs");
    let counted = Command::new(program).args(["--exact", COUNTING, "--ignored", "--nocapture"]).output();
    let output = counted.expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[ignore = "counts for its whole process; a_request_takes_few_allocations runs it"]
#[test]
fn counts_the_allocations_of_its_process() {
    // What a thread's cache hands out is counted only when the cache is refilled.
    let no_cache = || b"thread.tcache.enabled\0".name().write(false).expect("jemalloc is the allocator");
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().on_thread_start(no_cache).build();
    runtime.expect("a thread starts").block_on(count_allocations());
}

async fn count_allocations() {
    let mut gateway = Gateway::start_with(ListenerName::ExternalHttp, Settings::default());
    gateway.cluster("shop", UpstreamProtocol::Http1, &[backend()]);
    gateway.route("shop.test", "shop");
    let address = gateway.address;
    let counting = tokio::task::spawn_blocking(move || {
        let mut http1 = Http1::connect(address);
        let of_http1 = allocations_per_request(|| http1.get());
        let mut http2 = Http2::connect(address);
        (of_http1, allocations_per_request(|| http2.get()))
    });
    let (of_http1, of_http2) = counting.await.expect("the client does not panic");
    println!("{of_http1:.1} allocations over HTTP/1.1, {of_http2:.1} over HTTP/2");
    assert!((1.0..=HTTP1).contains(&of_http1), "HTTP/1.1: {of_http1:.1}");
    assert!((1.0..=HTTP2).contains(&of_http2), "HTTP/2: {of_http2:.1}");
}

/// Client and backend allocate nothing meanwhile.
fn allocations_per_request(mut request: impl FnMut()) -> f64 {
    (0..WARM_UP).for_each(|_| request());
    let before = allocations();
    (0..REQUESTS).for_each(|_| request());
    (allocations() - before) as f64 / f64::from(REQUESTS)
}

/// Allocations in all arenas so far.
fn allocations() -> u64 {
    let refreshed = b"epoch\0".name().write(1_u64);
    refreshed.expect("jemalloc is the allocator");
    let read = |name: &[u8]| -> u64 { name.name().read().expect("jemalloc keeps statistics") };
    // `MALLCTL_ARENAS_ALL` is 4096: jemalloc(3).
    read(b"stats.arenas.4096.small.nrequests\0") + read(b"stats.arenas.4096.large.nrequests\0")
}

/// A server that gives every request the same response.
fn backend() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in socket.incoming() {
            let stream = stream.expect("accepts");
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Mon, 30 Nov 2026 12:00:00 GMT\r\nserver: test\r\n\
        etag: \"1-2-3\"\r\n";
    let response = format!("{head}content-length: {RESPONSE_BODY}\r\n\r\n{}", "x".repeat(RESPONSE_BODY));
    let mut buffer = [0; 4096];
    let mut length = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer[length..]) {
        length += count;
        if buffer[..length].ends_with(b"\r\n\r\n") {
            length = 0;
            stream.write_all(response.as_bytes()).expect("the gateway reads");
        }
    }
}

/// A client that uses one connection and one buffer.
struct Client {
    stream: TcpStream,
    buffer: Box<[u8; 16 * 1024]>,
    length: usize,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_nodelay(true).expect("a connection");
        Self { stream, buffer: Box::new([0; 16 * 1024]), length: 0 }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the gateway reads");
    }

    fn read(&mut self) {
        let count = self.stream.read(&mut self.buffer[self.length..]).expect("the gateway answers");
        assert_ne!(count, 0, "the gateway has closed the connection");
        self.length += count;
    }

    fn received(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    fn consume(&mut self, count: usize) {
        self.buffer.copy_within(count..self.length, 0);
        self.length -= count;
    }
}

struct Http1(Client);

impl Http1 {
    fn connect(address: SocketAddr) -> Self {
        Self(Client::connect(address))
    }

    fn get(&mut self) {
        const REQUEST: &[u8] = b"GET /a/path?with=query HTTP/1.1\r\nhost: shop.test\r\nuser-agent: test/1.0\r\n\
            accept: */*\r\naccept-encoding: gzip\r\ncookie: session=0123456789abcdef\r\n\r\n";
        self.0.send(REQUEST);
        loop {
            self.0.read();
            let received = self.0.received();
            let head = received.windows(4).position(|window| window == b"\r\n\r\n");
            if head.is_some_and(|head| received.len() == head + 4 + RESPONSE_BODY) {
                assert!(received.starts_with(b"HTTP/1.1 200 "));
                return self.0.consume(self.0.length);
            }
        }
    }
}

struct Http2 {
    client: Client,
    stream: u32,
}

impl Http2 {
    const FRAME_HEADER: usize = 9;
    const SETTINGS: u8 = 0x4;
    const ACK: u8 = 0x1;
    const END_STREAM: u8 = 0x1;

    fn connect(address: SocketAddr) -> Self {
        let mut client = Client::connect(address);
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.send(&[0, 0, 0, Self::SETTINGS, 0, 0, 0, 0, 0]);
        // The window of the connection, as large as may be: 2^31 - 1, less the 65,535 that it has.
        client.send(&[0, 0, 4, 0x8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0x00, 0x00]);
        Self { client, stream: 1 }
    }

    /// Sends HEADERS with `END_STREAM`, and reads to the end of the response.
    fn get(&mut self) {
        // GET, http, and literal fields that no table takes: `:path`, `:authority`, `user-agent`, `accept`, `cookie`.
        const BLOCK: &[u8] = b"\x82\x86\x04\x12/a/path?with=query\x01\x09shop.test\x0f\x2b\x08test/1.0\x0f\x04\x03*/*\
            \x0f\x11\x18session=0123456789abcdef";
        let mut frame = [0; Self::FRAME_HEADER + BLOCK.len()];
        frame[2] = u8::try_from(BLOCK.len()).expect("a short block");
        frame[3..5].copy_from_slice(&[0x1, 0x5]);
        frame[5..9].copy_from_slice(&self.stream.to_be_bytes());
        frame[9..].copy_from_slice(BLOCK);
        self.client.send(&frame);
        while !self.takes_end_of_response() {
            self.client.read();
        }
        self.stream += 2;
    }

    /// Consumes the frames that are there, up to the last one of the response.
    fn takes_end_of_response(&mut self) -> bool {
        loop {
            let received = self.client.received();
            let Some((header, payload)) = received.split_at_checked(Self::FRAME_HEADER) else { return false };
            let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
            if payload.len() < length {
                return false;
            }
            let (kind, flags) = (header[3], header[4]);
            let is_last = header[5..9] == self.stream.to_be_bytes() && flags & Self::END_STREAM != 0;
            assert!(matches!(kind, 0x0 | 0x1 | Self::SETTINGS | 0x8), "a frame of kind {kind}");
            self.client.consume(Self::FRAME_HEADER + length);
            if kind == Self::SETTINGS && flags & Self::ACK == 0 {
                self.client.send(&[0, 0, 0, Self::SETTINGS, Self::ACK, 0, 0, 0, 0]);
            } else if is_last {
                return true;
            }
        }
    }
}
