//! For tests, of this crate and of those that use it: a CA that issues what is wanted, and a source that does as told.
//!
//! Behind the feature `testing`.

mod ca;
mod source;

pub use ca::{KeyEncoding, LeafBuilder, TestCa, TestSecret};
pub use source::{Answer, Gate, ScriptedSource};
