//! The thread on which renewed certificates are loaded and checked, so that many renewals take no time from traffic.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};

/// Threads that read files for it. Others wait, in no more reloads than certstore starts at a time.
const READERS: usize = 4;

/// Starts the thread, which lives as long as the process.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub(super) fn runtime() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().max_blocking_threads(READERS).enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("postern-reload".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}
