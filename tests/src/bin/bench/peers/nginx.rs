//! nginx: its command, and its configuration as a peer.

use postern_tests::Result;
use tokio::process::Command;

use super::directory::{Directory, HOST};
use super::peer::Layout;
use super::routes::Route;

/// Requests of a connection: more than are made.
const ENDLESS: u64 = 1_000_000_000;

/// nginx in the foreground with one worker. `http` is the content of its block of that name.
pub(super) fn command(directory: &Directory, name: &str, http: &str) -> Result<Command> {
    let home = directory.path(name);
    std::fs::create_dir_all(&home)?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", home.display()))
        .concat();
    // A worker of root gives its privileges up, and could then not read the directory.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let configuration = format!(
        "{user}
         worker_processes 1;
         daemon off;
         pid {home}/pid;
         error_log stderr error;
         events {{ worker_connections 16384; }}
         http {{
             {temporary}
             keepalive_requests {ENDLESS};
             keepalive_timeout 600s;
             {http}
         }}",
        home = home.display(),
    );
    let file = directory.write(&format!("{name}.conf"), configuration)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&home).arg("-c").arg(file).env("PATH", path_with_sbin());
    Ok(command)
}

/// The search path with the directories of servers, which only root has in it.
pub(super) fn path_with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Bodies are passed on as they come, as the others do it, and none goes to disk.
pub(super) fn peer(layout: &Layout<'_>) -> Result<Command> {
    let Layout { directory, https, routes, log } = layout;
    let access_log = log.as_ref().map_or_else(|| "off".to_owned(), |log| log.display().to_string());
    let pools: String = routes.iter().map(pool).collect();
    let locations: String = routes.iter().map(location).collect();
    let configuration = format!(
        "access_log {access_log};
         {pools}
         server {{
             listen {https} ssl http2 backlog=4096;
             server_name {HOST};
             ssl_certificate {chain};
             ssl_certificate_key {key};
             ssl_protocols TLSv1.2 TLSv1.3;
             client_max_body_size 0;
             proxy_request_buffering off;
             proxy_max_temp_file_size 0;
             proxy_http_version 1.1;
             {locations}
         }}",
        chain = directory.path("chain.pem").display(),
        key = directory.path("key.pem").display(),
    );
    command(directory, "nginx", &configuration)
}

fn pool(route: &Route) -> String {
    let Route { name, upstream, .. } = route;
    format!(
        "upstream {name} {{ server {upstream}; keepalive 1024; keepalive_requests {ENDLESS}; keepalive_timeout 600s; }}\n"
    )
}

fn location(route: &Route) -> String {
    let Route { name, prefix, http2, upgrades, .. } = route;
    if *http2 {
        return format!("location {prefix} {{ grpc_pass grpc://{name}; grpc_read_timeout 600s; }}\n");
    }
    let connection = if *upgrades { "upgrade; proxy_set_header Upgrade $http_upgrade" } else { "''" };
    format!(
        "location {prefix} {{
             proxy_pass http://{name};
             proxy_set_header Connection {connection};
             proxy_set_header Host $host;
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
             proxy_set_header X-Forwarded-Proto $scheme;
         }}\n"
    )
}
