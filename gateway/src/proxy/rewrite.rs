//! What is changed in a request before an upstream sees it.

use http::{HeaderName, HeaderValue, Uri, Version, header};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;

use crate::route::Matched;

use super::forwarded::{self, Origin, REQUEST_ID};
use super::probe;
use super::settings::UnderscoreHeaders;

/// Brings a request from absolute-form to origin-form (RFC 9112 §3.2); others are left alone.
///
/// # Errors
/// `InvalidHTTPHeader` when what follows the authority is no path.
pub fn to_origin_form(request: &mut RequestHeader) -> Result<()> {
    if request.version == Version::HTTP_2 || matches!(request.raw_path().first(), Some(b'/' | b'*')) {
        return Ok(());
    }
    let target = String::from_utf8_lossy(request.raw_path()).into_owned();
    let absolute = target.parse::<Uri>().map_err(invalid_target)?;
    if !request.headers.contains_key(header::HOST)
        && let Some(authority) = absolute.authority()
    {
        request.insert_header(header::HOST, authority.as_str())?;
    }
    let path = absolute.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let uri = path.parse::<Uri>().map_err(invalid_target)?;
    request.set_uri(uri);
    Ok(())
}

#[expect(clippy::unnecessary_box_returns, reason = "pingora's errors are boxed")]
fn invalid_target(cause: http::uri::InvalidUri) -> Box<Error> {
    Error::because(ErrorType::InvalidHTTPHeader, "no path in the request target", cause).into_down()
}

/// All that is changed in a request.
#[derive(Debug)]
pub struct Rewrite<'a> {
    /// The route that was taken.
    pub matched: &'a Matched,
    /// How the request reached us.
    pub origin: Origin<'a>,
    /// The request's id.
    pub request_id: &'a HeaderValue,
    /// What happens to header fields with `_` in their name.
    pub underscore_headers: UnderscoreHeaders,
}

/// Changes a request for its upstream. What `Connection` named is gone already, so it can't take away what is set here.
///
/// # Errors
/// `InvalidHTTPHeader` for a value that is none; each was one when it came.
pub fn rewrite(request: &mut RequestHeader, plan: &Rewrite<'_>) -> Result<()> {
    if plan.underscore_headers == UnderscoreHeaders::Drop {
        remove_underscore_headers(request);
    }
    forwarded::set_origin(request, &plan.origin)?;
    request.insert_header(REQUEST_ID, plan.request_id.clone())?;
    for (name, value) in plan.matched.set_headers() {
        request.insert_header(name.clone(), value.clone())?;
    }
    probe::insert_hash(request, plan.matched.probe_hash().as_ref())?;
    if let Some(host) = plan.matched.rewrite_host() {
        request.insert_header(header::HOST, host.clone())?;
    }
    Ok(())
}

fn remove_underscore_headers(request: &mut RequestHeader) {
    let has_underscore = |name: &&HeaderName| name.as_str().contains('_');
    let names: smallvec::SmallVec<[HeaderName; 2]> = request.headers.keys().filter(has_underscore).cloned().collect();
    for name in &names {
        request.remove_header(name);
    }
}
