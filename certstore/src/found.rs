//! What a field holds that has no PEM block in it: recognized for the message of its refusal.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::asn1_rs::{Any, FromDer, Oid, Tag};
use zeroize::Zeroizing;

use crate::details;

const PKCS7_SIGNED: &str = "1.2.840.113549.1.7.2";
const PKCS7_DATA: &str = "1.2.840.113549.1.7.1";
/// The first bytes of a Java keystore.
const JKS: &[u8] = &[0xfe, 0xed, 0xfe, 0xed];

/// Names what `bytes` are, with their number; quotes nothing of them.
pub(crate) fn describe(bytes: &[u8]) -> String {
    let length = bytes.len();
    if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        return if length == 0 { "nothing".to_owned() } else { format!("{length} bytes of white space") };
    }
    if is_utf16(bytes) {
        return format!("text in UTF-16 ({length} bytes), where UTF-8 is expected");
    }
    if let Some(what) = binary(bytes) {
        return format!("{what} ({length} bytes)");
    }
    match decoded(bytes) {
        Some(text) if find(text.secret_der(), b"-----BEGIN ") => {
            format!("PEM that is encoded in base64 once more ({length} bytes)")
        }
        Some(text) => match binary(text.secret_der()) {
            Some(what) => format!("{what}, in base64 without BEGIN and END lines ({length} bytes)"),
            None => format!("base64 without BEGIN and END lines ({length} bytes)"),
        },
        None if find(bytes, b"BEGIN ") => {
            format!("text with a BEGIN line that is not at the begin of its line ({length} bytes)")
        }
        None => format!("{length} bytes that are no PEM"),
    }
}

/// What DER and the like hold.
fn binary(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(JKS) {
        return Some("a Java keystore");
    }
    let (_, outer) = Any::from_der(bytes).ok().filter(|(_, outer)| outer.tag() == Tag::Sequence)?;
    if details::parse(&CertificateDer::from(bytes)).is_ok() {
        return Some("a certificate in DER");
    }
    let (rest, first) = Any::from_der(outer.data).ok()?;
    if oid(&first).as_deref() == Some(PKCS7_SIGNED) {
        return Some("PKCS#7 in DER");
    }
    // PFX (RFC 7292 §4): version 3 and a ContentInfo. A private key has a version too, and then a number or an algorithm.
    let second = Any::from_der(rest).ok().map(|(_, second)| second).filter(|second| second.tag() == Tag::Sequence);
    let content = second.and_then(|second| Any::from_der(second.data).ok()).and_then(|(_, content)| oid(&content));
    Some(match content.as_deref() {
        Some(PKCS7_DATA | PKCS7_SIGNED) => "PKCS#12",
        Some(_) => "a private key in DER",
        None if first.tag() == Tag::Integer => "a private key in DER",
        None => "DER",
    })
}

fn oid(any: &Any<'_>) -> Option<String> {
    Oid::try_from(any.clone()).ok().map(|oid| oid.to_id_string())
}

/// Text of ASCII characters in UTF-16 has a zero in every other byte.
fn is_utf16(bytes: &[u8]) -> bool {
    let has_mark = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let head = &bytes[..bytes.len().min(64)];
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    has_mark || head.len() >= 4 && zeros(0).max(zeros(1)) >= head.len() / 2
}

/// What the bytes are in base64, if they are that and nothing else. They may be a key.
fn decoded(bytes: &[u8]) -> Option<Zeroizing<PrivateKeyDer<'static>>> {
    // The library decodes what stands between a BEGIN and an END line.
    let parts = [b"-----BEGIN PRIVATE KEY-----\n", bytes, b"\n-----END PRIVATE KEY-----\n"];
    PrivateKeyDer::from_pem_slice(&Zeroizing::new(parts.concat())).ok().map(Zeroizing::new)
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
