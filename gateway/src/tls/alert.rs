//! Alerts that are sent before rustls has a session to send them in.

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// A fatal alert (RFC 8446 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alert {
    /// We don't serve the name (RFC 6066 §3). The client should not try again.
    UnrecognizedName,
    /// We serve the name but cannot at present: its certificate could not be loaded. Nothing is wrong with the client.
    InternalError,
}

impl Alert {
    /// The record: alert, TLS 1.2 on the wire, two bytes, fatal, which.
    const fn record(self) -> [u8; 7] {
        let description = match self {
            Self::UnrecognizedName => 112,
            Self::InternalError => 80,
        };
        [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, description]
    }

    /// Sends the alert and the end of the connection. That the client is gone already is no concern of anybody.
    pub(super) async fn send(self, io: &mut (impl AsyncWrite + Unpin)) {
        if io.write_all(&self.record()).await.is_ok() {
            let _ = io.shutdown().await;
        }
    }
}
