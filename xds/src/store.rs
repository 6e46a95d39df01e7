//! Where very many small things are kept: a value of one size costs its size, a text its length, and neither is
//! allocated on its own.
//!
//! Both grow by chunks, so growing copies nothing and leaves little empty; a chunk that has become empty is given back.

mod packs;
mod slots;

pub(crate) use packs::{PackId, Packs};
pub(crate) use slots::Slots;
