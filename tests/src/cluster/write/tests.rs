use serde_json::json;

use super::*;

fn target(clock: &Clock, part: Part) -> Target<'_> {
    Target { kind: Kind::KIngress, namespace: "ns", name: "shop", part, clock }
}

fn put(step: Step) -> Value {
    let Step::Put(value) = step else { panic!("not stored: {step:?}") };
    value
}

/// An object as it is after its creation, with a version.
fn created(clock: &Clock) -> Value {
    let body = json!({"spec": {"rules": [1]}, "status": {"observedGeneration": 9}, "metadata": {"uid": "mine"}});
    let mut object = put(target(clock, Part::Main).create(None, body).unwrap());
    object["metadata"]["resourceVersion"] = "5".into();
    object
}

#[test]
fn a_creator_sets_neither_status_nor_what_the_server_owns() {
    let clock = Clock::new(1.0);
    let object = created(&clock);
    assert_eq!(object.get("status"), None);
    assert_eq!(object["metadata"]["generation"], 1);
    assert_eq!(object["metadata"]["namespace"], "ns");
    assert_eq!(object["metadata"]["uid"].as_str().unwrap().len(), 36);
}

#[test]
fn only_a_change_of_the_specification_counts_as_a_generation() {
    let clock = Clock::new(1.0);
    let old = created(&clock);
    let mut labelled = old.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let labelled = put(target(&clock, Part::Main).update(Some(old.clone()), labelled).unwrap());
    assert_eq!(labelled["metadata"]["generation"], 1);
    let mut changed = old.clone();
    changed["spec"] = json!({"rules": [2]});
    let changed = put(target(&clock, Part::Main).update(Some(old), changed).unwrap());
    assert_eq!(changed["metadata"]["generation"], 2);
}

#[test]
fn a_status_write_leaves_the_specification_and_the_other_way_round() {
    let clock = Clock::new(1.0);
    let old = created(&clock);
    let mut new = old.clone();
    new["spec"] = json!({"rules": []});
    new["status"] = json!({"observedGeneration": 1});
    let status = put(target(&clock, Part::Status).update(Some(old.clone()), new.clone()).unwrap());
    assert_eq!((&status["spec"], &status["status"]), (&old["spec"], &new["status"]));
    let main = put(target(&clock, Part::Main).update(Some(status.clone()), old.clone()).unwrap());
    assert_eq!(main["status"], status["status"]);
}

#[test]
fn a_write_over_another_version_is_a_conflict() {
    let clock = Clock::new(1.0);
    let old = created(&clock);
    let mut new = old.clone();
    new["metadata"]["resourceVersion"] = "4".into();
    let error = target(&clock, Part::Main).update(Some(old), new).unwrap_err();
    assert_eq!((error.code, error.reason), (409, "Conflict"));
}

#[test]
fn an_object_with_a_finalizer_goes_when_its_last_finalizer_does() {
    let clock = Clock::new(1.0);
    let mut old = created(&clock);
    old["metadata"]["finalizers"] = json!(["a/b"]);
    let main = target(&clock, Part::Main);
    let marked = put(delete(&main, Some(old), &Preconditions::default()).unwrap());
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let mut released = marked.clone();
    released["metadata"]["finalizers"] = json!([]);
    assert!(matches!(main.update(Some(marked), released).unwrap(), Step::Remove(_)));
}

#[test]
fn a_pod_on_a_node_ends_only_with_a_grace_period_of_zero() {
    let clock = Clock::new(1.0);
    let pod = Target { kind: Kind::Pod, ..target(&clock, Part::All) };
    let object = put(pod.create(None, json!({"spec": {"nodeName": "n"}})).unwrap());
    let marked = put(delete(&pod, Some(object), &Preconditions::default()).unwrap());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(matches!(delete(&pod, Some(marked), &Preconditions::grace_seconds(0)).unwrap(), Step::Remove(_)));
}
