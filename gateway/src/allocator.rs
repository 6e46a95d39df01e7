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

/// Gives memory that is free back to the system at once; by itself jemalloc does so ten seconds later, and a little at a
/// time.
///
/// Where the time for it is set to zero, an arena purges what it holds (`arena.<i>.dirty_decay_ms`, jemalloc(3)).
pub(crate) fn give_back() {
    let arenas: u32 = match b"arenas.narenas\0".name().read() {
        Ok(arenas) => arenas,
        Err(error) => return tracing::debug!(%error, "the allocator does not say how many arenas it has"),
    };
    for arena in 0..arenas {
        let decay = format!("arena.{arena}.dirty_decay_ms\0");
        let decay = decay.name();
        // An error: this arena has not been used yet.
        let milliseconds: Result<isize, Error> = decay.read();
        let _ = milliseconds.and_then(|milliseconds| decay.write(0_isize).and_then(|()| decay.write(milliseconds)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_given_back_at_once() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
            statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages")
        };
        // Others run beside this test; what is freed here is far more than they use.
        let blocks: Vec<Vec<u8>> = (0..4_096).map(|_| vec![7; 64 * 1024]).collect();
        let full = resident();
        drop(std::hint::black_box(blocks));
        give_back();
        let left = resident();
        assert!(left + 40_000 < full, "{left} pages of {full} are left");
    }

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
