//! Connections that idle after one request.

use std::net::SocketAddr;

use postern_tests::client::{Call, Connection, Reply};
use postern_tests::{Result, ensure};
use serde_json::json;
use tokio::io::AsyncReadExt;

use super::connect;
use crate::peers::directory::HOST;
use crate::{careless, raise_file_limit};

/// Opens connections, says how many are open, and holds them until the input ends.
pub(super) async fn hold(address: SocketAddr, count: usize, http2: bool) -> Result<()> {
    raise_file_limit()?;
    let config = careless::config(Some(if http2 { "h2" } else { "http/1.1" }))?;
    let call = Call::get(&format!("https://{HOST}/1k"));
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut connection = Connection::open(connect(&config, address).await?, http2).await?;
        let reply = Reply::read(connection.send(&call).await?).await?;
        ensure(reply.status == 200, || format!("answered {}", reply.status))?;
        connections.push(connection);
    }
    let open = connections.iter().filter(|connection| connection.is_open()).count();
    println!("{}", json!({"open": open}));
    let mut input = Vec::new();
    tokio::io::stdin().read_to_end(&mut input).await?;
    Ok(())
}
