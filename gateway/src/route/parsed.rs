//! Header names and values of a route, parsed once, when its first request comes.

use http::{HeaderName, HeaderValue};
use xds::resource::{self, HeaderMatch, SetHeader};

use crate::message::Fields;

/// Request headers to set.
pub type HeaderList = Box<[(HeaderName, HeaderValue)]>;

/// The parts of a route that are HTTP types.
#[derive(Debug)]
pub(super) struct ParsedRoute {
    /// `None` when one of them can never hold.
    conditions: Option<Box<[Condition]>>,
    /// Set for every request of the route, after those of the split.
    pub(super) set_headers: HeaderList,
    /// Set for the requests of a split.
    pub(super) split_headers: Box<[HeaderList]>,
    /// The authority that the upstream sees instead of the client's.
    pub(super) host: Option<HeaderValue>,
}

/// A condition on a request header: the exact value, or `None` for presence.
#[derive(Debug)]
struct Condition {
    name: HeaderName,
    exact: Option<HeaderValue>,
}

impl ParsedRoute {
    pub(super) fn new(route: &resource::Route) -> Self {
        let action = &route.action;
        Self {
            conditions: route.headers.iter().map(condition).collect(),
            set_headers: header_list(&action.set_headers),
            split_headers: action.splits.iter().map(|split| header_list(&split.set_headers)).collect(),
            host: action.rewrite_host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()),
        }
    }

    /// Returns `true` if the fields are as the route asks.
    pub(super) fn holds(&self, fields: &Fields) -> bool {
        let holds = |condition: &Condition| {
            let mut values = fields.get_all_named(condition.name.as_str());
            match &condition.exact {
                None => values.next().is_some(),
                Some(exact) => values.any(|value| value == exact.as_bytes()),
            }
        };
        self.conditions.as_ref().is_some_and(|conditions| conditions.iter().all(holds))
    }
}

/// `None` for what is not valid HTTP. Translation refuses that; if it comes from elsewhere, the route matches nothing
/// rather than too much.
fn condition(header: &HeaderMatch) -> Option<Condition> {
    let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
    let exact = match &header.exact {
        Some(value) => Some(HeaderValue::from_str(value).ok()?),
        None => None,
    };
    Some(Condition { name, exact })
}

fn header_list(headers: &[SetHeader]) -> HeaderList {
    let parse = |header: &SetHeader| {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&header.value).ok()?))
    };
    headers.iter().filter_map(parse).collect()
}
