//! Sources: where objects come from.

pub mod api;
pub mod dir;
