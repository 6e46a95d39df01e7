use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;

use super::*;
use crate::object::{Object, ObjectKind, ObjectRef};

fn queue(objects: usize) -> WorkQueue {
    WorkQueue::new(Bounds { objects, bytes: 1000 })
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { kind: ObjectKind::ConfigMap, object: ObjectRef::new("shop", name) }
}

fn applied(name: &str) -> ObjectEvent {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    ObjectEvent::Applied(Object::ConfigMap(Box::new(map)))
}

#[tokio::test]
async fn the_latest_state_of_an_object_takes_the_place_of_the_one_that_waits() {
    let queue = queue(10);
    queue.push(key("a"), applied("first"), 1).await;
    queue.push(key("b"), applied("b"), 1).await;
    queue.push(key("a"), applied("second"), 1).await;
    queue.push(key("b"), ObjectEvent::Deleted(key("b")), 1).await;
    assert_eq!(queue.take().await, [applied("second"), ObjectEvent::Deleted(key("b"))]);
}

#[tokio::test]
async fn what_was_taken_is_said_again_when_it_changes_again() {
    let queue = queue(10);
    queue.push(key("a"), applied("first"), 1).await;
    queue.take().await;
    queue.push(key("a"), applied("second"), 1).await;
    assert_eq!(queue.take().await, [applied("second")]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_its_writers_wait_and_loses_nothing() {
    let queue = Arc::new(queue(2));
    let writer = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            for number in 0..50 {
                let name = number.to_string();
                queue.push(key(&name), applied(&name), 1).await;
            }
        }
    });
    let mut names = Vec::new();
    while names.len() < 50 {
        tokio::task::yield_now().await;
        assert!(queue.backlog().objects <= 2);
        names.extend(queue.take().await);
    }
    assert_eq!(names, (0..50).map(|number| applied(&number.to_string())).collect::<Vec<_>>());
    writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_and_one_large_object_passes_all_the_same() {
    let queue = queue(10);
    queue.push(key("a"), applied("a"), 5000).await;
    let second = queue.push(key("b"), applied("b"), 1);
    tokio::pin!(second);
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut second).await.is_err(), "it waits");
    assert_eq!(queue.take().await, [applied("a")]);
    second.await;
    assert_eq!(queue.take().await, [applied("b")]);
}

#[tokio::test]
async fn synced_follows_what_was_there_and_does_not_wait_for_what_comes_after() {
    let queue = queue(10);
    queue.push(key("a"), applied("a"), 1).await;
    queue.mark_synced();
    queue.push(key("b"), applied("b"), 1).await;
    assert_eq!(queue.take().await, [applied("a"), ObjectEvent::Synced]);
    queue.mark_synced();
    assert_eq!(queue.take().await, [applied("b")]);
}

#[tokio::test]
async fn an_empty_cluster_is_synced() {
    let queue = queue(10);
    queue.mark_synced();
    assert_eq!(queue.take().await, [ObjectEvent::Synced]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_dropped_while_it_waits_takes_nothing() {
    let queue = queue(10);
    assert!(tokio::time::timeout(Duration::from_secs(1), queue.take()).await.is_err());
    queue.push(key("a"), applied("a"), 1).await;
    assert_eq!(queue.take().await, [applied("a")]);
}

#[tokio::test(start_paused = true)]
async fn the_age_is_that_of_the_first_change_that_waits() {
    let queue = queue(10);
    queue.push(key("a"), applied("first"), 1).await;
    tokio::time::advance(Duration::from_secs(3)).await;
    queue.push(key("a"), applied("second"), 1).await;
    assert_eq!(queue.backlog(), Backlog { objects: 1, age: Duration::from_secs(3) });
}
