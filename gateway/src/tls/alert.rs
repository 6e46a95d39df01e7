//! Alerts that are sent before rustls has a session to send them in.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::connection::Socket;

/// How long a client may take to see an alert and close.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that are discarded meanwhile: what a client may have sent that was not read.
const MOST_DISCARDED: usize = 128 * 1024;

/// A fatal alert (RFC 8446 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alert {
    /// No parameters are acceptable to both: the key signs by nothing that the client takes.
    HandshakeFailure,
    /// A message is longer than it may be.
    IllegalParameter,
    /// The client speaks no version that we do.
    ProtocolVersion {
        /// The version that it speaks: some look at no record of another one.
        spoken: u16,
    },
    /// We don't serve the name (RFC 6066 §3). The client should not try again.
    UnrecognizedName,
    /// We serve the name but cannot at present: its certificate could not be loaded. Nothing is wrong with the client.
    InternalError,
}

impl Alert {
    /// The record: alert, version, two bytes, fatal, which.
    pub(super) const fn record(self) -> [u8; 7] {
        let [high, low] = match self {
            Self::ProtocolVersion { spoken } => spoken.to_be_bytes(),
            _ => [3, 3],
        };
        let description = match self {
            Self::HandshakeFailure => 40,
            Self::IllegalParameter => 47,
            Self::ProtocolVersion { .. } => 70,
            Self::InternalError => 80,
            Self::UnrecognizedName => 112,
        };
        [0x15, high, low, 0x00, 0x02, 0x02, description]
    }

    /// Sends the alert and the end of the connection.
    pub(super) async fn send(self, socket: &mut Socket) {
        send_record(socket, &self.record()).await;
    }
}

/// Sends a record and the end of the connection, and waits for the client's: what it has sent and nobody has read would
/// else make the kernel reset the connection, and the client lose the alert. A client that is gone already does not matter.
pub(super) async fn send_record(socket: &mut Socket, record: &[u8]) {
    if socket.write_all(record).await.is_ok() && socket.shutdown().await.is_ok() {
        let _ = timeout(LINGER, socket.discard(MOST_DISCARDED)).await;
    }
}
