//! The time until a new host is served.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_tests::Result;
use postern_tests::client::raw::{Head, RawConnection};
use postern_tests::cluster::numbered_service;
use tokio::time::{Instant, sleep_until};

/// From one look at a host to the next.
const BETWEEN: Duration = Duration::from_millis(20);

/// A host that is not served within this never is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client that asks for new hosts. Clones share connections.
#[derive(Clone, Debug)]
pub(super) struct Poller {
    http: SocketAddr,
    idle: Arc<Mutex<Vec<RawConnection>>>,
}

impl Poller {
    pub(super) fn new(http: SocketAddr) -> Self {
        Self { http, idle: Arc::default() }
    }

    /// Asks for the host of a service until it answers with 200; how long that took from `began` on.
    pub(super) async fn until_served(&self, number: usize, began: Instant) -> Result<Duration> {
        let host = numbered_service(number, &[]).external_host();
        let request = format!("HEAD /-/bytes/0 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut next = Instant::now();
        while began.elapsed() < PATIENCE {
            let status = self.ask(&request).await?;
            if status == 200 {
                return Ok(began.elapsed());
            }
            next += BETWEEN;
            sleep_until(next).await;
        }
        Err(format!("{host} is not served after {PATIENCE:?}").into())
    }

    async fn ask(&self, request: &str) -> Result<u16> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => RawConnection::open(self.http).await?,
        };
        connection.send(request).await?;
        match connection.head().await? {
            Head::Status(status, head) => {
                if !head.to_ascii_lowercase().contains("connection: close") {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                }
                Ok(status)
            }
            Head::Closed => Ok(0),
        }
    }
}
