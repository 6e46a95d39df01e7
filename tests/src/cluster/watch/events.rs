//! The events of a watch.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::fault::Distortion;
use super::super::kind::Kind;
use super::super::object::{Key, Object};
use super::super::request::Shape;
use super::super::store::{Change, Verdict};

/// An event, with the object's state before it.
#[derive(Clone, Debug)]
pub(super) struct Event {
    verdict: Verdict,
    key: Option<Key>,
    object: Arc<Object>,
    before: Option<Arc<Object>>,
}

impl Event {
    /// An object that was there when the watch began.
    pub(super) fn added(object: Arc<Object>) -> Self {
        Self { verdict: Verdict::Added, key: None, object, before: None }
    }

    /// What a change is to a client who only sees some objects: one that begins or ceases to suit comes or goes.
    pub(super) fn of_change(kind: Kind, change: &Change, suits: impl Fn(&Key, &Object) -> bool) -> Option<Self> {
        let before = change.before.as_ref().filter(|before| suits(&change.key, before)).cloned();
        let now = change.verdict != Verdict::Deleted && suits(&change.key, &change.object);
        let (verdict, object) = match (&before, now) {
            (None, false) => return None,
            (None, true) => (Verdict::Added, Arc::clone(&change.object)),
            (Some(_), true) => (Verdict::Modified, Arc::clone(&change.object)),
            (Some(_), false) if change.verdict == Verdict::Deleted => (Verdict::Deleted, Arc::clone(&change.object)),
            // A real server shows the state that last suited, under the version at which it ceased to.
            (Some(before), false) => {
                let last = Object::encode(kind, change.object.revision, &mut before.value());
                (Verdict::Deleted, Arc::new(last))
            }
        };
        Some(Self { verdict, key: Some(Arc::clone(&change.key)), object, before })
    }

    /// Appends the line that goes out.
    pub(super) fn append(&self, out: &mut Vec<u8>, shape: Shape) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(self.verdict.word().as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        shape.append(out, &self.object);
        out.extend_from_slice(b"}\n");
    }
}

/// An event that is not about a change.
pub(super) fn line(kind: &str, object: &Value) -> Vec<u8> {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into_bytes()
}

/// Makes events differ from what happened.
pub(super) fn distort(mut events: Vec<Event>, distortions: &[Distortion]) -> Vec<Event> {
    for distortion in distortions {
        events = match distortion {
            Distortion::Repeat(more) => {
                events.into_iter().flat_map(|event| std::iter::repeat_n(event, more + 1)).collect()
            }
            Distortion::Reorder => reorder(events),
            Distortion::Stale => events.into_iter().flat_map(with_stale).collect(),
        };
    }
    events
}

/// Reverses the order of the objects, but keeps that of each object's events.
fn reorder(events: Vec<Event>) -> Vec<Event> {
    let mut order: Vec<Option<Key>> = Vec::new();
    let mut by_object: HashMap<Option<Key>, Vec<Event>> = HashMap::new();
    for event in events {
        let of_object = by_object.entry(event.key.clone()).or_default();
        if of_object.is_empty() {
            order.push(event.key.clone());
        }
        of_object.push(event);
    }
    order.into_iter().rev().flat_map(|key| by_object.remove(&key).unwrap_or_default()).collect()
}

fn with_stale(event: Event) -> Vec<Event> {
    match event.before.clone() {
        Some(before) => {
            let stale = Event { verdict: Verdict::Modified, object: before, ..event.clone() };
            vec![event.clone(), stale, event]
        }
        None => vec![event],
    }
}
