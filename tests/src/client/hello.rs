//! A `ClientHello` written by hand, to send what no library would: any bytes as server name, any piecewise timing.
//!
//! It offers TLS 1.2 only, where the server's certificate comes in clear (RFC 5246 §7.3), so that the answer can be
//! read without doing the cryptography.

use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::in_time;
use super::tls::identity;
use crate::Result;

/// What a server answered to a `ClientHello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An alert: level and description (RFC 8446 §6).
    Alert(u8, u8),
    /// A certificate with this serial number.
    Certificate(u64),
    /// The connection was closed without a word.
    Closed,
}

/// The alert `unrecognized_name`, fatal (RFC 6066 §3).
pub const UNRECOGNIZED_NAME: Answer = Answer::Alert(2, 112);

/// A record that holds a `ClientHello` with this server name.
pub fn client_hello(server_name: Option<&[u8]>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = server_name {
        let entry = [&[0][..], &sized16(name)].concat();
        extensions.extend(extension(0, &sized16(&entry)));
    }
    // supported_groups: X25519, P-256. ec_point_formats: uncompressed. signature_algorithms: ECDSA and RSA with SHA-256.
    extensions.extend(extension(10, &sized16(&[0, 29, 0, 23])));
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(13, &sized16(&[4, 3, 8, 4, 4, 1])));
    // ECDHE with AES-128-GCM, ECDSA and RSA; no compression.
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    hello.extend(sized16(&extensions));
    let mut message = vec![1, 0];
    message.extend(sized16(&hello));
    [&[22, 3, 1][..], &sized16(&message)].concat()
}

/// Sends a `ClientHello` with this server name and returns what comes back first.
pub async fn greet(address: SocketAddr, server_name: Option<&[u8]>) -> Result<Answer> {
    greet_over(TcpStream::connect(address).await?, server_name).await
}

/// [`greet`] on a connection at hand.
pub async fn greet_over(mut stream: TcpStream, server_name: Option<&[u8]>) -> Result<Answer> {
    stream.write_all(&client_hello(server_name)).await?;
    in_time("an answer to a ClientHello", answer(&mut stream)).await?
}

/// Reads records until the certificate, an alert or the end.
async fn answer(stream: &mut TcpStream) -> Result<Answer> {
    let mut handshake = Vec::new();
    loop {
        let mut head = [0; 5];
        if stream.read_exact(&mut head).await.is_err() {
            return Ok(Answer::Closed);
        }
        let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        stream.read_exact(&mut record).await?;
        match (head[0], record.as_slice()) {
            (21, [level, description]) => return Ok(Answer::Alert(*level, *description)),
            (22, fragment) => handshake.extend_from_slice(fragment),
            _ => return Err(format!("an unexpected record of type {}", head[0]).into()),
        }
        if let Some(leaf) = leaf(&handshake) {
            return Ok(Answer::Certificate(identity(&CertificateDer::from(leaf.to_vec()))?.0));
        }
    }
}

/// The first certificate of the Certificate message, once all of it is there.
fn leaf(mut handshake: &[u8]) -> Option<&[u8]> {
    loop {
        let (message_type, rest) = handshake.split_first()?;
        let (body, rest) = sized24(rest)?;
        if *message_type == 11 {
            return Some(sized24(sized24(body)?.0)?.0);
        }
        handshake = rest;
    }
}

/// Splits off what a length of 24 bits in front says.
fn sized24(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<3>()?;
    rest.split_at_checked(u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize)
}

fn extension(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[0, kind][..], &sized16(body)].concat()
}

/// Bytes with their length in 16 bits in front.
fn sized16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustls_reads_the_server_name_from_our_hello() {
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor.read_tls(&mut client_hello(Some(b"shop.test")).as_slice()).unwrap();
        let accepted = acceptor.accept().ok().flatten().unwrap();
        assert_eq!(accepted.client_hello().server_name(), Some("shop.test"));
    }
}
