//! The upstream: nginx with fixed responses, over HTTP/1.1 and, on another port, over HTTP/2 without TLS.

use std::net::SocketAddr;

use postern_tests::client::get_plain;
use postern_tests::{Result, address, ensure};

use super::directory::Directory;
use super::nginx;
use super::process::{Process, Used, used_by};
use crate::backend::{Backends, Buffers};

/// A running upstream.
pub(super) struct Upstream {
    pub(super) process: Process,
    pub(super) http1: SocketAddr,
    pub(super) h2c: SocketAddr,
    /// Backends that read uploads to their end before they answer, and echo messages; nginx does neither.
    backends: Backends,
    pub(super) own: SocketAddr,
    /// The same for HTTP/2.
    pub(super) own_h2c: SocketAddr,
}

impl Upstream {
    pub(super) async fn start(directory: &Directory) -> Result<Self> {
        let (http1, h2c) = (address::unused(), address::unused());
        directory.write("site/1m", vec![b'm'; 1 << 20])?;
        let command = nginx::command(directory, "upstream", &configuration(directory, http1, h2c))?;
        let mut process = Process::start(command, &directory.path("upstream.log"))?;
        let probe = async || {
            let reply = get_plain(http1, "/1k").await?;
            ensure(reply.status == 200 && reply.body.len() == 1024, || format!("answered {}", reply.status))
        };
        process.ready(probe).await?;
        let backends = Backends::start(Buffers::Default).await?;
        let [own, own_h2c, ..] = backends.addresses[..] else { return Err("too few backends".into()) };
        Ok(Self { process, http1, h2c, backends, own, own_h2c })
    }
}

impl Upstream {
    /// Requests that nginx has had so far.
    pub(super) async fn requests(&self) -> Result<f64> {
        let text = get_plain(self.http1, "/status").await?.text();
        // "server accepts handled requests", and a line with a number for each of the last three.
        let line = text.lines().nth(2).ok_or_else(|| format!("no counters: {text}"))?;
        Ok(line.split_whitespace().nth(2).ok_or("no number of requests")?.parse()?)
    }

    /// Memory and CPU time of all processes of the upstream.
    pub(super) fn used(&self) -> Result<Used> {
        let pid = self.backends.pid().ok_or("the backends have ended")?;
        Ok(self.process.used()?.and(used_by(pid)?))
    }
}

fn configuration(directory: &Directory, http1: SocketAddr, h2c: SocketAddr) -> String {
    format!(
        "access_log off;
         server {{
             listen {http1} backlog=4096;
             listen {h2c} http2 backlog=4096;
             root {root}/site;
             sendfile on;
             open_file_cache max=10;
             location = /status {{ stub_status; }}
             location = /1k {{ default_type text/plain; return 200 '{body}'; }}
             location /grpc/ {{ default_type application/grpc; add_trailer grpc-status 0; return 200 'reply'; }}
         }}",
        root = directory.root().display(),
        body = "k".repeat(1024),
    )
}
