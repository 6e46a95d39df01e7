//! HTTP/2, towards clients and towards endpoints, with the frames, streams and flow control of the `h2` crate.
//!
//! `h2` decodes what it can read and keeps it until somebody asks. What that costs is bounded here, from outside:
//!
//! ```text
//!  bytes ─► Paced (portions, floods) ─► h2 ─► stream ─┬─► RequestHead, at once
//!                                       ▲             └─► Incoming: the body as few bytes, within the stream's window
//!                                       └─ Outgoing: a chunk of the response at a time
//! ```

pub(crate) mod client;
mod fields;
mod frame;
mod frame_flood;
mod incoming;
mod outgoing;
mod paced;
mod patience;
mod request;
mod reset_flood;
mod server;
mod stream;
mod table;

pub(crate) use server::serve;

/// The size of the table from which clients may take fields again; see [`table`].
const HEADER_TABLE: u32 = 0;

/// Small DATA frames are taken from `h2` at once and joined, so that they need no budget: with the crate's, gRPC streams of
/// small messages are cut off, and all others of their connection with them.
const NO_FRAME_BUDGET: usize = usize::MAX;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
