//! The hash by which Knative's prober recognises a KIngress (knative.dev/networking `pkg/ingress/ingress.go`).
//!
//! It is taken over JSON as Go's `encoding/json` writes it, so that is written here to the byte.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};
use sha2::{Digest, Sha256};

use crate::object::{KIngressSpec, ObjectRef};

/// `SHA-256(json(spec) || namespace || name)`, of a spec whose defaults have been filled in.
pub(super) fn probe_hash(spec: &KIngressSpec, object: &ObjectRef) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut json = serde_json::Serializer::with_formatter(HashWriter(&mut hash), GoFormatter);
    spec.serialize(&mut json).expect("text keys and a writer that cannot fail");
    hash.update(object.namespace.as_bytes());
    hash.update(object.name.as_bytes());
    hash.finalize().into()
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compact JSON with Go's escapes (`encoding/json`, `appendString` with `escapeHTML`).
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = special.chars();
            if let Some(character) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::Backspace => writer.write_all(b"\\b"),
            CharEscape::FormFeed => writer.write_all(b"\\f"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }
}

#[cfg(test)]
mod tests;
