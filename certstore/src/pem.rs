//! PEM ends here: blocks are found by this file and decoded by `rustls_pki_types::pem`.
//!
//! Not that library's own search for blocks: it drops a block with a label that it does not know, and one whose BEGIN line
//! is glued to the END line before it, and reports neither.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::asn1_rs::{Any, FromDer};
use zeroize::Zeroizing;

use crate::error::PemFault;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// UTF-8's byte order mark, which editors put before the first line.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// A label that is longer is no label.
const MAX_LABEL: usize = 40;
/// Blocks that are reported by their labels, of each field.
const MAX_REPORTED: usize = 5;

/// Labels of certificates: RFC 7468 §5, the older form that OpenSSL still reads, and OpenSSL's own with trust settings.
const CERTIFICATES: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
/// Labels of private keys that are read.
const KEYS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
/// Labels that stand beside keys and certificates and add nothing to them.
const PARAMETERS: [&str; 2] = ["EC PARAMETERS", "DH PARAMETERS"];
const ENCRYPTED_KEY: &str = "ENCRYPTED PRIVATE KEY";

/// What the PEM text of a field holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// In the order of the text.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// The first private key.
    pub(crate) key: Option<PrivateKeyDer<'static>>,
    /// How the first encrypted private key is encrypted.
    pub(crate) encrypted: Option<String>,
    /// Further private keys.
    pub(crate) more_keys: usize,
    /// Labels of blocks that are not read, and what else looks like a block; at most [`MAX_REPORTED`].
    pub(crate) unread: Vec<String>,
}

/// What the caller wants of a text; the rest is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Certificates,
    KeyAndCertificates,
}

/// Reads the blocks of `pem`, at most `limit` certificates.
pub(crate) fn read(pem: &[u8], wanted: Wanted, limit: usize) -> Result<Contents, PemFault> {
    let mut contents = Contents::default();
    let mut blocks = Blocks::new(pem);
    while let Some(block) = blocks.next() {
        let block = match block {
            Ok(block) => block,
            // What follows the key is not needed.
            Err(_) if contents.key.is_some() => {
                blocks.stray("a malformed block");
                break;
            }
            Err(fault) => return Err(fault),
        };
        match contents.take(&block, wanted, limit) {
            Err(_) if contents.key.is_some() => blocks.stray("a malformed block"),
            taken => taken?,
        }
    }
    contents.unread.append(&mut blocks.strays);
    contents.unread.truncate(MAX_REPORTED);
    Ok(contents)
}

impl Contents {
    fn take(&mut self, block: &Block<'_>, wanted: Wanted, limit: usize) -> Result<(), PemFault> {
        let label = block.label.as_str();
        if CERTIFICATES.contains(&label) {
            if self.certificates.len() < limit {
                self.certificates.push(block.certificate()?);
            }
        } else if let Some(how) = block.encryption() {
            self.encrypted.get_or_insert(how);
        } else if KEYS.contains(&label) {
            match (wanted, &self.key) {
                (Wanted::KeyAndCertificates, None) => self.key = Some(block.private_key()?),
                _ => self.more_keys += 1,
            }
        } else if !PARAMETERS.contains(&label) && self.unread.len() < MAX_REPORTED {
            self.unread.push(label.to_owned());
        }
        Ok(())
    }
}

/// A block of a text.
struct Block<'a> {
    label: String,
    /// The line of its BEGIN line, counted from 1.
    line: usize,
    /// Between its BEGIN and END lines.
    body: &'a [u8],
}

impl Block<'_> {
    fn certificate(&self) -> Result<CertificateDer<'static>, PemFault> {
        let der = CertificateDer::from_pem_slice(&self.text(CERTIFICATES[0])).map_err(|_| self.fault())?;
        if self.label != CERTIFICATES[2] {
            return Ok(der);
        }
        // Trust settings follow the certificate.
        let rest = Any::from_der(&der).map_or(0, |(rest, _)| rest.len());
        Ok(CertificateDer::from(der[..der.len() - rest].to_vec()))
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, PemFault> {
        PrivateKeyDer::from_pem_slice(&self.text(&self.label)).map_err(|_| self.fault())
    }

    /// How a private key is encrypted, if it is.
    fn encryption(&self) -> Option<String> {
        if self.label == ENCRYPTED_KEY {
            return Some("PKCS#8".to_owned());
        }
        let headers = &self.body[..self.headers()];
        let value = |name: &[u8]| {
            let line = lines(headers).find(|line| line.starts_with(name))?;
            Some(String::from_utf8_lossy(&line[name.len()..]).trim().to_owned())
        };
        value(b"Proc-Type:").filter(|value| value.ends_with("ENCRYPTED"))?;
        let cipher = value(b"DEK-Info:").unwrap_or_default();
        let cipher = cipher.split(',').next().unwrap_or_default();
        let is_plain = cipher.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let cipher = if is_plain && cipher.len() <= MAX_LABEL { cipher } else { "" };
        Some(format!("Proc-Type: 4,ENCRYPTED {cipher}").trim_end().to_owned())
    }

    /// Bytes of the header lines that the body begins with (RFC 1421 §4.4), the blank line behind them included.
    fn headers(&self) -> usize {
        let mut rest = self.body;
        loop {
            let (line, after) = split_line(rest);
            let is_folded = rest.len() < self.body.len() && line.starts_with(b" ");
            if !is_folded && !line.contains(&b':') {
                let is_blank = line.trim_ascii().is_empty() && rest.len() < self.body.len();
                return self.body.len() - if is_blank { after.len() } else { rest.len() };
            }
            rest = after;
        }
    }

    /// The same block as the library reads it.
    fn text(&self, label: &str) -> Zeroizing<Vec<u8>> {
        let (label, body) = (label.as_bytes(), &self.body[self.headers()..]);
        let parts = [BEGIN, label, DASHES, b"\n", body, b"\n", END, label, DASHES, b"\n"];
        let mut text = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
        for part in parts {
            text.extend_from_slice(part);
        }
        text
    }

    fn fault(&self) -> PemFault {
        PemFault::Base64 { line: self.line }
    }
}

/// The blocks of a text, in their order.
struct Blocks<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    /// Lines that look like the begin of a block and are none.
    strays: Vec<String>,
}

impl<'a> Blocks<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, line: 1, strays: Vec::new() }
    }

    fn next(&mut self) -> Option<Result<Block<'a>, PemFault>> {
        loop {
            let (line, begin) = (self.rest_of_line()?, self.line);
            let line = line.strip_prefix(MARK).unwrap_or(line);
            if line.starts_with(BEGIN) {
                self.advance();
                let Some(label) = label(&line[BEGIN.len()..]) else {
                    return Some(Err(PemFault::IllegalStart { line: begin }));
                };
                return Some(self.body(label, begin));
            }
            if looks_like_begin(line) {
                let is_indented = line.trim_ascii_start().starts_with(BEGIN);
                self.stray(if is_indented { "an indented block" } else { "something like the begin of a block" });
            }
            self.advance();
        }
    }

    /// Reads on to the END line.
    fn body(&mut self, label: String, line: usize) -> Result<Block<'a>, PemFault> {
        let (begin, missing) = (self.at, PemFault::MissingEnd { line });
        while let Some(text) = self.rest_of_line() {
            if text.starts_with(BEGIN) {
                return Err(missing);
            }
            let Some(end) = find(text, END) else {
                self.advance();
                continue;
            };
            let marker = [END, label.as_bytes(), DASHES].concat();
            if !text[end..].starts_with(&marker) {
                return Err(missing);
            }
            let body = &self.text[begin..self.at + end];
            self.at += end + marker.len();
            // A BEGIN line may be glued to it.
            let glued = self.text[self.at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            self.at += glued;
            return Ok(Block { label, line, body });
        }
        Err(missing)
    }

    fn stray(&mut self, what: &str) {
        if self.strays.len() < MAX_REPORTED {
            self.strays.push(format!("{what} in line {}", self.line));
        }
    }

    /// What is left of the present line; `None` at the end.
    fn rest_of_line(&self) -> Option<&'a [u8]> {
        let rest = &self.text[self.at..];
        if rest.is_empty() { None } else { Some(split_line(rest).0) }
    }

    /// Goes on to the next line.
    fn advance(&mut self) {
        self.at = self.text.len() - split_line(&self.text[self.at..]).1.len();
        self.line += 1;
    }
}

/// The label of what follows `-----BEGIN `.
fn label(rest: &[u8]) -> Option<String> {
    let label = rest.trim_ascii_end().strip_suffix(DASHES)?;
    let is_label = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b' ' | b'#');
    let is_plain = label.len() <= MAX_LABEL && label.iter().all(is_label);
    // A key that was pasted there is not repeated.
    if is_plain { String::from_utf8(label.to_vec()).ok() } else { None }
}

/// Returns `true` for a line that has a BEGIN line in it but is none: indented, or with too few dashes.
fn looks_like_begin(line: &[u8]) -> bool {
    find(line, b"BEGIN ").is_some_and(|at| line[..at].ends_with(b"--") && find(&line[at..], b"--").is_some())
}

/// The lines of a text, without their ends.
fn lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (line, rest) = split_line(text);
        let is_end = text.is_empty();
        text = rest;
        if is_end { None } else { Some(line) }
    })
}

/// The first line of a text and what follows it. A line ends with CR, LF, or both.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else { return (text, &[]) };
    let rest = &text[end..];
    let rest = rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]);
    (&text[..end], rest)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn certificates(pem: &str) -> Result<Contents, PemFault> {
        read(pem.as_bytes(), Wanted::Certificates, 10)
    }

    #[test]
    fn a_block_with_another_label_is_reported() {
        let read = certificates(&format!("text\n-----BEGIN X-----\nAAAA\n-----END X-----\n{CERTIFICATE}")).unwrap();
        assert_eq!((read.certificates.len(), read.unread), (1, vec!["X".to_owned()]));
    }

    #[test]
    fn every_certificate_is_found_however_it_is_written() {
        let glued = CERTIFICATE.trim_end().repeat(2);
        let spaced = format!("{} {CERTIFICATE}", CERTIFICATE.trim_end());
        let texts = [
            CERTIFICATE.repeat(2),
            CERTIFICATE.replace('\n', "\r\n").repeat(2),
            CERTIFICATE.replace('\n', "\r").repeat(2),
            CERTIFICATE.replace('\n', "\n\n").repeat(2),
            CERTIFICATE.replace('\n', "  \n").repeat(2),
            format!("\u{feff}{CERTIFICATE}").repeat(2),
            CERTIFICATE.replace("CERT", "X509 CERT").repeat(2),
            CERTIFICATE.replace("AAAA\n", "AAAA").repeat(2),
            CERTIFICATE.replace("AAAA", "A-Header: b\n c\n\nAAAA").repeat(2),
            format!("Bag Attributes\n{CERTIFICATE}\0{CERTIFICATE}").replace('\0', "\n"),
            format!("{glued}\n"),
            spaced,
        ];
        for text in texts {
            let read = certificates(&text).unwrap();
            let found: Vec<_> = read.certificates.iter().map(|der| der.to_vec()).collect();
            assert_eq!((found, read.unread), (vec![vec![0; 3]; 2], vec![]), "{text:?}");
        }
    }

    #[test]
    fn what_looks_like_a_block_and_is_none_is_reported_with_its_line() {
        for (text, reported) in [
            (CERTIFICATE.replace("-----BEGIN", "  -----BEGIN"), "an indented block in line 4"),
            (CERTIFICATE.replace("-----BEGIN", "----BEGIN"), "something like the begin of a block in line 4"),
            (CERTIFICATE.replace("-----BEGIN", "tls.crt: -----BEGIN"), "something like the begin of a block in line 4"),
        ] {
            for end in ["\n", "\r\n"] {
                let text = format!("{CERTIFICATE}{text}").replace('\n', end);
                let read = certificates(&text).unwrap();
                assert_eq!((read.certificates.len(), read.unread), (1, vec![reported.to_owned()]), "{text:?}");
            }
        }
    }

    #[test]
    fn no_more_certificates_are_read_than_the_limit() {
        let read = read(CERTIFICATE.repeat(5).as_bytes(), Wanted::Certificates, 3).unwrap();
        assert_eq!(read.certificates.len(), 3);
    }

    #[test]
    fn a_trusted_certificate_is_read_without_its_trust_settings() {
        // A sequence of one byte, and another one behind it.
        let text = "-----BEGIN TRUSTED CERTIFICATE-----\nMAEBMAEC\n-----END TRUSTED CERTIFICATE-----\n";
        assert_eq!(certificates(text).unwrap().certificates[0].as_ref(), [0x30, 1, 1]);
    }

    #[test]
    fn a_fault_quotes_nothing_and_tells_the_line() {
        for (text, fault) in [
            ("\n-----BEGIN PRIVATE KEY-----c2VjcmV0\n", PemFault::IllegalStart { line: 2 }),
            ("-----BEGIN c2VjcmV0-----\n", PemFault::IllegalStart { line: 1 }),
            ("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n", PemFault::MissingEnd { line: 1 }),
            ("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END KEY-----", PemFault::MissingEnd { line: 1 }),
            ("-----BEGIN PRIVATE KEY-----\nc2!\n-----END PRIVATE KEY-----", PemFault::Base64 { line: 1 }),
        ] {
            let found = read(text.as_bytes(), Wanted::KeyAndCertificates, 10).unwrap_err();
            assert_eq!(found, fault);
            assert!(!found.to_string().contains("c2"), "{found}");
        }
    }

    #[test]
    fn a_block_ends_before_the_next_one_begins() {
        let cut = CERTIFICATE.replace("-----END CERTIFICATE-----\n", "");
        assert_eq!(certificates(&format!("{cut}{CERTIFICATE}")).unwrap_err(), PemFault::MissingEnd { line: 1 });
    }

    #[test]
    fn an_encrypted_key_is_known_as_one() {
        let of = |text: &str| read(text.as_bytes(), Wanted::KeyAndCertificates, 10).unwrap().encrypted.unwrap();
        let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(of(pkcs8), "PKCS#8");
        let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00FF\n\nAAAA\n\
                      -----END RSA PRIVATE KEY-----\n";
        assert_eq!(of(legacy), "Proc-Type: 4,ENCRYPTED AES-256-CBC");
    }
}
