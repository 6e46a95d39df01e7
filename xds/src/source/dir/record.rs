//! What is remembered of a file: its name and the objects in it, packed into one allocation.
//!
//! A gateway with 100,000 services has 200,000 of these, so an object costs about thirty bytes besides its name:
//! lengths and positions are variable-length integers (LEB128), and a namespace is written only where it differs from
//! that of the object before.

use std::sync::Arc;

use crate::object::{ObjectKey, ObjectKind, ObjectRef};

/// The type of Secret that is written as a number.
const TLS_TYPE: &str = "kubernetes.io/tls";

/// An object in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: ObjectKey,
    pub(super) facts: Facts,
}

/// What is remembered of an object besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Of the text that was said last; 0 while nothing has been said of this one.
    pub(super) fingerprint: u64,
    /// Of a Secret's type and data.
    pub(super) version: u64,
    /// Of a Secret.
    pub(super) secret_type: Option<Arc<str>>,
    pub(super) place: Place,
}

/// Where in its file an object stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The document, counted from 1.
    pub(super) document: u32,
    /// The item of a list, counted from 1; 0 if the document is the object.
    pub(super) item: u32,
    /// First byte of the document.
    pub(super) start: u32,
    /// Length of the document in bytes.
    pub(super) length: u32,
}

/// An entry without allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryView<'a> {
    pub(super) kind: ObjectKind,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) fingerprint: u64,
    pub(super) version: u64,
    pub(super) secret_type: Option<&'a str>,
    pub(super) place: Place,
}

impl EntryView<'_> {
    /// True if this is the object.
    pub(super) fn is(&self, kind: ObjectKind, object: &ObjectRef) -> bool {
        self.kind == kind && *self.name == *object.name && *self.namespace == *object.namespace
    }

    /// The entry on its own.
    pub(super) fn to_entry(self) -> Entry {
        Entry {
            key: ObjectKey { kind: self.kind, object: ObjectRef::new(self.namespace, self.name) },
            facts: Facts {
                fingerprint: self.fingerprint,
                version: self.version,
                secret_type: self.secret_type.map(Arc::from),
                place: self.place,
            },
        }
    }
}

/// The record of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record(Box<[u8]>);

impl Record {
    /// Packs the name of a file and its objects.
    pub(super) fn new<'a>(file: &str, entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut out = Vec::with_capacity(128);
        put_text(&mut out, file);
        let mut namespace: &str = "";
        for entry in entries {
            let object = &entry.key.object;
            let same = *object.namespace == *namespace;
            out.push(code(entry.key.kind) << 1 | u8::from(same));
            if !same {
                put_text(&mut out, &object.namespace);
                namespace = &object.namespace;
            }
            put_text(&mut out, &object.name);
            out.extend(entry.facts.fingerprint.to_le_bytes());
            let place = entry.facts.place;
            for number in [place.document, place.item, place.start, place.length] {
                put_number(&mut out, number);
            }
            if entry.key.kind == ObjectKind::Secret {
                out.extend(entry.facts.version.to_le_bytes());
                put_type(&mut out, entry.facts.secret_type.as_deref());
            }
        }
        Self(out.into_boxed_slice())
    }

    /// The file's name.
    pub(super) fn file(&self) -> &str {
        Reader(&self.0).text().unwrap_or_default()
    }

    /// The objects in it.
    pub(super) fn entries(&self) -> Entries<'_> {
        let mut reader = Reader(&self.0);
        reader.text();
        Entries { reader, namespace: "" }
    }

    /// One object in it.
    pub(super) fn find(&self, kind: ObjectKind, object: &ObjectRef) -> Option<EntryView<'_>> {
        self.entries().find(|entry| entry.is(kind, object))
    }
}

/// The objects of a record.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    reader: Reader<'a>,
    namespace: &'a str,
}

impl<'a> Iterator for Entries<'a> {
    type Item = EntryView<'a>;

    fn next(&mut self) -> Option<EntryView<'a>> {
        let head = self.reader.byte()?;
        let kind = kind_of(head >> 1)?;
        if head & 1 == 0 {
            self.namespace = self.reader.text()?;
        }
        let name = self.reader.text()?;
        let fingerprint = self.reader.word()?;
        let place = Place {
            document: self.reader.number()?,
            item: self.reader.number()?,
            start: self.reader.number()?,
            length: self.reader.number()?,
        };
        let (version, secret_type) = match kind {
            ObjectKind::Secret => (self.reader.word()?, self.reader.secret_type()),
            _ => (0, None),
        };
        Some(EntryView { kind, namespace: self.namespace, name, fingerprint, version, secret_type, place })
    }
}

/// The kinds in the order of their codes.
const CODES: [ObjectKind; 7] = [
    ObjectKind::ConfigMap,
    ObjectKind::EndpointSlice,
    ObjectKind::Ingress,
    ObjectKind::IngressClass,
    ObjectKind::KIngress,
    ObjectKind::Secret,
    ObjectKind::Service,
];

fn code(kind: ObjectKind) -> u8 {
    (0..).zip(CODES).find(|(_, known)| *known == kind).map_or(0, |(code, _)| code)
}

fn kind_of(code: u8) -> Option<ObjectKind> {
    CODES.get(usize::from(code)).copied()
}

fn put_number(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, u32::try_from(text.len()).unwrap_or(0));
    out.extend(text.as_bytes());
}

/// 0: none; 1: the usual one; 2: another, as text.
fn put_type(out: &mut Vec<u8>, secret_type: Option<&str>) {
    match secret_type {
        None => out.push(0),
        Some(TLS_TYPE) => out.push(1),
        Some(other) => {
            out.push(2);
            put_text(out, other);
        }
    }
}

/// Takes a record apart. `None` at its end.
#[derive(Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        let (mut number, mut shift) = (0_u32, 0);
        loop {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
    }

    fn word(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn secret_type(&mut self) -> Option<&'a str> {
        match self.byte()? {
            0 => None,
            1 => Some(TLS_TYPE),
            _ => self.text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: ObjectKind, namespace: &str, name: &str, n: u32) -> Entry {
        let secret = kind == ObjectKind::Secret;
        let facts = Facts {
            fingerprint: u64::from(n) << 40 | 7,
            version: if secret { u64::MAX - u64::from(n) } else { 0 },
            secret_type: secret.then(|| if n.is_multiple_of(2) { TLS_TYPE.into() } else { "Opaque".into() }),
            place: Place { document: n, item: n % 3, start: n * 1000, length: u32::MAX - n },
        };
        Entry { key: ObjectKey { kind, object: ObjectRef::new(namespace, name) }, facts }
    }

    #[test]
    fn what_is_packed_is_unpacked_as_it_was() {
        let mut entries: Vec<Entry> = (0..).zip(CODES).map(|(n, kind)| entry(kind, "a", "one", n)).collect();
        entries.push(entry(ObjectKind::Secret, "b", "two", 300_000));
        entries.push(entry(ObjectKind::IngressClass, "", "three", 1));
        let record = Record::new("file.yaml", &entries);
        assert_eq!(record.file(), "file.yaml");
        assert_eq!(record.entries().map(EntryView::to_entry).collect::<Vec<_>>(), entries);
        let found = record.find(ObjectKind::Secret, &ObjectRef::new("b", "two")).unwrap();
        assert_eq!(found.place.document, 300_000);
        assert!(record.find(ObjectKind::Service, &ObjectRef::new("b", "two")).is_none());
    }

    #[test]
    fn an_object_costs_few_bytes_besides_its_name() {
        let entries = [
            entry(ObjectKind::KIngress, "default", "shop-00001", 1),
            entry(ObjectKind::Service, "default", "shop-00001", 2),
        ];
        assert!(Record::new("shop.yaml", &entries).0.len() < 10 + 8 + 2 * (10 + 30));
    }
}
