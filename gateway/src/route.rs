//! Routing: which routes answer for a host, and which of them for a request.
//!
//! ```text
//!  Host ─► host::fold ─► RouteTable (exact, wildcard, any) ─► Routes ─► first Route that matches ─► Action
//! ```

pub mod compile;
pub mod host;
pub mod matching;
pub mod table;

pub use compile::{Action, Condition, HeaderList, LastGood, PathRule, Route, Routes, Target};
pub use matching::{Decision, Matched, RequestFacts, match_request};
pub use table::{HostEntry, RouteTable};
