//! The allocator, and where it puts what is kept for long.

use std::sync::OnceLock;

use tikv_jemalloc_ctl::{Access, AsName, Error};

/// jemalloc returns memory to the system after a storm, and as `malloc` it serves the TLS library's C code too, so that
/// one set of figures covers the process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// For a thread that makes what is kept for long, the configuration: it shares an arena with others of its kind, so that
/// what it keeps lies close together and none of it in pages that traffic used and could give back; and it caches
/// nothing that it frees, which for a thread that has just read all there is amounts to hundreds of kilobytes.
///
/// `thread.arena`, `thread.tcache.enabled`: jemalloc(3), "MALLCTL NAMESPACE".
pub(crate) fn keep_for_long() {
    if let Err(error) = try_keep_for_long() {
        tracing::warn!(%error, "the allocator does not keep the configuration apart; it will take more memory");
    }
}

fn try_keep_for_long() -> Result<(), Error> {
    /// That of the first such thread.
    static ARENA: OnceLock<u32> = OnceLock::new();
    let arena = b"thread.arena\0".name();
    let first: u32 = arena.read()?;
    arena.write(*ARENA.get_or_init(|| first))?;
    b"thread.tcache.enabled\0".name().write(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arena of a thread after it was told, and whether it caches.
    fn told() -> (u32, bool) {
        let thread = std::thread::spawn(|| {
            keep_for_long();
            let arena = b"thread.arena\0".name().read().expect("jemalloc is the allocator");
            (arena, b"thread.tcache.enabled\0".name().read().expect("jemalloc is the allocator"))
        });
        thread.join().expect("it does not panic")
    }

    #[test]
    fn threads_that_keep_for_long_share_an_arena_and_cache_nothing() {
        let (first, second) = (told(), told());
        assert_eq!(first, second);
        assert!(!first.1);
    }
}
