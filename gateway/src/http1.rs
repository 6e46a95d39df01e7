//! HTTP/1.1 and HTTP/1.0, with clients and with endpoints (RFC 9112).
//!
//! ```text
//!  Wire ─► head_end ─► request ─► RequestHead      RequestHead ─► encode::request ─► output ─► TcpStream
//!          decode   ─► body                        body        ─► body_writer     ─►
//!  Wire ◄─ output ◄─ encode::response, body_writer ◄── relay ◄── decode, response ◄─────────── TcpStream
//! ```
//!
//! Heads are parsed once, when their end has come, with `httparse`. A request is refused wherever another parser might
//! read it differently; framing is never forwarded, but written anew.

mod body_writer;
mod chunks;
pub(crate) mod client;
mod decode;
mod encode;
mod fault;
mod framing;
mod head_end;
mod input;
mod options;
mod output;
mod request;
mod response;
mod server;
mod target;
pub(crate) mod trailers;

pub(crate) use self::server::serve;

/// The most fields of a head.
const MAX_FIELDS: usize = 256;

#[cfg(test)]
mod tests;
