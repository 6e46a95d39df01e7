//! Which routes are unpacked for requests, so that they do not stay so for good.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::routes::Routes;

/// For so long routes stay unpacked; requests after that unpack them again, which takes a few microseconds.
const PERIOD: Duration = Duration::from_secs(60);

/// The most that are unpacked at a time, at one or two KiB where there is one route. More requests for others end those
/// that have been unpacked for longest.
const LIMIT: usize = 8192;

/// Unpacked routes, in the order in which that happened.
static OPEN: Mutex<VecDeque<(Instant, Weak<Routes>)>> = Mutex::new(VecDeque::new());

/// Notes that routes have been unpacked, and gives up others whose time is over: at most two, so that no request pays for
/// many.
pub(super) fn note(routes: &Arc<Routes>) {
    let now = Instant::now();
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..2 {
        let is_due = |since: &Instant| now.duration_since(*since) >= PERIOD;
        if open.len() < LIMIT && !open.front().is_some_and(|(since, _)| is_due(since)) {
            break;
        }
        let Some((_, routes)) = open.pop_front() else { break };
        if let Some(routes) = routes.upgrade() {
            routes.close();
        }
    }
    open.push_back((now, Arc::downgrade(routes)));
    let unpacked = open.len();
    drop(open);
    metrics::gauge!("postern_routes_unpacked").set(unpacked as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests unpack routes too, so only what these do is looked at.
    fn routes(count: usize) -> Vec<Arc<Routes>> {
        (0..count).map(|_| Arc::new(Routes::default())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn routes_are_given_up_after_a_time_and_unpacked_again_for_the_next_request() {
        let all = routes(LIMIT);
        let held = all[0].open();
        all[1].open();
        tokio::time::advance(PERIOD).await;
        // The clock of other tests is another one; enough come after these to push them out all the same.
        for routes in &all[2..] {
            routes.open();
        }
        all[2].open();
        assert!(!all[0].is_open() && !all[1].is_open());
        assert_eq!(held.set, all[0].open().set);
        assert!(all[0].is_open());
    }

    #[test]
    fn no_number_of_routes_makes_more_than_the_limit_stay_unpacked() {
        let all = routes(3 * LIMIT);
        for routes in &all {
            routes.open();
        }
        assert!(all.iter().filter(|routes| routes.is_open()).count() <= LIMIT);
    }
}
