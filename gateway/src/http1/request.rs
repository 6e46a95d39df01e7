//! Heads of requests, from bytes.

use http::Method;
use httparse::{EMPTY_HEADER, Header, Status};

use super::MAX_FIELDS;
use super::fault::Fault;
use super::framing::Framing;
use super::options::{Options, list};
use super::target::{Target, is_authority};
use crate::message::{BodyLength, Fields, Name, RequestHead, Version};

/// Fields for which there is room at first: nearly all requests have fewer.
const FEW_FIELDS: usize = 48;

/// A request head, and what its connection learns from it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) head: RequestHead,
    /// Whether the client wants the connection to persist after the response.
    pub(super) keep_alive: bool,
}

/// Parses a complete head, as [`HeadEnd`](super::head_end::HeadEnd) has found it.
///
/// The request line is split here, as `httparse` takes targets in UTF-8 alone; the fields are its own.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte)).ok_or(Fault::RequestLine)?;
    let length = memchr::memchr(b'\n', &bytes[start..]).ok_or(Fault::RequestLine)?;
    let (line, fields) = bytes[start..].split_at(length + 1);
    let line = Line::parse(line)?;
    match parse_fields::<FEW_FIELDS>(&line, fields) {
        Err(Fault::TooManyFields) => parse_fields::<MAX_FIELDS>(&line, fields),
        parsed => parsed,
    }
}

fn parse_fields<const MAX: usize>(line: &Line<'_>, bytes: &[u8]) -> Result<Parsed, Fault> {
    let mut headers = [EMPTY_HEADER; MAX];
    match httparse::parse_headers(bytes, &mut headers) {
        Ok(Status::Complete((length, headers))) if length == bytes.len() => assemble(line, headers, length),
        Err(httparse::Error::TooManyHeaders) => Err(Fault::TooManyFields),
        _ => Err(Fault::Field),
    }
}

/// The request line.
struct Line<'a> {
    method: Method,
    target: Target<'a>,
    version: Version,
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, Fault> {
        let line = line.strip_suffix(b"\r\n").ok_or(Fault::BareLineFeed)?;
        if line.iter().any(u8::is_ascii_control) {
            return Err(Fault::RequestLine);
        }
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Fault::RequestLine);
        };
        let method = Method::from_bytes(method).map_err(|_| Fault::RequestLine)?;
        let version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                return Err(Fault::Version);
            }
            _ => return Err(Fault::RequestLine),
        };
        if method == Method::CONNECT {
            return Err(Fault::Connect);
        }
        let target = Target::parse(target, method == Method::OPTIONS)?;
        Ok(Self { method, target, version })
    }
}

/// Fields that say something about the message or the connection, as they are met.
#[derive(Default)]
struct Facts<'a> {
    framing: Framing,
    options: Options,
    host: Option<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
    expects_continue: bool,
    takes_trailers: bool,
    cookies: usize,
}

impl<'a> Facts<'a> {
    /// Takes in a field; returns `true` if it belongs to the fields that are forwarded.
    fn read(&mut self, name: Name, value: &'a [u8]) -> Result<bool, Fault> {
        match name {
            Name::Host if self.host.replace(value).is_some() => return Err(Fault::Host),
            Name::ContentLength => self.framing.content_length(value)?,
            Name::TransferEncoding => self.framing.transfer_encoding(value)?,
            Name::Connection => self.options.read(value),
            Name::Upgrade => self.upgrade = self.upgrade.or(Some(value)),
            Name::Te => self.takes_trailers |= list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers")),
            Name::Expect => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            Name::Cookie => self.cookies += 1,
            _ => {}
        }
        let is_of_framing = matches!(name, Name::Host | Name::ContentLength | Name::Te);
        Ok(!is_of_framing && !name.is_hop_by_hop())
    }

    /// Returns the authority: of the target if it has one, else of `Host` (RFC 9112 §3.2.2).
    fn authority(&self, line: &Line<'a>) -> Result<&'a [u8], Fault> {
        let authority = match (self.host, line.target.authority) {
            (None, _) if line.version == Version::Http11 => return Err(Fault::MissingHost),
            (None, None) => return Ok(b""),
            (Some(host), Some(target)) if !host.eq_ignore_ascii_case(target) => return Err(Fault::Host),
            (None, Some(authority)) | (Some(authority), _) => authority,
        };
        if is_authority(authority) { Ok(authority) } else { Err(Fault::Host) }
    }

    fn body(&self, version: Version) -> Result<BodyLength, Fault> {
        match (self.framing.is_chunked, self.framing.length) {
            // RFC 9112 §6.1: the sender cannot know what it says.
            (true, _) if version == Version::Http10 => Err(Fault::TransferCoding),
            (true, _) => Ok(BodyLength::Unknown),
            (false, None | Some(0)) => Ok(BodyLength::Empty),
            (false, Some(length)) => Ok(BodyLength::Exact(length)),
        }
    }

    /// Returns whether the connection persists (RFC 9112 §9.3). Not after a request that says its length in two ways: what
    /// follows it may be what another parser takes for its body (RFC 9112 §6.1).
    fn keep_alive(&self, version: Version) -> bool {
        let is_ambiguous = self.framing.is_chunked && self.framing.length.is_some();
        self.options.persists(version) && !is_ambiguous
    }

    /// Returns the protocol that the client asks to switch to. Never HTTP/2: it has a framing of its own, and requests in
    /// it would pass unseen (CVE-2021-21299 and its kin).
    fn upgrade(&self, version: Version) -> Option<&'a [u8]> {
        let value = self.upgrade.filter(|_| self.options.upgrade && version == Version::Http11)?;
        let is_http2 = |protocol: &[u8]| {
            protocol.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2"))
                || protocol.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"http/"))
        };
        (!value.is_empty() && !list(value).any(is_http2)).then_some(value)
    }
}

fn assemble(line: &Line<'_>, headers: &[Header<'_>], length: usize) -> Result<Parsed, Fault> {
    let mut facts = Facts::default();
    let mut fields = Fields::with_capacity(length);
    for header in headers {
        let name = Name::of(header.name.as_bytes());
        if facts.read(name, header.value)? {
            fields.push(name, header.name.as_bytes(), header.value);
        }
    }
    facts.options.strip(&mut fields, headers);
    if facts.cookies > 1 {
        join_cookies(&mut fields);
    }
    let version = line.version;
    let head = RequestHead {
        version,
        method: line.method.clone(),
        target: [line.target.root, line.target.rest].concat().into_boxed_slice(),
        authority: facts.authority(line)?.into(),
        fields,
        body: facts.body(version)?,
        upgrade: facts.upgrade(version).map(Into::into),
        // RFC 9110 §10.1.1: of no effect in HTTP/1.0.
        expects_continue: facts.expects_continue && version == Version::Http11,
        takes_trailers: facts.takes_trailers,
    };
    Ok(Parsed { head, keep_alive: facts.keep_alive(version) })
}

/// Makes one field of several (RFC 6265 §5.4 allows one).
fn join_cookies(fields: &mut Fields) {
    let joined = fields.get_all(Name::Cookie).collect::<Vec<_>>().join(&b"; "[..]);
    fields.set(Name::Cookie, &joined);
}

#[cfg(test)]
mod tests;
