//! What the tests share.
#![allow(dead_code, reason = "no test binary uses all of it")]

pub(crate) mod der;

use std::time::Duration;

use certstore::{Certificate, SecretRef};

/// The name that most certificates here are for.
pub(crate) const NAME: &str = "web.shop.test";
/// The patience of [`eventually`].
const PATIENCE: Duration = Duration::from_secs(20);

/// The Secret of most tests.
pub(crate) fn web() -> SecretRef {
    SecretRef::new("shop", "web")
}

/// What tells two certificates apart.
pub(crate) fn serial(certificate: &Certificate) -> String {
    certificate.details().serial
}

/// Lets background tasks run until `holds`.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    // Real time: paused time would jump to the end while nothing but this runs.
    let began = std::time::Instant::now();
    tokio::select! {
        () = waiting => {}
        () = async { while began.elapsed() < PATIENCE { tokio::task::yield_now().await } } => panic!("never: {what}"),
    }
}
