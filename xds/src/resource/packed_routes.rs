//! Routes, packed: one allocation, which the translator and the tables of a gateway share.
//!
//! Equal routes pack to equal bytes.

use std::sync::Arc;

use super::{ClusterName, Forward, HeaderMatch, PathMatch, Route, RouteSet, SetHeader, Split};
use crate::packed::Reader;

/// A [`RouteSet`] in one allocation. A clone is a reference count.
///
/// About a quarter of the readable form; most services are idle, and nobody reads their routes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PackedRouteSet(Arc<[u8]>);

/// Header names that Knative sets on every route; they take one byte.
const COMMON: [&str; 3] = ["knative-serving-namespace", "knative-serving-revision", "knative-serving-tag"];

impl PackedRouteSet {
    /// Packs routes.
    pub fn pack(set: &RouteSet) -> Self {
        let mut packer = Packer(Vec::with_capacity(128));
        packer.0.push(u8::from(set.probe_hash.is_some()));
        packer.0.extend_from_slice(set.probe_hash.as_ref().map_or(&[], |hash| hash.as_slice()));
        packer.all(&set.routes, Packer::route);
        Self(packer.0.into())
    }

    /// The readable form, with texts of its own.
    pub fn unpack(&self) -> RouteSet {
        Unpacker(Reader(&self.0)).set().unwrap_or_default()
    }

    /// Tells one allocation from another: clones have the same.
    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

impl Default for PackedRouteSet {
    fn default() -> Self {
        Self::pack(&RouteSet::default())
    }
}

struct Packer(Vec<u8>);

impl Packer {
    fn all<T>(&mut self, items: &[T], one: impl Fn(&mut Self, &T)) {
        self.number(items.len() as u64);
        for item in items {
            one(self, item);
        }
    }

    fn route(&mut self, route: &Route) {
        let (kind, path) = match &route.path {
            PathMatch::Exact(text) => (0, text),
            PathMatch::StringPrefix(text) => (1, text),
            PathMatch::ElementPrefix(text) => (2, text),
        };
        self.0.push(kind);
        self.text(path);
        self.all(&route.headers, |packer, header| {
            packer.text(&header.name);
            packer.optional(header.exact.as_deref());
        });
        self.all(&route.action.splits, |packer, split| {
            packer.text(split.cluster.as_str());
            packer.number(split.weight.into());
            packer.all(&split.set_headers, Self::set_header);
        });
        self.all(&route.action.set_headers, Self::set_header);
        self.optional(route.action.rewrite_host.as_deref());
        self.0.push(u8::from(route.action.force_http1));
    }

    fn set_header(&mut self, header: &SetHeader) {
        self.text(&header.name);
        self.text(&header.value);
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// A place in [`COMMON`], or a length and so many bytes.
    fn text(&mut self, text: &str) {
        if let Some(place) = COMMON.iter().position(|common| *common == text) {
            self.number(place as u64);
        } else {
            self.number((COMMON.len() + text.len()) as u64);
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    /// LEB128.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push((number & 0x7f) as u8);
    }
}

struct Unpacker<'a>(Reader<'a>);

impl Unpacker<'_> {
    fn set(mut self) -> Option<RouteSet> {
        let probe_hash = if self.flag()? { Some(self.0.array()?) } else { None };
        Some(RouteSet { probe_hash, routes: self.all(Self::route)? })
    }

    fn all<T>(&mut self, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.number()?).ok()?;
        // Nothing packs to less than a byte.
        let mut all = Vec::with_capacity(count.min(self.0.0.len()));
        for _ in 0..count {
            all.push(one(self)?);
        }
        Some(all)
    }

    fn route(&mut self) -> Option<Route> {
        let kind = self.0.byte()?;
        let path = self.text()?;
        let path = match kind {
            0 => PathMatch::Exact(path),
            1 => PathMatch::StringPrefix(path),
            _ => PathMatch::ElementPrefix(path),
        };
        let headers = self.all(Self::header_match)?;
        let splits = self.all(|this| {
            Some(Split {
                cluster: ClusterName::new(this.text()?),
                weight: u32::try_from(this.number()?).ok()?,
                set_headers: this.all(Self::set_header)?,
            })
        })?;
        let set_headers = self.all(Self::set_header)?;
        let rewrite_host = if self.flag()? { Some(self.text()?) } else { None };
        let action = Forward { splits, set_headers, rewrite_host, force_http1: self.flag()? };
        Some(Route { path, headers, action })
    }

    fn header_match(&mut self) -> Option<HeaderMatch> {
        let name = self.text()?;
        let exact = if self.flag()? { Some(self.text()?) } else { None };
        Some(HeaderMatch { name, exact })
    }

    fn set_header(&mut self) -> Option<SetHeader> {
        Some(SetHeader { name: self.text()?, value: self.text()? })
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let number = usize::try_from(self.number()?).ok()?;
        if let Some(common) = COMMON.get(number) {
            return Some(Arc::from(*common));
        }
        let text = self.0.take(number - COMMON.len())?;
        Some(Arc::from(std::str::from_utf8(text).ok()?))
    }

    fn flag(&mut self) -> Option<bool> {
        self.0.byte().map(|byte| byte == 1)
    }

    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let byte = self.0.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_text(random: &mut fastrand::Rng) -> Arc<str> {
        if random.u8(..4) == 0 {
            return random.choice(COMMON).unwrap().into();
        }
        let longest = if random.u8(..10) == 0 { 700 } else { 12 };
        (0..random.usize(..longest)).map(|_| random.char(..)).collect::<String>().into()
    }

    fn random_headers(random: &mut fastrand::Rng) -> Vec<SetHeader> {
        let header = |random: &mut fastrand::Rng| SetHeader { name: random_text(random), value: random_text(random) };
        (0..random.usize(..3)).map(|_| header(random)).collect()
    }

    fn random_route(random: &mut fastrand::Rng) -> Route {
        let path = random_text(random);
        let path = match random.u8(..3) {
            0 => PathMatch::Exact(path),
            1 => PathMatch::StringPrefix(path),
            _ => PathMatch::ElementPrefix(path),
        };
        let header = |random: &mut fastrand::Rng| HeaderMatch {
            name: random_text(random),
            exact: random.bool().then(|| random_text(random)),
        };
        let split = |random: &mut fastrand::Rng| Split {
            cluster: ClusterName::new(random_text(random)),
            weight: random.u32(..) >> random.u8(..32),
            set_headers: random_headers(random),
        };
        Route {
            path,
            headers: (0..random.usize(..3)).map(|_| header(random)).collect(),
            action: Forward {
                splits: (0..random.usize(..4)).map(|_| split(random)).collect(),
                set_headers: random_headers(random),
                rewrite_host: random.bool().then(|| random_text(random)),
                force_http1: random.bool(),
            },
        }
    }

    #[test]
    fn routes_come_out_as_they_went_in() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..2_000 {
            let set = RouteSet {
                routes: (0..random.usize(..4)).map(|_| random_route(&mut random)).collect(),
                probe_hash: random.bool().then(|| std::array::from_fn(|_| random.u8(..))),
            };
            let packed = PackedRouteSet::pack(&set);
            assert_eq!(packed.unpack(), set);
            assert_eq!(PackedRouteSet::pack(&packed.unpack()), packed);
        }
    }
}
