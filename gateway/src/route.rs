//! Routing: which routes answer for a host, and which of them for a request.
//!
//! ```text
//!  Host ─► host::fold ─► RouteTable (exact, wildcard, any) ─► Routes ─► first that matches ─► split ─► cluster
//! ```

mod exact;
pub mod host;
pub mod matching;
mod opened;
mod parsed;
pub mod routes;
pub mod table;

pub use matching::{Decision, Matched, RequestFacts, match_request};
pub use parsed::HeaderList;
pub use routes::{LastGood, Routes, pick_split};
pub use table::{Host, HostPolicy, RouteTable};
