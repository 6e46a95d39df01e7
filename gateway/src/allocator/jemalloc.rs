//! jemalloc: arenas of threads, and memory that goes back to the system.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tikv_jemalloc_ctl::{Access, AsName, Error, raw};

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
    /// That of the first such thread.
    static ARENA: OnceLock<u32> = OnceLock::new();
    let arena = b"thread.arena\0".name().read().map(|first| *ARENA.get_or_init(|| first));
    if let Err(error) = arena.and_then(keep_in) {
        tracing::warn!(%error, "the allocator does not keep the configuration apart; it will take more memory");
    }
}

/// For a thread that makes certificates, which are kept for a while: the same, in an arena for these threads alone.
pub(crate) fn keep_certificates() {
    static ARENA: OnceLock<Result<u32, Error>> = OnceLock::new();
    let arena = *ARENA.get_or_init(|| b"arenas.create\0".name().read());
    if let Err(error) = arena.and_then(keep_in) {
        tracing::warn!(%error, "the allocator does not keep certificates apart; they will take more memory");
    }
}

fn keep_in(arena: u32) -> Result<(), Error> {
    b"thread.arena\0".name().write(arena)?;
    b"thread.tcache.enabled\0".name().write(false)
}

/// For a thread that serves traffic: buffers of 8 and of 16 KiB are not cached by it, so that [`with_fresh_pages`] decides
/// where they come from. h2 makes one of each for a connection.
///
/// `thread.tcache.ncached_max.write`: jemalloc(3).
pub(crate) fn serve_traffic() {
    const NOT_CACHED: &[u8] = b"8192-8192:0|16384-16384:0\0";
    if let Err(error) = raw::write_str(b"thread.tcache.ncached_max.write\0", NOT_CACHED) {
        tracing::debug!(%error, "the allocator caches all sizes; HTTP/2 connections will take more memory");
    }
}

/// Does `work` with blocks of memory of which only what is written to takes any: large blocks that it allocates are not in
/// pages that something else has used before.
///
/// For buffers that are made for the largest case and last: usually jemalloc hands out what was freed last, and all of that
/// is in memory already. What the thread has cached comes first, whatever the arena: see [`serve_traffic`].
/// `arenas.create`, `arena.<i>.dirty_decay_ms`, `thread.arena`: jemalloc(3).
pub(crate) fn with_fresh_pages<T>(work: impl FnOnce() -> T) -> T {
    let _usual = FRESH.get_or_init(|| try_create_fresh().ok()).and_then(Usual::leave_for);
    work()
}

/// The arena that gives back at once whatever is freed; none if it cannot be made.
static FRESH: OnceLock<Option<u32>> = OnceLock::new();

fn try_create_fresh() -> Result<u32, Error> {
    let arena: u32 = b"arenas.create\0".name().read()?;
    format!("arena.{arena}.dirty_decay_ms\0").name().write(0_isize)?;
    Ok(arena)
}

/// The arena that this thread goes back to.
struct Usual(u32);

impl Usual {
    fn leave_for(arena: u32) -> Option<Self> {
        let thread = b"thread.arena\0".name();
        let usual = thread.read().ok()?;
        thread.write(arena).ok().map(|()| Self(usual))
    }
}

impl Drop for Usual {
    fn drop(&mut self) {
        // It has just been there.
        let _ = b"thread.arena\0".name().write(self.0);
    }
}

/// Publishes what is allocated, and how much memory the allocator has for it: the difference is spread over pages that are
/// only partly used, and what is yet to be given back. `stats.allocated`, `stats.resident`: jemalloc(3).
pub(crate) fn publish() {
    let figure = |name: &[u8]| -> Result<usize, Error> { name.name().read() };
    // The figures are as of the last epoch.
    let refreshed = b"epoch\0".name().write(1_u64);
    if let (Ok(()), Ok(allocated), Ok(resident)) =
        (refreshed, figure(b"stats.allocated\0"), figure(b"stats.resident\0"))
    {
        metrics::gauge!("postern_memory_allocated_bytes").set(allocated as f64);
        metrics::gauge!("postern_memory_resident_bytes").set(resident as f64);
    }
}

/// How often [`give_back`] tries, and how long it waits in between: another thread's purge of an arena takes a tenth of a
/// second if it is large.
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(4);

/// Free pages that are not worth another try: 1 MiB. Others free some all the time.
const WORTH_A_TRY: usize = 256;

/// Gives memory that is free back to the system at once; by itself jemalloc does so ten seconds later, and a little at a
/// time. May wait for a fifth of a second.
///
/// Where the time for it is set to zero, an arena purges what it holds (`arena.<i>.dirty_decay_ms`, jemalloc(3)), but not
/// while another thread purges a part of it.
pub(crate) fn give_back() {
    for left in (0..TRIES).rev() {
        if let Err(error) = purge() {
            return tracing::debug!(%error, "the allocator does not give back what is free");
        }
        match free_pages() {
            Ok(pages) if pages > WORTH_A_TRY && left > 0 => thread::park_timeout(BETWEEN_TRIES),
            _ => return,
        }
    }
}

fn purge() -> Result<(), Error> {
    let arenas: u32 = b"arenas.narenas\0".name().read()?;
    for arena in 0..arenas {
        let decay = format!("arena.{arena}.dirty_decay_ms\0");
        let decay = decay.name();
        // An error: this arena has not been used yet.
        let milliseconds: Result<isize, Error> = decay.read();
        let _ = milliseconds.and_then(|milliseconds| decay.write(0_isize).and_then(|()| decay.write(milliseconds)));
    }
    Ok(())
}

/// Pages of all arenas that are free and still in memory. `stats.arenas.<MALLCTL_ARENAS_ALL>.pdirty`: jemalloc(3).
fn free_pages() -> Result<usize, Error> {
    b"epoch\0".name().write(1_u64)?;
    b"stats.arenas.4096.pdirty\0".name().read()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Held by a test that looks at the memory of the whole process.
    static MEASURING: Mutex<()> = Mutex::new(());

    /// Pages that this process has in memory.
    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages")
    }

    #[test]
    fn what_is_free_is_given_back_at_once() {
        let _alone = MEASURING.lock();
        // Others run beside this test; what is freed here is far more than they use.
        let blocks: Vec<Vec<u8>> = (0..4_096).map(|_| vec![7; 64 * 1024]).collect();
        let full = resident();
        drop(std::hint::black_box(blocks));
        give_back();
        let left = resident();
        assert!(left + 40_000 < full, "{left} pages of {full} are left");
    }

    #[test]
    fn what_is_not_written_to_takes_no_memory_where_others_have_been() {
        const BLOCKS: usize = 8_192;
        const BLOCK: usize = 16 * 1024;
        let _alone = MEASURING.lock();
        serve_traffic();
        let taken = |allocate: &dyn Fn() -> Vec<u8>| {
            drop(std::hint::black_box((0..BLOCKS).map(|_| vec![7_u8; BLOCK]).collect::<Vec<_>>()));
            let blocks: Vec<_> = (0..BLOCKS).map(|_| allocate()).collect();
            give_back();
            let with_blocks = resident();
            drop(std::hint::black_box(blocks));
            give_back();
            with_blocks.saturating_sub(resident())
        };
        // Tests that run beside this one take and give back memory of the same process.
        let mut attempts = (0..5).map(|_| {
            let usual = taken(&|| Vec::with_capacity(BLOCK));
            let fresh = taken(&|| with_fresh_pages(|| Vec::with_capacity(BLOCK)));
            eprintln!("{fresh} pages, usually {usual}");
            fresh + 16_000 < usual
        });
        assert!(attempts.any(|is_less| is_less));
        let arena: u32 = b"thread.arena\0".name().read().expect("jemalloc is the allocator");
        assert_ne!(Some(arena), *FRESH.get().expect("it was used"));
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
