//! Sources: where objects come from.

pub mod dir;
