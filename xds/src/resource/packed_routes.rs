//! Routes, packed: one allocation, which the translator and the tables of a gateway share.
//!
//! Equal routes pack to equal bytes.

use std::sync::Arc;

use super::{ClusterName, Forward, HeaderMatch, PathMatch, Route, RouteSet, SetHeader, Split, cluster_parts};
use crate::packed::{Reader, put_number};

/// A [`RouteSet`] in one allocation. A clone is a reference count.
///
/// About a quarter of the readable form; most services are idle, and nobody reads their routes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PackedRouteSet(Arc<[u8]>);

/// Texts that take one byte: header names that Knative sets on every route, and parts of the cluster named last, which
/// the values of these headers are.
const COMMON: [&str; 3] = ["knative-serving-namespace", "knative-serving-revision", "knative-serving-tag"];
const NAMESPACE: usize = COMMON.len();
const SERVICE: usize = NAMESPACE + 1;
const CLUSTER: usize = SERVICE + 1;
/// Other texts are so much more than their length, and so many bytes.
const LENGTHS: usize = CLUSTER + 1;

impl PackedRouteSet {
    /// Packs routes.
    pub fn pack(set: &RouteSet) -> Self {
        let mut packer = Packer { bytes: Vec::with_capacity(128), cluster: "" };
        packer.bytes.push(u8::from(set.probe_hash.is_some()));
        packer.bytes.extend_from_slice(set.probe_hash.as_ref().map_or(&[], |hash| hash.as_slice()));
        packer.all(&set.routes, Packer::route);
        Self(packer.bytes.into())
    }

    /// The readable form, with texts of its own.
    pub fn unpack(&self) -> RouteSet {
        Unpacker { bytes: Reader(&self.0), cluster: ClusterName::new("".into()) }.set().unwrap_or_default()
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

struct Packer<'a> {
    bytes: Vec<u8>,
    /// Named last.
    cluster: &'a str,
}

impl<'a> Packer<'a> {
    fn all<T>(&mut self, items: &'a [T], one: impl Fn(&mut Self, &'a T)) {
        put_number(&mut self.bytes, items.len() as u64);
        for item in items {
            one(self, item);
        }
    }

    fn route(&mut self, route: &'a Route) {
        let (kind, path) = match &route.path {
            PathMatch::Exact(text) => (0, text),
            PathMatch::StringPrefix(text) => (1, text),
            PathMatch::ElementPrefix(text) => (2, text),
        };
        self.bytes.push(kind);
        self.text(path);
        self.all(&route.headers, |packer, header| {
            packer.text(&header.name);
            packer.optional(header.exact.as_deref());
        });
        self.all(&route.action.splits, |packer, split| {
            packer.text(split.cluster.as_str());
            packer.cluster = split.cluster.as_str();
            put_number(&mut packer.bytes, split.weight.into());
            packer.all(&split.set_headers, Self::set_header);
        });
        self.all(&route.action.set_headers, Self::set_header);
        self.optional(route.action.rewrite_host.as_deref());
        self.bytes.push(u8::from(route.action.force_http1));
    }

    fn set_header(&mut self, header: &SetHeader) {
        self.text(&header.name);
        self.text(&header.value);
    }

    fn optional(&mut self, text: Option<&str>) {
        self.bytes.push(u8::from(text.is_some()));
        if let Some(text) = text {
            self.text(text);
        }
    }

    fn text(&mut self, text: &str) {
        let (namespace, service, _) = cluster_parts(self.cluster);
        let known = COMMON.into_iter().chain([namespace, service, self.cluster]).position(|known| known == text);
        put_number(&mut self.bytes, known.unwrap_or(LENGTHS + text.len()) as u64);
        if known.is_none() {
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }
}

struct Unpacker<'a> {
    bytes: Reader<'a>,
    /// Named last.
    cluster: ClusterName,
}

impl Unpacker<'_> {
    fn set(mut self) -> Option<RouteSet> {
        let probe_hash = if self.flag()? { Some(self.bytes.array()?) } else { None };
        Some(RouteSet { probe_hash, routes: self.all(Self::route)? })
    }

    fn all<T>(&mut self, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.bytes.number()?).ok()?;
        // Nothing packs to less than a byte.
        let mut all = Vec::with_capacity(count.min(self.bytes.0.len()));
        for _ in 0..count {
            all.push(one(self)?);
        }
        Some(all)
    }

    fn route(&mut self) -> Option<Route> {
        let kind = self.bytes.byte()?;
        let path = self.text()?;
        let path = match kind {
            0 => PathMatch::Exact(path),
            1 => PathMatch::StringPrefix(path),
            _ => PathMatch::ElementPrefix(path),
        };
        let headers = self.all(Self::header_match)?;
        let splits = self.all(Self::split)?;
        let set_headers = self.all(Self::set_header)?;
        let rewrite_host = if self.flag()? { Some(self.text()?) } else { None };
        let action = Forward { splits, set_headers, rewrite_host, force_http1: self.flag()? };
        Some(Route { path, headers, action })
    }

    fn split(&mut self) -> Option<Split> {
        let cluster = ClusterName::new(self.text()?);
        self.cluster = cluster.clone();
        let weight = u32::try_from(self.bytes.number()?).ok()?;
        Some(Split { cluster, weight, set_headers: self.all(Self::set_header)? })
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
        let number = usize::try_from(self.bytes.number()?).ok()?;
        let (namespace, service, _) = cluster_parts(self.cluster.as_str());
        Some(match number {
            NAMESPACE => namespace.into(),
            SERVICE => service.into(),
            CLUSTER => Arc::clone(self.cluster.shared()),
            LENGTHS.. => self.bytes.text_of(number - LENGTHS)?.into(),
            common => COMMON[common].into(),
        })
    }

    fn flag(&mut self) -> Option<bool> {
        self.bytes.byte().map(|byte| byte == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_text(random: &mut fastrand::Rng) -> Arc<str> {
        if random.u8(..3) == 0 {
            let known = [&COMMON[..], &["", "shop", "hello", "shop/hello:80", "shop/hello:http", ":", "/"]].concat();
            return random.choice(known).unwrap().into();
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

    #[test]
    fn what_the_headers_of_knative_say_again_takes_no_room() {
        let cluster = ClusterName::new("shop/hello-00001:80".into());
        let header = |name: &str, value: &str| SetHeader { name: name.into(), value: value.into() };
        let set_headers = vec![header(COMMON[0], "shop"), header(COMMON[1], "hello-00001")];
        let splits = vec![Split { cluster, weight: 100, set_headers }];
        let action = Forward { splits, set_headers: Vec::new(), rewrite_host: None, force_http1: false };
        let route = Route { path: PathMatch::StringPrefix("/".into()), headers: Vec::new(), action };
        let set = RouteSet { routes: vec![route], probe_hash: Some([7; 32]) };
        let packed = PackedRouteSet::pack(&set);
        assert_eq!(packed.0.len(), 32 + "shop/hello-00001:80".len() + 17);
        assert_eq!(packed.unpack(), set);
    }
}
