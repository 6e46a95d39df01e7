//! Draining: how the process ends without losing a request.
//!
//! [`Phase`] only moves forward. Everybody who serves holds a [`DrainWatch`]; `app` moves it.

use tokio::sync::watch;

/// Where the process stands on its way from serving to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Normal service.
    #[default]
    Serving,
    /// Not ready any more, but still accepting: load balancers are noticing. Responses carry `Connection: close`, HTTP/2
    /// connections get GOAWAY, new connections are served.
    Draining,
    /// Listeners are closed; idle connections are closed, requests under way may end.
    Closing,
    /// The deadline has passed: whatever is left is dropped.
    Expired,
}

/// Follows the [`Phase`].
pub type DrainWatch = watch::Receiver<Phase>;
