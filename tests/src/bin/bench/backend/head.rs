//! Requests, of which only target and length are kept.

use std::io;

use tokio::net::TcpStream;

/// Bytes kept of a head: more than target and length take.
const KEPT: usize = 2 * 1024;

/// The parts of a request that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) target: String,
    /// Bytes of the body, if the head says so; chunks are not understood.
    pub(super) length: usize,
}

/// Reader of one head after the other.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    unread: Vec<u8>,
}

impl Scanner {
    /// The next request; `None` at the end of the stream. Comes before the rest of the head if `is_last` holds for its
    /// target, and then nothing more can be read with this.
    pub(super) async fn next(&mut self, stream: &TcpStream, is_last: fn(&str) -> bool) -> io::Result<Option<Head>> {
        let (mut kept, mut end) = (Vec::new(), End::default());
        loop {
            let found = end.find(&self.unread);
            keep(&mut kept, &self.unread);
            self.unread.drain(..found.unwrap_or(self.unread.len()));
            if let Some(target) = target(&kept).filter(|target| found.is_some() || is_last(target)) {
                return Ok(Some(Head { target: target.to_owned(), length: length(&kept) }));
            }
            if found.is_some() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if !read(stream, |bytes| self.unread.extend_from_slice(bytes)).await? {
                return Ok(None);
            }
        }
    }

    /// Bytes read beyond the last head.
    pub(super) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Reads past this much of a body.
    pub(super) async fn skip(&mut self, stream: &TcpStream, mut length: usize) -> io::Result<()> {
        let first = length.min(self.unread.len());
        self.unread.drain(..first);
        length -= first;
        while length > 0 {
            let unread = &mut self.unread;
            let more = read(stream, |bytes| {
                let part = length.min(bytes.len());
                length -= part;
                unread.extend_from_slice(&bytes[part..]);
            });
            if !more.await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Passes on what there is to read; `false` at the end. Waits without a buffer.
pub(super) async fn read(stream: &TcpStream, take: impl FnOnce(&[u8])) -> io::Result<bool> {
    loop {
        stream.readable().await?;
        let mut buffer = [0; 16 * 1024];
        match stream.try_read(&mut buffer) {
            Ok(count) => {
                take(&buffer[..count]);
                return Ok(count > 0);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Search for the empty line, across pieces.
#[derive(Debug, Default)]
struct End {
    matched: usize,
}

impl End {
    /// The length up to and with the empty line, if it ends in this piece.
    fn find(&mut self, piece: &[u8]) -> Option<usize> {
        const EMPTY_LINE: &[u8; 4] = b"\r\n\r\n";
        for (index, byte) in piece.iter().enumerate() {
            if *byte == EMPTY_LINE[self.matched] {
                self.matched += 1;
            } else {
                self.matched = usize::from(*byte == b'\r');
            }
            if self.matched == EMPTY_LINE.len() {
                return Some(index + 1);
            }
        }
        None
    }
}

fn keep(kept: &mut Vec<u8>, piece: &[u8]) {
    let room = KEPT.saturating_sub(kept.len());
    kept.extend_from_slice(&piece[..piece.len().min(room)]);
}

/// The target of a request line, once it is there.
fn target(head: &[u8]) -> Option<&str> {
    let mut words = head.split(|byte| *byte == b' ');
    let (_method, target, _version) = (words.next()?, words.next()?, words.next()?);
    std::str::from_utf8(target).ok()
}

/// The value of `Content-Length`; 0 without one.
fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head);
    let value = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
    });
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn requests_are_told_apart_however_they_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let writing = tokio::spawn(async move {
            for piece in
                b"POST /a HTTP/1.1\r\ncontent-LENGTH: 5\r\n\r\nhelloGET /b HTTP/1.1\r\n\r\nGET /last HTTP/1.1\r\n"
                    .chunks(3)
            {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        });
        let mut scanner = Scanner::default();
        for wanted in ["/a", "/b", "/last"] {
            let found = scanner.next(&server, |target| target == "/last").await.unwrap().unwrap();
            assert_eq!((found.target.as_str(), found.length), (wanted, if wanted == "/a" { 5 } else { 0 }));
            scanner.skip(&server, found.length).await.unwrap();
        }
        drop(writing.await.unwrap());
    }
}
