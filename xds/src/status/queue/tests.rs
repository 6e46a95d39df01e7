use std::future::Future;

use super::*;
use crate::status::condition::Verdict;
use crate::status::published::Balancers;

fn queue() -> Arc<Queue> {
    Arc::new(Queue::default())
}

fn print(verdict: &Verdict) -> Print {
    verdict.print(&Balancers::default())
}

fn ready() -> Print {
    print(&Verdict::Served)
}

/// What a future has at once.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::ZERO, future).await.ok()
}

async fn take_and_end(queue: &Arc<Queue>, outcome: Outcome) {
    let mut taken = queue.take().await;
    taken.tries(ready());
    taken.end(outcome);
}

#[tokio::test(start_paused = true)]
async fn what_is_added_twice_is_taken_once_and_in_order() {
    let queue = queue();
    for id in [7, 3, 7] {
        queue.add(id, ready(), Duration::ZERO);
    }
    let (first, second) = (queue.take().await, queue.take().await);
    assert_eq!((first.id(), second.id()), (7, 3));
    assert!(at_once(queue.take()).await.is_none());
    assert_eq!(queue.backlog().objects, 2, "what is in hand still differs");
}

#[tokio::test(start_paused = true)]
async fn what_fails_comes_back_later_each_time_and_holds_nobody_up() {
    let queue = queue();
    let mut waits = Vec::new();
    queue.add(1, ready(), Duration::ZERO);
    for _ in 0..12 {
        let begun = Instant::now();
        take_and_end(&queue, Outcome::Failed(None)).await;
        waits.push(begun.elapsed());
        queue.add(2, ready(), Duration::ZERO);
        assert!(at_once(take_and_end(&queue, Outcome::Settled)).await.is_some());
    }
    assert!(waits[1] >= Duration::from_millis(50) && waits[1] <= Duration::from_millis(110), "{waits:?}");
    assert!(waits[11] >= Duration::from_secs(15) && waits[11] <= Duration::from_secs(31), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_written_and_is_not_seen_is_written_again() {
    let queue = queue();
    queue.add(1, ready(), Duration::ZERO);
    take_and_end(&queue, Outcome::Written).await;
    queue.add(1, ready(), Duration::ZERO);
    assert!(at_once(queue.take()).await.is_none(), "the watch has not told of it yet");
    assert_eq!(queue.take().await.id(), 1);
    queue.remove(1);
    assert_eq!(queue.backlog(), Backlog::default());
}

#[tokio::test(start_paused = true)]
async fn new_facts_do_not_wait_for_what_was_written_or_failed() {
    for outcome in [Outcome::Written, Outcome::Failed(Some(Duration::from_secs(60)))] {
        let queue = queue();
        queue.add(1, ready(), Duration::ZERO);
        take_and_end(&queue, outcome).await;
        queue.add(1, print(&Verdict::Conflict), Duration::ZERO);
        assert!(at_once(queue.take()).await.is_some(), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn facts_that_change_while_a_write_is_under_way_are_written_next() {
    let queue = queue();
    queue.add(1, ready(), Duration::ZERO);
    let mut taken = queue.take().await;
    taken.tries(ready());
    queue.add(1, print(&Verdict::Conflict), Duration::ZERO);
    taken.end(Outcome::Written);
    assert!(at_once(queue.take()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_in_a_hand_that_is_gone_comes_back() {
    let queue = queue();
    queue.add(1, ready(), Duration::ZERO);
    drop(queue.take().await);
    assert_eq!(queue.take().await.id(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_by_a_hand_that_is_gone_is_given_time_to_be_seen() {
    let queue = queue();
    queue.add(1, ready(), Duration::ZERO);
    let mut taken = queue.take().await;
    taken.tries(ready());
    taken.sends();
    drop(taken);
    queue.add(1, ready(), Duration::ZERO);
    let begun = Instant::now();
    assert_eq!(queue.take().await.id(), 1);
    assert!(begun.elapsed() >= Duration::from_millis(2500), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_a_pause_waits_for_it_unless_something_else_is_wanted() {
    let (queue, pause) = (queue(), Duration::from_secs(1));
    let failed = print(&Verdict::Failed("why".to_owned()));
    queue.add(1, failed, pause);
    queue.add(1, print(&Verdict::Failed("another".to_owned())), pause);
    assert!(at_once(queue.take()).await.is_none());
    let begun = Instant::now();
    drop(queue.take().await);
    assert_eq!(begun.elapsed().as_millis(), 1_000);
    queue.add(2, failed, pause);
    queue.add(2, ready(), Duration::ZERO);
    assert_eq!(at_once(queue.take()).await.map(|taken| taken.id()), Some(2));
}

#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_while_nobody_takes_leaves_nothing_behind() {
    let queue = queue();
    for round in 0..10_000 {
        queue.add(round % 10, ready(), Duration::ZERO);
        queue.remove(round % 10);
    }
    assert!(queue.state().due.len() < 100);
}

#[tokio::test(start_paused = true)]
async fn the_server_says_when_to_come_back() {
    let queue = queue();
    queue.add(1, ready(), Duration::ZERO);
    take_and_end(&queue, Outcome::Failed(Some(Duration::from_secs(20)))).await;
    let begun = Instant::now();
    queue.take().await;
    assert!(begun.elapsed() >= Duration::from_secs(20));
}
