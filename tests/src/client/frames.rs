//! HTTP/2 by hand: frames and header blocks as no library would send them (RFC 9113 §4.1, RFC 7541).

/// Client's connection preface, without the SETTINGS that follow it.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Largest payload of a frame, unless the peer allows more.
pub const MAX_PAYLOAD: usize = 16 * 1024;

/// Length of the head of a frame.
pub const FRAME_HEAD: usize = 9;

/// Frame type DATA.
pub const DATA: u8 = 0x0;
/// Frame type HEADERS.
pub const HEADERS: u8 = 0x1;
/// Frame type PRIORITY.
pub const PRIORITY: u8 = 0x2;
/// Frame type `RST_STREAM`.
pub const RST_STREAM: u8 = 0x3;
/// Frame type SETTINGS.
pub const SETTINGS: u8 = 0x4;
/// Frame type PING.
pub const PING: u8 = 0x6;
/// Frame type GOAWAY.
pub const GOAWAY: u8 = 0x7;
/// Frame type `WINDOW_UPDATE`.
pub const WINDOW_UPDATE: u8 = 0x8;
/// Frame type CONTINUATION.
pub const CONTINUATION: u8 = 0x9;

/// Flag of SETTINGS and PING: an acknowledgement.
pub const ACK: u8 = 0x1;
/// Flag of DATA and HEADERS: the last frame of the stream.
pub const END_STREAM: u8 = 0x1;
/// Flag of HEADERS and CONTINUATION: the last frame of the header block.
pub const END_HEADERS: u8 = 0x4;

/// Payload of SETTINGS: `SETTINGS_INITIAL_WINDOW_SIZE` 0.
pub const SHUT: [u8; 6] = [0, 4, 0, 0, 0, 0];

/// A frame: length in 24 bits, type, flags, stream, payload.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block in as many frames as it needs.
pub fn headers(stream: u32, end_stream: bool, block: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(block.len() + 8 * FRAME_HEAD);
    let pieces = block.chunks(MAX_PAYLOAD);
    let last = pieces.len().saturating_sub(1);
    for (index, piece) in pieces.enumerate() {
        let kind = if index == 0 { HEADERS } else { CONTINUATION };
        let end_stream = if index == 0 && end_stream { END_STREAM } else { 0 };
        let end_headers = if index == last { END_HEADERS } else { 0 };
        bytes.extend(frame(kind, end_stream | end_headers, stream, piece));
    }
    bytes
}

/// A header block under construction, without Huffman code.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Block(Vec<u8>);

impl Block {
    /// The pseudo-header fields of a GET or POST, without an entry in the dynamic table.
    pub fn request(method: &str, scheme: &str, authority: &str, path: &str) -> Self {
        // Of the static table: 2 GET, 3 POST, 6 http, 7 https; the names 1 :authority, 4 :path.
        let method = if method == "GET" { 0x82 } else { 0x83 };
        let scheme = if scheme == "https" { 0x87 } else { 0x86 };
        Self(vec![method, scheme]).named(0x01, authority).named(0x04, path)
    }

    /// The pseudo-header field of a response with status 200, entry 8 of the static table.
    pub fn status_ok() -> Self {
        Self(vec![0x88])
    }

    /// Adds a field that enters no table.
    pub fn field(self, name: &str, value: &str) -> Self {
        self.literal(0x00, name, value)
    }

    /// Adds a field that enters the dynamic table, as its newest entry.
    pub fn indexed(self, name: &str, value: &str) -> Self {
        self.literal(0x40, name, value)
    }

    /// Adds the newest entry of the dynamic table this many times.
    pub fn newest(mut self, times: usize) -> Self {
        const FIRST_DYNAMIC: u8 = 62;
        self.0.resize(self.0.len() + times, 0x80 | FIRST_DYNAMIC);
        self
    }

    /// The bytes of the block.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn literal(mut self, representation: u8, name: &str, value: &str) -> Self {
        self.0.push(representation);
        self.string(name);
        self.string(value);
        self
    }

    /// A literal without indexing, with the name of an entry of the static table.
    fn named(mut self, name: u8, value: &str) -> Self {
        self.0.push(name);
        self.string(value);
        self
    }

    /// Length with a prefix of seven bits (RFC 7541 §5.1), then the text.
    fn string(&mut self, text: &str) {
        const PREFIX: usize = 0x7f;
        let length = text.len();
        if length < PREFIX {
            self.0.push(low_byte(length));
        } else {
            self.0.push(low_byte(PREFIX));
            let mut rest = length - PREFIX;
            while rest >= 0x80 {
                self.0.push(0x80 | low_byte(rest & 0x7f));
                rest >>= 7;
            }
            self.0.push(low_byte(rest));
        }
        self.0.extend_from_slice(text.as_bytes());
    }
}

fn low_byte(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use h2::server::handshake;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn a_frame_has_its_length_type_flags_and_stream_in_front() {
        assert_eq!(frame(RST_STREAM, 0, 5, &[0, 0, 0, 8]), [0, 0, 4, 3, 0, 0, 0, 0, 5, 0, 0, 0, 8]);
    }

    #[tokio::test]
    async fn a_server_understands_long_fields_and_references_to_the_dynamic_table() {
        let long = "v".repeat(20_000);
        let first = Block::request("POST", "https", "shop.test", "/x").field("a", &long).indexed("b", "2");
        let second = Block::request("GET", "http", "shop.test", "/").newest(3);
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        client.write_all(PREFACE).await.unwrap();
        client.write_all(&frame(SETTINGS, 0, 0, &SHUT)).await.unwrap();
        client.write_all(&headers(1, true, &first.into_bytes())).await.unwrap();
        client.write_all(&headers(3, true, &second.into_bytes())).await.unwrap();
        let mut connection = handshake(server).await.unwrap();
        let (request, _respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!((request.method().as_str(), request.uri().to_string()), ("POST", "https://shop.test/x".to_owned()));
        assert_eq!((request.headers()["a"].len(), &request.headers()["b"]), (20_000, &"2".parse().unwrap()));
        let (request, _respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.headers().get_all("b").iter().count(), 3);
    }
}
