//! The allocator, and where it puts what is kept for long.
//!
//! jemalloc: its arenas keep apart what lives for long and what does not, and give back what is free. Built with
//! `--no-default-features`, and `--features mimalloc` or none for the system's, the benchmarks measure others.

#[cfg(feature = "jemalloc")]
mod jemalloc;
#[cfg(feature = "jemalloc")]
pub(crate) use jemalloc::{give_back, keep_certificates, keep_for_long, publish, serve_traffic, with_fresh_pages};

#[cfg(all(feature = "mimalloc", not(feature = "jemalloc")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Others have no arenas that could be chosen.
#[cfg(not(feature = "jemalloc"))]
pub(crate) fn keep_for_long() {}

/// As above.
#[cfg(not(feature = "jemalloc"))]
pub(crate) fn keep_certificates() {}

/// As above.
#[cfg(not(feature = "jemalloc"))]
pub(crate) fn serve_traffic() {}

/// Others decide for themselves what they give back.
#[cfg(not(feature = "jemalloc"))]
pub(crate) fn give_back() {}

/// Others hand out what they like.
#[cfg(not(feature = "jemalloc"))]
pub(crate) fn with_fresh_pages<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Others are not asked what they hold.
#[cfg(not(feature = "jemalloc"))]
pub(crate) fn publish() {}
