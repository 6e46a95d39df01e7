//! Attacks on handshakes: hellos that stop halfway, and hellos for one large certificate after the other.

use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use postern_tests::client::Stream;
use postern_tests::client::hello::client_hello;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::super::site::{LARGE, large_host};

/// A crawler leaves its certificate unread for this long.
pub(in super::super) const HOLD: Duration = Duration::from_millis(1_500);

/// Part of a handshake that is sent.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Hello {
    /// Half of a hello that fills a record.
    Half,
    /// A whole hello, of whose answer nothing is read for this long.
    Crawl { hold: Duration },
}

/// Half of a record of 16 KiB, which says that there is more.
static HALF: LazyLock<Vec<u8>> = LazyLock::new(|| {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let record = [HANDSHAKE, 3, 1, 0x40, 0];
    let message = [CLIENT_HELLO, 0, 0x3f, 0xfc, 3, 3];
    [&record[..], &message, &[7; 8 * 1024]].concat()
});

impl Hello {
    pub(super) async fn run(self, mut stream: Box<dyn Stream>) -> io::Result<()> {
        match self {
            Self::Half => {
                stream.write_all(&HALF).await?;
                stream.read(&mut [0; 64]).await.map(drop)
            }
            Self::Crawl { hold } => {
                let name = large_host(fastrand::usize(..LARGE));
                stream.write_all(&client_hello(Some(name.as_bytes()))).await?;
                sleep(hold).await;
                Ok(())
            }
        }
    }
}
