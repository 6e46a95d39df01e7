//! Reads the `ClientHello`, and answers one that cannot be used with an alert.
//!
//! Not `tokio_rustls::LazyConfigAcceptor`: to a client of TLS 1.1 or older, rustls says `handshake_failure`, since it looks
//! for signature algorithms before it looks at the version; and where a hello is too large it says nothing.

use std::io;

use rustls::PeerIncompatible;
use rustls::server::{AcceptedAlert, Acceptor};
use tokio::io::AsyncReadExt;
use tokio_rustls::StartHandshake;

use super::HandshakeError;
use super::alert::{self, Alert};
use crate::connection::Socket;

/// Bytes that are read at a time: more than most hellos have.
const CHUNK: usize = 2048;

/// Versions, as they are written (RFC 8446 §4.2.1).
const TLS_1_2: u16 = 0x0303;
const TLS_1_3: u16 = 0x0304;

/// The extension that names them.
const SUPPORTED_VERSIONS: u16 = 43;

/// A connection whose `ClientHello` cannot be used, and why.
pub(super) struct Refused {
    pub(super) error: HandshakeError,
    answer: Option<(Socket, Vec<u8>)>,
}

impl Refused {
    /// Tells the client, if there is something to tell, and closes.
    pub(super) async fn answer(self) -> HandshakeError {
        if let Some((mut socket, alert)) = self.answer {
            alert::send_record(&mut socket, &alert).await;
        }
        self.error
    }
}

/// A handshake that has begun with a valid `ClientHello`.
pub(super) struct Begun {
    pub(super) start: StartHandshake<Socket>,
    /// rustls speaks it with a client that offers it.
    pub(super) offers_tls13: bool,
}

/// Reads until the `ClientHello` is complete.
pub(super) async fn read(mut socket: Socket) -> Result<Begun, Refused> {
    let mut acceptor = Acceptor::default();
    let (mut chunk, mut seen) = (vec![0; CHUNK], Vec::with_capacity(CHUNK));
    loop {
        let count = match socket.read(&mut chunk).await {
            Ok(0) => return Err(Refused { error: HandshakeError::NoHello, answer: None }),
            Ok(count) => count,
            Err(_) if socket.is_over_budget() => return Err(too_large(socket)),
            Err(error) => return Err(Refused { error: HandshakeError::BadHello(error), answer: None }),
        };
        let mut bytes = &chunk[..count];
        seen.extend_from_slice(bytes);
        // All of it, before any of it is looked at: what follows the hello belongs to the session.
        while !bytes.is_empty() {
            if acceptor.read_tls(&mut bytes).is_err() {
                return Err(too_large(socket));
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let offers_tls13 = offers_tls13(&message(&seen));
                return Ok(Begun { start: StartHandshake::from_parts(accepted, socket), offers_tls13 });
            }
            Ok(None) => {}
            Err((error, alert)) => return Err(refused(error, alert, &message(&seen), socket)),
        }
    }
}

fn too_large(socket: Socket) -> Refused {
    Refused { error: HandshakeError::TooLarge, answer: Some((socket, Alert::IllegalParameter.record().to_vec())) }
}

fn refused(error: rustls::Error, mut alert: AcceptedAlert, hello: &[u8], socket: Socket) -> Refused {
    // An older client sends no signature algorithms either, and that is what rustls stumbles over.
    let is_incomplete = error == PeerIncompatible::SignatureAlgorithmsExtensionRequired.into();
    if let Some(version) = client_version(hello).filter(|version| is_incomplete && *version < TLS_1_2) {
        let alert = Alert::ProtocolVersion { spoken: version }.record().to_vec();
        return Refused { error: HandshakeError::OldVersion, answer: Some((socket, alert)) };
    }
    let mut record = Vec::new();
    // Writing to a Vec does not fail.
    let _ = alert.write_all(&mut record);
    let error = io::Error::new(io::ErrorKind::InvalidData, error);
    Refused { error: HandshakeError::BadHello(error), answer: Some((socket, record)) }
}

/// The handshake message that records begin with, as far as it is there. A record may be as short as a byte.
fn message(mut records: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(records.len());
    // A record: type, version, length in two bytes, content.
    while let Some((header, rest)) = records.split_at_checked(5) {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]])).min(rest.len());
        message.extend_from_slice(&rest[..length]);
        records = &rest[length..];
    }
    message
}

/// The `client_version` of a hello (RFC 5246 §7.4.1.2): type, length in three bytes, version.
fn client_version(hello: &[u8]) -> Option<u16> {
    number(hello.get(4..6)?)
}

/// Returns `true` if a hello offers TLS 1.3 (RFC 8446 §4.1.2).
fn offers_tls13(hello: &[u8]) -> bool {
    versions(hello).is_some_and(|versions| versions.chunks_exact(2).any(|version| number(version) == Some(TLS_1_3)))
}

/// What the extension `supported_versions` holds.
fn versions(hello: &[u8]) -> Option<&[u8]> {
    // Type and length, version, random; then session, suites and compression methods.
    let (_session, rest) = vector(hello.get(4 + 2 + 32..)?, 1)?;
    let (_suites, rest) = vector(rest, 2)?;
    let (_methods, rest) = vector(rest, 1)?;
    let (mut extensions, _) = vector(rest, 2)?;
    while let Some((kind, rest)) = extensions.split_at_checked(2) {
        let (content, rest) = vector(rest, 2)?;
        if number(kind) == Some(SUPPORTED_VERSIONS) {
            return vector(content, 1).map(|(versions, _)| versions);
        }
        extensions = rest;
    }
    None
}

/// A vector, with its length in so many bytes in front, and what follows it.
fn vector(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(width)?;
    rest.split_at_checked(length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

fn number(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hello with an extension that does not matter, and one of these versions.
    fn hello(versions: &[u8]) -> Vec<u8> {
        let offered = [
            &[0, 43, 0, u8::try_from(versions.len() + 1).unwrap()][..],
            &[u8::try_from(versions.len()).unwrap()],
            versions,
        ];
        let extensions = [&[0, 23, 0, 0][..], &offered.concat()].concat();
        let length = [0, u8::try_from(extensions.len()).unwrap()];
        [&[1, 0, 0, 200, 3, 3][..], &[7; 32], &[1, 9], &[0, 2, 0x13, 1], &[1, 0], &length, &extensions].concat()
    }

    #[test]
    fn a_message_is_found_in_records_of_any_length() {
        let message_is = hello(&[3, 4]);
        for length in 1..=message_is.len() {
            let record = |part: &[u8]| [&[22, 3, 1, 0, u8::try_from(part.len()).unwrap()], part].concat();
            let records: Vec<u8> = message_is.chunks(length).flat_map(record).collect();
            assert_eq!(message(&records), message_is, "{length}");
        }
    }

    #[test]
    fn versions_are_those_that_the_client_says() {
        for (versions, is_tls13) in [
            (&[3, 4][..], true),
            (&[0x0a, 0x0a, 3, 3, 3, 4], true),
            (&[3, 3], false),
            (&[4, 3, 4], false),
            (&[], false),
        ] {
            let hello = hello(versions);
            assert_eq!((client_version(&hello), offers_tls13(&hello)), (Some(TLS_1_2), is_tls13), "{versions:?}");
        }
    }

    #[test]
    fn whatever_the_bytes_are_there_is_an_answer() {
        let mut random = fastrand::Rng::with_seed(0x5eed);
        let whole = hello(&[3, 4]);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            bytes.truncate(random.usize(..=bytes.len()));
            for _ in 0..random.usize(..4) {
                let at = random.usize(..whole.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.u8(..);
                }
            }
            let is_whole = bytes == whole;
            assert!(offers_tls13(&bytes) || !is_whole);
            client_version(&message(&bytes));
        }
        assert_eq!((client_version(&[1, 0, 0, 4]), message(&[22, 3, 1])), (None, vec![]));
    }
}
