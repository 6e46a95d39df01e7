//! HAProxy as a peer.

use postern_tests::Result;
use tokio::process::Command;

use super::nginx::path_with_sbin;
use super::peer::Layout;
use super::routes::Route;

/// One thread; connections to the upstream are shared by all clients.
pub(super) fn peer(layout: &Layout<'_>) -> Result<Command> {
    let Layout { directory, https, routes, log } = layout;
    // Standard output is the log file.
    let log = if log.is_some() { "log stdout format raw local0\n    option httplog" } else { "no log" };
    let uses = |Route { name, prefix, .. }: &Route| format!("    use_backend {name} if {{ path_beg {prefix} }}\n");
    let backend = |Route { name, upstream, http2, .. }: &Route| {
        format!("backend {name}\n    server one {upstream}{}\n", if *http2 { " proto h2" } else { "" })
    };
    let uses: String = routes.iter().map(uses).collect();
    let backends: String = routes.iter().map(backend).collect();
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
{uses}{backends}",
        both = directory.path("both.pem").display(),
    );
    let file = directory.write("haproxy.cfg", configuration)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file).env("PATH", path_with_sbin());
    Ok(command)
}
