//! PEM ends here: the only file that knows `rustls-pemfile` (archived; its successor is `rustls_pki_types::pem`).

use rustls_pemfile::{Error, Item, read_one_from_slice};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

use crate::error::PemFault;

/// The certificates of `pem` in their order, at most `limit` of them; other sections are passed over.
pub(crate) fn certificates(pem: &[u8], limit: usize) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let mut found = Vec::new();
    let mut rest = pem;
    while found.len() < limit {
        let Some((item, after)) = read_one_from_slice(rest).map_err(|error| fault(&error))? else { break };
        rest = after;
        match item {
            Item::X509Certificate(certificate) => found.push(certificate),
            other => wipe(other),
        }
    }
    Ok(found)
}

/// The first private key of `pem`; other sections, such as `EC PARAMETERS`, are passed over.
pub(crate) fn private_key(pem: &[u8]) -> Result<Option<PrivateKeyDer<'static>>, PemFault> {
    let mut rest = pem;
    while let Some((item, after)) = read_one_from_slice(rest).map_err(|error| fault(&error))? {
        rest = after;
        if let Some(key) = key_of(item) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

fn key_of(item: Item) -> Option<PrivateKeyDer<'static>> {
    match item {
        Item::Pkcs1Key(key) => Some(key.into()),
        Item::Pkcs8Key(key) => Some(key.into()),
        Item::Sec1Key(key) => Some(key.into()),
        _ => None,
    }
}

/// A key that stands where none belongs is not left behind in freed memory.
fn wipe(item: Item) {
    if let Some(mut key) = key_of(item) {
        key.zeroize();
    }
}

/// Drops the text that the library's error quotes.
fn fault(error: &Error) -> PemFault {
    match error {
        Error::MissingSectionEnd { .. } => PemFault::MissingEnd,
        Error::IllegalSectionStart { .. } => PemFault::IllegalStart,
        Error::Base64Decode(_) => PemFault::Base64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_that_are_no_certificates_are_passed_over() {
        let pem = b"text\n-----BEGIN X-----\nAAAA\n-----END X-----\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates(pem, 10).unwrap().len(), 1);
    }

    #[test]
    fn no_more_certificates_are_read_than_the_limit() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".repeat(5);
        assert_eq!(certificates(&pem, 3).unwrap().len(), 3);
    }

    #[test]
    fn a_fault_quotes_nothing() {
        let pem = b"-----BEGIN PRIVATE KEY-----c2VjcmV0\n";
        assert_eq!(private_key(pem), Err(PemFault::IllegalStart));
        assert!(!PemFault::IllegalStart.to_string().contains("c2VjcmV0"));
    }

    #[test]
    fn a_section_without_end_is_a_fault() {
        assert_eq!(certificates(b"-----BEGIN CERTIFICATE-----\nAAAA\n", 10), Err(PemFault::MissingEnd));
    }
}
