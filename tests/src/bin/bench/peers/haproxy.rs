//! HAProxy as a peer.

use postern_tests::Result;
use tokio::process::Command;

use super::nginx::path_with_sbin;
use super::peer::Layout;

/// One thread; connections to the upstream are shared by all clients.
pub(super) fn peer(layout: &Layout<'_>) -> Result<Command> {
    let Layout { directory, https, http1, h2c, uploads, log } = layout;
    // Standard output is the log file.
    let log = if log.is_some() { "log stdout format raw local0\n    option httplog" } else { "no log" };
    let configuration = format!(
        "global
    nbthread 1
    maxconn 4000
defaults
    mode http
    {log}
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    http-reuse always
    option forwardfor
frontend https
    bind {https} backlog 4096 ssl crt {both} alpn h2,http/1.1
    http-request set-header X-Forwarded-Proto https
    use_backend uploads if {{ path_beg /-/ }}
    use_backend h2c if {{ path_beg /grpc/ }}
    default_backend http1
backend http1
    server one {http1}
backend h2c
    server one {h2c} proto h2
backend uploads
    server one {uploads}
",
        both = directory.path("both.pem").display(),
    );
    let file = directory.write("haproxy.cfg", configuration)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file).env("PATH", path_with_sbin());
    Ok(command)
}
