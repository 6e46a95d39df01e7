//! Values that change while they are used.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// A value that its readers see as it is now; all clones are one. Reading neither waits nor allocates.
pub struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Live<T> {
    /// The value as it is now; what was read stays as it was.
    pub fn load(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    /// From now on it is this one.
    pub fn set(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

impl<T> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}
