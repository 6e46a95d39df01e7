use std::collections::HashMap;

use super::*;

fn name(number: u64) -> Arc<str> {
    Arc::from(format!("svc-{number}.test"))
}

/// A value and its tag.
fn both(number: u64) -> (u64, u8) {
    (number, number.to_le_bytes()[0])
}

fn insert(map: &mut NameMap<u64, u8>, name: Arc<str>, number: u64) -> Option<(u64, u8)> {
    let (value, tag) = both(number);
    map.insert(name, value, tag)
}

fn sorted(map: &NameMap<u64, u8>) -> Vec<(Arc<str>, (u64, u8))> {
    let mut all: Vec<_> = map.iter().map(|entry| (Arc::clone(&entry.name), (entry.value, entry.tag))).collect();
    all.sort_unstable();
    all
}

fn sorted_model(model: &HashMap<Arc<str>, (u64, u8)>) -> Vec<(Arc<str>, (u64, u8))> {
    let mut all: Vec<_> = model.iter().map(|(name, content)| (Arc::clone(name), *content)).collect();
    all.sort_unstable();
    all
}

#[test]
fn it_holds_what_a_hash_map_holds_after_any_changes() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut map = NameMap::default();
    let mut model = HashMap::new();
    for step in 0..40_000 {
        let name = name(random.u64(..3_000));
        // Grows first, shrinks in the end.
        if random.u64(..40_000) > step {
            assert_eq!(insert(&mut map, Arc::clone(&name), step), model.insert(name, both(step)));
        } else {
            assert_eq!(map.remove(&name), model.remove(&name));
        }
        assert_eq!(map.len(), model.len());
    }
    assert_eq!(sorted(&map), sorted_model(&model));
    let found = |name: &Arc<str>| map.get(name).map(|entry| (entry.value, entry.tag));
    assert!(model.iter().all(|(name, content)| found(name) == Some(*content)));
    assert_sorted(&map.root);
}

fn assert_sorted(node: &Node<u64, u8>) {
    match node {
        Node::Leaf(entries) => assert!(entries.is_sorted_by_key(|entry| entry.hash)),
        Node::Inner(children) => children.iter().for_each(assert_sorted),
    }
}

#[test]
fn clones_taken_on_the_way_keep_what_they_saw() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut map = NameMap::default();
    let mut model = HashMap::new();
    let mut taken = Vec::new();
    for step in 0..20_000 {
        let name = name(random.u64(..1_000));
        if random.bool() {
            insert(&mut map, Arc::clone(&name), step);
            model.insert(name, both(step));
        } else {
            map.remove(&name);
            model.remove(&name);
        }
        if step % 500 == 0 {
            taken.push((map.clone(), model.clone()));
        }
    }
    for (map, model) in &taken {
        assert_eq!(sorted(map), sorted_model(model));
    }
}

#[test]
fn an_emptied_map_is_one_leaf_again() {
    let mut map = NameMap::default();
    for number in 0..5_000 {
        insert(&mut map, name(number), number);
    }
    for number in 0..5_000 {
        assert_eq!(map.remove(&name(number)), Some(both(number)));
    }
    assert!(map.is_empty());
    assert!(matches!(&map.root, Node::Leaf(entries) if entries.is_empty()));
}

#[test]
fn what_is_removed_is_not_held_any_more() {
    let mut map = NameMap::default();
    let names: Vec<_> = (0..1_000).map(name).collect();
    for (number, name) in (0..).zip(&names) {
        insert(&mut map, Arc::clone(name), number);
    }
    for name in &names[..900] {
        map.remove(name);
    }
    assert!(names[..900].iter().all(|name| Arc::strong_count(name) == 1));
    assert!(names[900..].iter().all(|name| Arc::strong_count(name) == 2));
}

#[test]
fn a_change_copies_one_path_and_shares_the_rest() {
    let mut map = NameMap::default();
    for number in 0..10_000 {
        insert(&mut map, name(number), number);
    }
    let before = map.clone();
    insert(&mut map, name(77), 1);
    assert_eq!(new_leaves(&before.root, &map.root), 1);
}

/// How many leaves of `new` are not also in `old`.
fn new_leaves(old: &Node<u64, u8>, new: &Node<u64, u8>) -> usize {
    match (old, new) {
        (Node::Leaf(old), Node::Leaf(new)) => usize::from(!Arc::ptr_eq(old, new)),
        (Node::Inner(old), Node::Inner(new)) => {
            if Arc::ptr_eq(old, new) {
                0
            } else {
                old.iter().zip(&**new).map(|(old, new)| new_leaves(old, new)).sum()
            }
        }
        _ => panic!("a replaced value must not change the shape"),
    }
}

#[test]
fn names_of_one_hash_are_told_apart() {
    let mut root = Node::Leaf(Arc::new([]));
    let count = LEAF as u64 * 3;
    for number in 0..count {
        // Some others lie beside them.
        for hash in [41, 42, 43, 42 + (1 << 31)] {
            root.insert(0, Entry { name: name(number), value: number, tag: (), hash });
        }
    }
    for number in 0..count {
        assert_eq!(root.remove(0, 42, &name(number)), Some((number, ())));
        assert_eq!(root.remove(0, 42, &name(number)), None);
    }
    for number in 0..count {
        assert_eq!(root.remove(0, 42 + (1 << 31), &name(number)), Some((number, ())));
    }
}

#[test]
fn an_unknown_name_is_not_found() {
    let mut map = NameMap::default();
    assert!(map.get("a").is_none());
    insert(&mut map, name(1), 1);
    assert!(map.get("a").is_none());
    assert_eq!(map.remove("a"), None);
}

#[test]
fn a_tag_of_four_bytes_takes_no_room_of_its_own() {
    assert_eq!(size_of::<Entry<Arc<u8>, [u8; 4]>>(), 32);
    assert_eq!(size_of::<Node<u64, u8>>(), 16);
}
