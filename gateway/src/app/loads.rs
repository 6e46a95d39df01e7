//! The thread on which certificates are loaded and checked.
//!
//! Many renewals take no time from traffic; and what is cached lies apart from what traffic allocates, so that neither
//! keeps the other's memory from going back.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};

use crate::allocator;

/// Starts the thread, which lives as long as the process.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub(super) fn runtime() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().thread_name("postern-read").enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name("postern-certs".to_owned()).spawn(move || {
        allocator::keep_certificates();
        runtime.block_on(std::future::pending::<()>());
    })?;
    Ok(handle)
}
