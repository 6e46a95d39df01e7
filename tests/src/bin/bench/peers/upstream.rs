//! The upstream: nginx with fixed responses, over HTTP/1.1 and, on another port, over HTTP/2 without TLS.

use std::net::SocketAddr;

use postern_tests::client::get_plain;
use postern_tests::patience::eventually;
use postern_tests::{Result, address, ensure};

use super::directory::Directory;
use super::nginx;
use super::process::Process;

/// A running upstream.
pub(super) struct Upstream {
    pub(super) process: Process,
    pub(super) http1: SocketAddr,
    pub(super) h2c: SocketAddr,
}

impl Upstream {
    pub(super) async fn start(directory: &Directory) -> Result<Self> {
        let (http1, h2c) = (address::unused(), address::unused());
        directory.write("site/1m", vec![b'm'; 1 << 20])?;
        let command = nginx::command(directory, "upstream", &configuration(directory, http1, h2c))?;
        let mut process = Process::start(command, &directory.path("upstream.log"))?;
        eventually("the upstream serves", async || {
            process.is_running()?;
            let reply = get_plain(http1, "/1k").await?;
            ensure(reply.status == 200 && reply.body.len() == 1024, || format!("answered {}", reply.status))
        })
        .await?;
        process.adopt()?;
        Ok(Self { process, http1, h2c })
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
             client_max_body_size 0;
             location = /1k {{ default_type text/plain; return 200 '{body}'; }}
             location = /upload {{ return 200 'taken'; }}
             location /grpc/ {{ default_type application/grpc; add_trailer grpc-status 0; return 200 'reply'; }}
         }}",
        root = directory.root().display(),
        body = "k".repeat(1024),
    )
}
