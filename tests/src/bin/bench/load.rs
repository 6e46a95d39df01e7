//! Handshakes with many names, several at a time, from many addresses.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postern_tests::Result;
use postern_tests::client::tls::{close, connect_over};
use postern_tests::client::{TlsClient, sources};
use postern_tests::gateway::Gateway;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::fleet::host;

/// How many certificates are loaded before a measurement begins.
pub(crate) const EXAMPLE: usize = 200;

/// Clients at the same time.
const CLIENTS: usize = 16;

/// Makes a full handshake with each of these services, and closes.
pub(crate) async fn shake_all(gateway: &Gateway, client: &TlsClient, services: Range<usize>) -> Result<()> {
    hold_all(gateway, client, services, false).await.map(drop)
}

/// Makes a full handshake with each of these services. What is held open, if that is wanted, is returned.
pub(crate) async fn hold_all(
    gateway: &Gateway,
    client: &TlsClient,
    services: Range<usize>,
    keep: bool,
) -> Result<Vec<TlsStream<TcpStream>>> {
    let address = gateway.address("external-https")?;
    let (config, next) = (client.x25519().config()?, Arc::new(AtomicUsize::new(services.start)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (config, next) = (Arc::clone(&config), Arc::clone(&next));
        clients.spawn(async move {
            let mut held = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= services.end {
                    return Result::<_>::Ok(held);
                }
                let stream = sources::connect(address, None).await?;
                let (stream, _) = connect_over(&config, stream, Some(&host(number))).await?;
                if keep {
                    held.push(stream);
                } else {
                    close(stream).await;
                }
            }
        });
    }
    let mut held = Vec::new();
    while let Some(done) = clients.join_next().await {
        held.extend(done??);
    }
    Ok(held)
}
