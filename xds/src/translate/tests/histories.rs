//! However events arrive, what is in effect in the end is a function of the objects that there are.
//!
//! A history is a random sequence of changes to a few objects that share hosts, Services, Secrets and classes. A source tells
//! it kind by kind, each at its own pace: some events twice, some after the state before them once more, some not at all, because a
//! list brings what they led to. A translator that heard it so must end where one ends that begins with the last state.

use fastrand::Rng;

use super::*;

/// What may exist: its kind, its name, and for a slice its Service.
const SLOTS: [(ObjectKind, &str); 16] = [
    (ObjectKind::Service, "a"),
    (ObjectKind::Service, "b"),
    (ObjectKind::Service, "c"),
    (ObjectKind::EndpointSlice, "a-1"),
    (ObjectKind::EndpointSlice, "a-2"),
    (ObjectKind::EndpointSlice, "b-1"),
    (ObjectKind::EndpointSlice, "c-1"),
    (ObjectKind::Secret, "s"),
    (ObjectKind::Secret, "t"),
    (ObjectKind::KIngress, "k"),
    (ObjectKind::KIngress, "l"),
    (ObjectKind::KIngress, "m"),
    (ObjectKind::Ingress, "i"),
    (ObjectKind::Ingress, "j"),
    (ObjectKind::IngressClass, "edge"),
    (ObjectKind::IngressClass, "postern"),
];

const KINDS: [ObjectKind; 6] = [
    ObjectKind::Service,
    ObjectKind::EndpointSlice,
    ObjectKind::Secret,
    ObjectKind::KIngress,
    ObjectKind::Ingress,
    ObjectKind::IngressClass,
];

/// Names of Services and Secrets that are referred to. The last of each never exists.
const SERVICES: [&str; 4] = ["a", "b", "c", "d"];
const SECRETS: [&str; 3] = ["s", "t", "u"];

const HOSTS: [&str; 4] = ["one.test", "two.test", "three.test", "*.test"];

/// How many changes a history has.
const CHANGES: usize = 80;

/// The object in a slot is now this one, or is gone.
type Change = (usize, Option<Object>);

fn one_of<T: Copy>(random: &mut Rng, choices: &[T]) -> T {
    choices[random.usize(..choices.len())]
}

fn key(slot: usize) -> ObjectKey {
    let (kind, name) = SLOTS[slot];
    let object = if kind == ObjectKind::IngressClass { ObjectRef::new("", name) } else { reference(name) };
    ObjectKey { kind, object }
}

/// An object for a slot, of an age.
fn object(random: &mut Rng, slot: usize, second: u32) -> Object {
    let (kind, name) = SLOTS[slot];
    match kind {
        ObjectKind::Service => random_service(random, name),
        ObjectKind::EndpointSlice => {
            let addresses: Vec<_> =
                ["10.0.0.1", "10.0.0.2", "10.0.0.3"].into_iter().filter(|_| random.bool()).collect();
            pods(name, &name[..1], one_of(random, &[8080, 8081]), &addresses)
        }
        ObjectKind::Secret => secret(name, one_of(random, &["1", "2", "3"])),
        ObjectKind::KIngress => random_kingress(random, name, second),
        ObjectKind::Ingress => random_ingress(random, name, second),
        _ => class(name, one_of(random, &["postern.dev/ingress-controller", "other.test/controller"]), random.bool()),
    }
}

fn random_service(random: &mut Rng, name: &str) -> Object {
    let spec = match random.u8(..4) {
        0 => json!({"type": "ExternalName", "externalName": "outside.test", "ports": [{"name": "http", "port": 80}]}),
        1 => json!({"ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "more", "port": 81}]}),
        2 => json!({"ports": [{"name": "h2c", "port": 80}]}),
        _ => json!({"ports": [{"name": "http", "port": 80}]}),
    };
    service(name, spec)
}

fn random_kingress(random: &mut Rng, name: &str, second: u32) -> Object {
    let mut hosts = HOSTS[..3].to_vec();
    random.shuffle(&mut hosts);
    hosts.truncate(random.usize(1..=2));
    let (visibility, service) = (one_of(random, &["ExternalIP", "ClusterLocal"]), one_of(random, &SERVICES));
    let mut spec = json!({"rules": [rule(&hosts, visibility, service)]});
    if random.bool() {
        let secret = one_of(random, &SECRETS);
        spec["tls"] = json!([{"hosts": hosts, "secretName": secret, "secretNamespace": "shop"}]);
    }
    kingress_with(name, &made(second), spec)
}

fn random_ingress(random: &mut Rng, name: &str, second: u32) -> Object {
    let (host, path) = (one_of(random, &HOSTS), one_of(random, &["/", "/x", "/y"]));
    let paths = json!([{"path": path, "pathType": "Prefix", "backend": backend(one_of(random, &SERVICES))}]);
    let mut spec = json!({"rules": [{"host": host, "http": {"paths": paths}}]});
    spec["ingressClassName"] = one_of(random, &["postern", "edge"]).into();
    if random.bool() {
        spec["tls"] = json!([{"hosts": [host], "secretName": one_of(random, &SECRETS)}]);
    }
    ingress_with(name, &made(second), spec)
}

/// A history. An object keeps its age until it is deleted.
fn history(random: &mut Rng) -> Vec<Change> {
    let mut made = [None; SLOTS.len()];
    (0..CHANGES)
        .map(|_| {
            let slot = random.usize(..SLOTS.len());
            if made[slot].is_some() && random.u8(..4) == 0 {
                made[slot] = None;
                return (slot, None);
            }
            let second = *made[slot].get_or_insert_with(|| random.u32(..60));
            (slot, Some(object(random, slot, second)))
        })
        .collect()
}

/// The last state of each slot that a part of a history mentions.
fn last_states<'a>(changes: impl IntoIterator<Item = &'a Change>) -> BTreeMap<usize, Option<Object>> {
    changes.into_iter().cloned().collect()
}

/// A source that tells a history.
struct Teller<'a> {
    random: &'a mut Rng,
    world: World,
}

impl Teller<'_> {
    fn tell(&mut self, slot: usize, state: Option<&Object>) {
        let event =
            state.map_or_else(|| ObjectEvent::Deleted(key(slot)), |object| ObjectEvent::Applied(object.clone()));
        self.world.translator.accept(event);
        if self.random.u8(..3) == 0 {
            self.world.flush();
        }
    }

    /// Tells the changes of one kind from a place on, as a watch or a list might. Returns up to where.
    fn go_on(&mut self, of_kind: &[Change], from: usize) -> usize {
        let (slot, state) = &of_kind[from];
        let before = of_kind[..from].iter().rev().find(|(other, _)| other == slot).map(|(_, state)| state);
        match self.random.u8(..10) {
            0 => {
                let upto = from + self.random.usize(1..=of_kind.len() - from);
                let mut listed: Vec<_> = last_states(&of_kind[..upto]).into_iter().collect();
                self.random.shuffle(&mut listed);
                for (slot, state) in &listed {
                    self.tell(*slot, state.as_ref());
                }
                return upto;
            }
            1 => self.tell(*slot, state.as_ref()),
            2 if before.is_some() => {
                self.tell(*slot, state.as_ref());
                self.tell(*slot, before.and_then(Option::as_ref));
            }
            _ => {}
        }
        self.tell(*slot, state.as_ref());
        from + 1
    }

    /// Tells everything, the kinds in any order.
    fn tell_all(mut self, history: &[Change]) -> World {
        let of = |kind| history.iter().filter(|(slot, _)| SLOTS[*slot].0 == kind).cloned().collect::<Vec<_>>();
        let mut left: Vec<(Vec<Change>, usize)> = KINDS.into_iter().map(|kind| (of(kind), 0)).collect();
        left.retain(|(changes, _)| !changes.is_empty());
        while !left.is_empty() {
            let at = self.random.usize(..left.len());
            let (changes, from) = &mut left[at];
            *from = self.go_on(changes, *from);
            if *from == changes.len() {
                left.swap_remove(at);
            }
        }
        self.world.flush();
        self.world
    }
}

#[test]
fn a_history_told_in_any_way_ends_where_a_fresh_start_does() {
    for seed in 0..200 {
        let mut random = Rng::with_seed(seed);
        let history = history(&mut random);
        let told = Teller { random: &mut random, world: World::new() }.tell_all(&history);
        let mut objects: Vec<_> = last_states(&history).into_values().flatten().collect();
        random.shuffle(&mut objects);
        let mut fresh = World::new();
        fresh.apply(objects);
        assert_eq!(told.hosts, fresh.hosts, "virtual hosts with seed {seed}");
        assert_eq!(told.routes, fresh.routes, "routes with seed {seed}");
        assert_eq!(told.bindings, fresh.bindings, "TLS bindings with seed {seed}");
        assert_eq!(told.clusters, fresh.clusters, "clusters with seed {seed}");
        assert_eq!(told.endpoints, fresh.endpoints, "endpoints with seed {seed}");
        assert_eq!(told.secrets, fresh.secrets, "Secrets with seed {seed}");
        assert_eq!(told.faults(), fresh.faults(), "faults with seed {seed}");
        let records = |world: &World| world.translator.state.sizes();
        assert_eq!(records(&told), records(&fresh), "what is on record with seed {seed}");
    }
}

#[test]
fn a_history_whose_objects_all_go_leaves_nothing() {
    for seed in 0..50 {
        let mut random = Rng::with_seed(seed);
        let mut history = history(&mut random);
        history.extend((0..SLOTS.len()).map(|slot| (slot, None)));
        let world = Teller { random: &mut random, world: World::new() }.tell_all(&history);
        let left = world.hosts.len() + world.bindings.len() + world.clusters.len() + world.endpoints.len();
        assert_eq!((left, world.secrets.len(), world.faults()), (0, 0, Vec::new()), "with seed {seed}");
    }
}
