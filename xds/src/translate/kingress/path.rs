//! One path of a KIngress rule to a route.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::object::{HttpPath, KIngressSplit, ObjectRef, ServicePort};
use crate::resource::{Forward, HeaderMatch, PathMatch, Route, SetHeader, Split};
use crate::translate::draft::{self, Drafting, PortRef};
use crate::translate::header;
use crate::translate::host;

/// The route of a path. What is wrong is said in `on.problems`, which rejects the object, so the route is not used then.
pub(super) fn route(at: &str, path: &HttpPath, object: &ObjectRef, force_http1: bool, on: &mut Drafting<'_>) -> Route {
    if !path.path.is_empty() && !path.path.starts_with('/') {
        let message = format_args!("{:?} can never match: a path starts with `/`", path.path);
        on.problems.error(format_args!("{at}.path"), message);
    }
    let prefix = if path.path.is_empty() { "/" } else { path.path.as_str() };
    Route {
        path: PathMatch::StringPrefix(prefix.into()),
        headers: header_matches(at, path, on),
        action: Forward {
            splits: splits(at, path, object, on),
            set_headers: set_headers(at, &path.append_headers, on),
            rewrite_host: rewrite_host(at, &path.rewrite_host, on),
            force_http1,
        },
    }
}

fn header_matches(at: &str, path: &HttpPath, on: &mut Drafting<'_>) -> Vec<HeaderMatch> {
    let mut matches = Vec::with_capacity(path.headers.len());
    for (name, condition) in &path.headers {
        match header::name(name) {
            Ok(name) => matches.push(HeaderMatch {
                name: name.into(),
                exact: Some(condition.exact.as_str()).filter(|exact| !exact.is_empty()).map(Arc::from),
            }),
            Err(error) => on.problems.error(format_args!("{at}.headers"), error),
        }
    }
    matches
}

fn set_headers(at: &str, headers: &BTreeMap<String, String>, on: &mut Drafting<'_>) -> Vec<SetHeader> {
    let mut set = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        match header::to_set(name, value) {
            Ok(name) => set.push(SetHeader { name: name.into(), value: value.as_str().into() }),
            Err(error) => on.problems.error(format_args!("{at}.appendHeaders"), error),
        }
    }
    set
}

fn rewrite_host(at: &str, written: &str, on: &mut Drafting<'_>) -> Option<Arc<str>> {
    if written.is_empty() {
        return None;
    }
    let (name, port) = written.rsplit_once(':').map_or((written, None), |(name, port)| (name, Some(port)));
    let port_is_one = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if name.contains('*') || host::fold(name).is_err() || !port_is_one {
        let message = format_args!("{written:?} is not a host name with an optional port");
        on.problems.error(format_args!("{at}.rewriteHost"), message);
    }
    Some(written.into())
}

fn splits(at: &str, path: &HttpPath, object: &ObjectRef, on: &mut Drafting<'_>) -> Vec<Split> {
    let given = path.splits.as_deref().unwrap_or_default();
    let mut splits = Vec::with_capacity(given.len());
    for (index, split) in given.iter().enumerate() {
        let at = format!("{at}.splits[{index}]");
        if let Some(split) = one_split(&at, split, object, on) {
            splits.push(split);
        }
    }
    let sum: i64 = given.iter().map(|split| split.percent).fold(0, i64::saturating_add);
    if given.is_empty() {
        on.problems.error(format_args!("{at}.splits"), "at least one split is needed");
    } else if sum != 100 {
        on.problems.error(format_args!("{at}.splits"), format_args!("the percents sum up to {sum}; they must be 100"));
    }
    splits
}

fn one_split(at: &str, split: &KIngressSplit, object: &ObjectRef, on: &mut Drafting<'_>) -> Option<Split> {
    let weight = u32::try_from(split.percent).ok().filter(|percent| *percent <= 100);
    if weight.is_none() {
        on.problems.error(format_args!("{at}.percent"), format_args!("{} is not within 0 to 100", split.percent));
    }
    if !split.service_namespace.is_empty() && split.service_namespace != *object.namespace {
        let message = format_args!(
            "{:?} is not the KIngress' own namespace {:?}; a Service of another namespace cannot be used",
            split.service_namespace, object.namespace
        );
        on.problems.error(format_args!("{at}.serviceNamespace"), message);
        return None;
    }
    let port = match &split.service_port {
        ServicePort::Number(number) => PortRef::from_number(*number),
        ServicePort::Name(name) => PortRef::from_text(name),
    };
    let port = port.map_err(|error| on.problems.error(format_args!("{at}.servicePort"), error)).ok()?;
    let cluster = draft::cluster(&object.namespace, &split.service_name, port);
    let cluster = cluster.map_err(|error| on.problems.error(format_args!("{at}.serviceName"), error)).ok()?;
    Some(Split { cluster, weight: weight?, set_headers: set_headers(at, &split.append_headers, on) })
}
