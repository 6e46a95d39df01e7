//! The fields of a head, or of trailers: one buffer of text with an index.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::Name;

/// Fields whose places are kept without an allocation.
const INLINE: usize = 20;

/// Room for what the gateway adds to a head: `X-Forwarded-*`, `X-Request-Id` and the fields of a route.
const SPARE: usize = 256;

/// Header fields or trailers, in the order in which they came, as they were written.
///
/// Names are RFC 9110 tokens and values hold no CR, LF or NUL: whoever appends has checked it. A name keeps its case for
/// HTTP/1.1; comparisons ignore it. Removed fields leave their text behind until the block is dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    text: Vec<u8>,
    index: SmallVec<[Place; INLINE]>,
}

/// Where a field stands in the text. Offsets fit `u32`: a head is smaller than [`HEADER_LIMIT`](crate::connection::HEADER_LIMIT)
/// and what a route adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: u32,
    name_length: u16,
    known: Name,
    value_length: u32,
}

/// The fields of a block at one moment; see [`Fields::mark`].
#[derive(Clone, Debug)]
pub struct Mark {
    text: usize,
    index: SmallVec<[Place; INLINE]>,
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, if it is known.
    pub known: Name,
    /// The name as it was written.
    pub name: &'a [u8],
    /// The value, without white space around it.
    pub value: &'a [u8],
}

impl Fields {
    /// Creates an empty block with room for `bytes` of names and values, and for what is added later.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes + SPARE), index: SmallVec::new() }
    }

    /// Appends a field.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        self.push(Name::of(name), name, value);
    }

    /// Appends a field of a known name, in lower case.
    pub fn append_known(&mut self, name: Name, value: &[u8]) {
        self.push(name, name.as_str().as_bytes(), value);
    }

    /// Replaces every field of a known name by one with this value.
    pub fn set(&mut self, name: Name, value: &[u8]) {
        self.remove(name);
        self.append_known(name, value);
    }

    /// Replaces every field of this name by one with this value.
    pub fn set_named(&mut self, name: &str, value: &[u8]) {
        self.remove_named(name);
        self.append(name.as_bytes(), value);
    }

    /// Appends a field whose name has been looked up.
    pub(crate) fn push(&mut self, known: Name, name: &[u8], value: &[u8]) {
        // Longer ones are refused where heads are read; the lengths are kept within what the index holds all the same.
        let (Ok(at), Ok(name_length), Ok(value_length)) =
            (u32::try_from(self.text.len()), u16::try_from(name.len()), u32::try_from(value.len()))
        else {
            return;
        };
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.index.push(Place { at, name_length, known, value_length });
    }

    /// Removes every field of a known name. Returns `true` if there was one.
    pub fn remove(&mut self, name: Name) -> bool {
        let before = self.index.len();
        self.index.retain(|place| place.known != name);
        self.index.len() < before
    }

    /// Removes every field of this name.
    pub fn remove_named(&mut self, name: &str) {
        self.retain(|field| !field.is_named(name));
    }

    /// Keeps the fields for which `keep` returns `true`.
    pub fn retain(&mut self, keep: impl Fn(Field<'_>) -> bool) {
        let text = &self.text;
        self.index.retain(|place| keep(place.field(text)));
    }

    /// Notes the fields as they are, to come back to.
    pub fn mark(&self) -> Mark {
        Mark { text: self.text.len(), index: self.index.clone() }
    }

    /// Comes back to the fields as they were at a mark of this block. Text is only ever appended, so it is still there.
    pub fn restore(&mut self, mark: &Mark) {
        self.text.truncate(mark.text);
        self.index.clone_from(&mark.index);
    }

    /// Returns the value of the first field of a known name.
    pub fn get(&self, name: Name) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// Returns the values of all fields of a known name.
    pub fn get_all(&self, name: Name) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.index.iter().filter(move |place| place.known == name).map(|place| place.field(&self.text).value)
    }

    /// Returns the values of all fields of this name.
    pub fn get_all_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |field| field.is_named(name)).map(|field| field.value)
    }

    /// Returns `true` if there is a field of a known name.
    pub fn contains(&self, name: Name) -> bool {
        self.index.iter().any(|place| place.known == name)
    }

    /// Returns all fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.index.iter().map(|place| place.field(&self.text))
    }

    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns `true` if there is no field.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Returns the bytes of memory that the block holds.
    pub fn memory(&self) -> usize {
        let spilled = if self.index.spilled() { self.index.capacity() * size_of::<Place>() } else { 0 };
        self.text.capacity() + spilled
    }

    /// Returns the size that RFC 9113 §6.5.2 gives the block: 32 bytes a field besides name and value.
    pub fn list_size(&self) -> usize {
        self.index.iter().map(|place| usize::from(place.name_length) + place.value_length as usize + 32).sum()
    }

    /// Copies a header map of the `http` crate.
    pub fn from_map(map: &HeaderMap) -> Self {
        let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let mut fields = Self::with_capacity(bytes);
        for (name, value) in map {
            fields.append(name.as_str().as_bytes(), value.as_bytes());
        }
        fields
    }

    /// Copies the fields into a header map of the `http` crate. Each value has memory of its own: a table of the HPACK
    /// encoder that keeps it (RFC 7541 §2.3.2) keeps nothing else.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len() + 4);
        for field in self.iter() {
            let name = HeaderName::from_bytes(field.name);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
                map.append(name, value);
            }
        }
        map
    }
}

impl Place {
    fn field(self, text: &[u8]) -> Field<'_> {
        let at = self.at as usize;
        let (name, value) = text[at..at + usize::from(self.name_length) + self.value_length as usize]
            .split_at(usize::from(self.name_length));
        Field { known: self.known, name, value }
    }
}

impl Field<'_> {
    /// Returns `true` if the name is this one, in whatever case.
    pub fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Shows names alone: values may be secrets.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|field| String::from_utf8_lossy(field.name).into_owned())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in list {
            fields.append(name.as_bytes(), value.as_bytes());
        }
        fields
    }

    fn text(fields: &Fields) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.iter().map(|field| (text(field.name), text(field.value))).collect()
    }

    #[test]
    fn fields_keep_their_order_and_case_and_are_found_in_any_case() {
        let fields = fields(&[("Host", "a.test"), ("X-One", "1"), ("x-one", "2")]);
        assert_eq!(fields.get(Name::Host), Some(&b"a.test"[..]));
        assert_eq!(fields.get_all_named("X-ONE").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(text(&fields)[1], ("X-One".to_owned(), "1".to_owned()));
    }

    #[test]
    fn a_field_that_is_set_replaces_all_of_its_name() {
        let mut fields = fields(&[("X-Request-Id", "1"), ("a", "b"), ("x-request-id", "2"), ("A", "c")]);
        fields.set(Name::RequestId, b"3");
        fields.set_named("a", b"d");
        let expected = [("x-request-id", "3"), ("a", "d")];
        assert_eq!(text(&fields), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_header_map_comes_back_as_it_was() {
        let before = fields(&[("set-cookie", "a"), ("b", "2"), ("set-cookie", "c")]);
        let map = before.to_map();
        assert_eq!(map.get_all("set-cookie").iter().count(), 2);
        assert_eq!(Fields::from_map(&map).get_all_named("set-cookie").collect::<Vec<_>>(), [b"a", b"c"]);
    }

    #[test]
    fn a_block_comes_back_to_its_mark() {
        let mut fields = fields(&[("a", "1"), ("b", "2")]);
        let (before, mark) = (text(&fields), fields.mark());
        fields.set_named("a", b"3");
        fields.append(b"c", b"4");
        fields.restore(&mark);
        assert_eq!(text(&fields), before);
    }

    #[test]
    fn values_are_not_shown() {
        let shown = format!("{:?}", fields(&[("authorization", "Bearer hidden")]));
        assert!(shown.contains("authorization") && !shown.contains("hidden"), "{shown}");
    }
}
