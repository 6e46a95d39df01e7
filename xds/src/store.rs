//! Where very many small things are kept: a value of one size costs its size, a text its length, a name's hash hardly more
//! than itself, and none of them is allocated on its own.
//!
//! All grow by chunks, so growing copies little and leaves little empty; a chunk that has become empty is given back.

mod hashes;
mod namespaces;
mod packs;
mod slots;

pub(crate) use hashes::Hashes;
pub(crate) use namespaces::{NamespaceId, Namespaces};
pub(crate) use packs::{PackId, Packs};
pub(crate) use slots::Slots;
