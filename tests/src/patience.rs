//! Waiting for something that becomes true by itself.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::Result;

/// Long enough for one operation on a busy machine with two cores; only a failing test waits for all of it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for what takes many of them, and below the 60 s that some limits are by default: a test that sets one to less
/// fails if that has no effect.
const MORE_PATIENCE: Duration = Duration::from_secs(45);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(15);

/// Tries until an attempt succeeds. When patience ends, the error says what was awaited and how the last attempt failed.
pub async fn eventually<T>(what: &str, attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    eventually_within(MORE_PATIENCE, what, attempt).await
}

/// [`eventually`], with another patience.
pub async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    let mut last = String::from("the first attempt did not end");
    loop {
        match timeout_at(deadline, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => return Err(format!("{what}: not within {patience:?}; last: {last}").into()),
        }
        if Instant::now() >= deadline {
            return Err(format!("{what}: not within {patience:?}; last: {last}").into());
        }
        sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_is_repeated_until_it_succeeds() {
        let mut attempts = 0;
        let value = eventually("the third attempt", async || {
            attempts += 1;
            crate::ensure(attempts == 3, || format!("attempt {attempts}"))
        });
        assert!(value.await.is_ok());
        assert_eq!(attempts, 3);
    }

    #[tokio::test]
    async fn the_error_names_what_was_awaited_and_the_last_failure() {
        let never =
            eventually_within(Duration::from_millis(30), "the moon", async || Err::<(), _>("it is cloudy".into()));
        let text = never.await.unwrap_err().to_string();
        assert!(text.contains("the moon") && text.contains("it is cloudy"), "{text}");
    }
}
