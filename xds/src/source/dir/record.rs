//! What is remembered of a file: its name and the objects in it, packed into one text of bytes.
//!
//! A gateway with 100,000 services has 200,000 of these, so an object costs about thirteen bytes besides its name:
//! lengths are variable-length integers (LEB128); of a name only what differs from the name before is written, which
//! for the first is the file's; and a namespace, as a number, or a position only where it does not follow from the object
//! before.

use std::sync::Arc;

use crate::object::{ObjectKey, ObjectKind, ObjectRef};
use crate::packed::{Reader, put_number};
use crate::store::{NamespaceId, Namespaces};

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

impl Place {
    /// Where a document of this length stands if it comes right after this one.
    fn next(self, length: u32) -> Self {
        Self {
            document: self.document.saturating_add(1),
            item: 0,
            start: self.start.saturating_add(self.length),
            length,
        }
    }
}

/// The record of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'r> {
    bytes: &'r [u8],
    /// What its numbers stand for.
    namespaces: &'r Namespaces,
}

impl<'r> Record<'r> {
    /// A record of these bytes, as they were packed.
    pub(super) fn new(bytes: &'r [u8], namespaces: &'r Namespaces) -> Self {
        Self { bytes, namespaces }
    }

    /// Packs the name of a file and its objects, whose namespaces they enter.
    pub(super) fn pack<'a>(
        file: &str,
        entries: impl IntoIterator<Item = &'a Entry>,
        namespaces: &mut Namespaces,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_text(&mut out, file);
        let (mut namespace, mut name, mut place) = (None, file, Place::default());
        for Entry { key: ObjectKey { kind, object }, facts } in entries {
            let same = namespace == Some(&*object.namespace);
            let follows = facts.place == place.next(facts.place.length);
            let secret_type = facts.secret_type.as_deref();
            out.push(type_code(secret_type) << 5 | code(*kind) << 2 | u8::from(same) << 1 | u8::from(follows));
            if !same {
                put_number(&mut out, namespaces.enter(&object.namespace).into());
            }
            put_name(&mut out, name, &object.name);
            (namespace, name, place) = (Some(&*object.namespace), &object.name, facts.place);
            if !follows {
                for number in [place.document, place.item, place.start] {
                    put_number(&mut out, number.into());
                }
            }
            put_number(&mut out, place.length.into());
            out.extend(facts.fingerprint.to_le_bytes());
            if *kind == ObjectKind::Secret {
                out.extend(facts.version.to_le_bytes());
            }
            if let Some(other) = secret_type.filter(|known| *known != TLS_TYPE) {
                put_text(&mut out, other);
            }
        }
        out
    }

    /// The namespaces that its objects have entered when it was packed, each as often.
    pub(super) fn entered(self) -> Vec<NamespaceId> {
        let (mut entries, mut entered) = (self.entries(), Vec::new());
        while entries.step().is_some() {
            entered.extend(entries.entered);
        }
        entered
    }

    /// The file's name.
    pub(super) fn file(self) -> &'r str {
        file_of(self.bytes)
    }

    /// The objects in it.
    pub(super) fn entries(self) -> Entries<'r> {
        let mut reader = Reader(self.bytes);
        let name = text(&mut reader).unwrap_or_default().to_owned();
        let (namespaces, entered) = (self.namespaces, None);
        Entries { reader, namespaces, entered, namespace: None, name, place: Place::default() }
    }

    /// What is remembered of one object in it.
    pub(super) fn find(self, kind: ObjectKind, object: &ObjectRef) -> Option<Facts> {
        let mut entries = self.entries();
        loop {
            let (found, facts) = entries.step()?;
            if found == kind && *entries.name == *object.name && entries.namespace == Some(&object.namespace) {
                return Some(facts);
            }
        }
    }
}

/// The name of the file of a record.
pub(super) fn file_of(record: &[u8]) -> &str {
    text(&mut Reader(record)).unwrap_or_default()
}

/// The objects of a record.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    reader: Reader<'a>,
    namespaces: &'a Namespaces,
    /// The number of the namespace, if it is not that of the object before.
    entered: Option<NamespaceId>,
    /// Of the object that was read last, as all that follows.
    namespace: Option<&'a Arc<str>>,
    name: String,
    place: Place,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (kind, facts) = self.step()?;
        let object = ObjectRef { namespace: Arc::clone(self.namespace?), name: self.name.as_str().into() };
        Some(Entry { key: ObjectKey { kind, object }, facts })
    }
}

impl Entries<'_> {
    fn step(&mut self) -> Option<(ObjectKind, Facts)> {
        let head = self.reader.byte()?;
        let kind = kind_of(head >> 2 & 7)?;
        self.entered = if head & 2 == 0 { Some(number(&mut self.reader)?) } else { None };
        if let Some(namespace) = self.entered {
            self.namespace = Some(self.namespaces.text(namespace)?);
        }
        next_name(&mut self.reader, &mut self.name)?;
        self.place = if head & 1 == 1 {
            self.place.next(number(&mut self.reader)?)
        } else {
            let reader = &mut self.reader;
            let (document, item, start) = (number(reader)?, number(reader)?, number(reader)?);
            Place { document, item, start, length: number(reader)? }
        };
        let mut word = || self.reader.array().map(u64::from_le_bytes);
        let fingerprint = word()?;
        let version = if kind == ObjectKind::Secret { word()? } else { 0 };
        let secret_type = match head >> 5 {
            0 => None,
            1 => Some(TLS_TYPE.into()),
            _ => Some(text(&mut self.reader)?.into()),
        };
        Some((kind, Facts { fingerprint, version, secret_type, place: self.place }))
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

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend(text.as_bytes());
}

/// Writes how much a name has in common with the one before, and the rest.
fn put_name(out: &mut Vec<u8>, before: &str, name: &str) {
    let same = before.chars().zip(name.chars()).take_while(|(a, b)| a == b);
    let common = same.map(|(a, _)| a.len_utf8()).sum::<usize>();
    put_number(out, common as u64);
    put_text(out, name.get(common..).unwrap_or_default());
}

/// 0: none; 1: the usual one; 2: another, which follows as text.
fn type_code(secret_type: Option<&str>) -> u8 {
    match secret_type {
        None => 0,
        Some(TLS_TYPE) => 1,
        Some(_) => 2,
    }
}

fn number(reader: &mut Reader<'_>) -> Option<u32> {
    u32::try_from(reader.number()?).ok()
}

fn text<'r>(reader: &mut Reader<'r>) -> Option<&'r str> {
    let length = usize::try_from(reader.number()?).ok()?;
    reader.text_of(length)
}

/// Turns the name before into the next one.
fn next_name(reader: &mut Reader<'_>, name: &mut String) -> Option<()> {
    let common = usize::try_from(reader.number()?).ok()?;
    name.is_char_boundary(common).then(|| name.truncate(common))?;
    name.push_str(text(reader)?);
    Some(())
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
        let mut namespaces = Namespaces::default();
        let packed = Record::pack("file.yaml", &entries, &mut namespaces);
        let record = Record::new(&packed, &namespaces);
        assert_eq!(record.file(), "file.yaml");
        assert_eq!(record.entries().collect::<Vec<_>>(), entries);
        let found = record.find(ObjectKind::Secret, &ObjectRef::new("b", "two")).unwrap();
        assert_eq!(found.place.document, 300_000);
        assert!(record.find(ObjectKind::Service, &ObjectRef::new("b", "two")).is_none());
        let entered = record.entered();
        assert_eq!(entered.len(), 3, "a, b, and none");
        for namespace in entered {
            namespaces.leave(namespace);
        }
        assert_eq!(namespaces.len(), 0);
    }

    #[test]
    fn names_that_begin_like_the_one_before_are_unpacked_whole() {
        let names = ["grün-a", "grü", "grün-a-00001", "", "g", "gr\u{fb}n", "grün-a"];
        let entries: Vec<Entry> = (1..).zip(names).map(|(n, name)| entry(ObjectKind::Service, "é", name, n)).collect();
        let mut namespaces = Namespaces::default();
        let packed = Record::pack("grün-a.yaml", &entries, &mut namespaces);
        let record = Record::new(&packed, &namespaces);
        assert_eq!(record.entries().collect::<Vec<_>>(), entries);
    }

    #[test]
    fn documents_that_follow_each_other_keep_their_places() {
        let places = [(1, 0, 0, 700), (2, 0, 700, 300), (4, 0, 1100, 9), (5, 1, 1109, 80), (5, 2, 1109, 80)];
        let entries = places.map(|(document, item, start, length)| {
            let mut entry = entry(ObjectKind::Service, "a", "b", document + item);
            entry.facts.place = Place { document, item, start, length };
            entry
        });
        let mut namespaces = Namespaces::default();
        let packed = Record::pack("file.yaml", &entries, &mut namespaces);
        let record = Record::new(&packed, &namespaces);
        assert!(record.entries().eq(entries));
    }

    #[test]
    fn an_object_costs_few_bytes_besides_its_name() {
        let mut place = Place::default();
        let entries = [(ObjectKind::KIngress, "shop"), (ObjectKind::Service, "shop-00001")].map(|(kind, name)| {
            place = place.next(900);
            let mut entry = entry(kind, "default", name, 1);
            entry.facts.place = place;
            entry
        });
        let (names, namespace) = ("shop.yaml".len() + "-00001".len() + 1, 1);
        assert_eq!(Record::pack("shop.yaml", &entries, &mut Namespaces::default()).len(), names + namespace + 2 * 13);
    }
}
