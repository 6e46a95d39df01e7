//! What the API server is known to hold of an object's status, in the few bytes that are kept for every Ingress.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use k8s_openapi::api::networking::v1::IngressStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::condition::{Condition, TYPES};
use super::publication::Address;
use super::wire::MANAGER;
use crate::object::{KIngressStatus, LoadBalancer};

/// The finalizer that Knative's ingress controllers share.
///
/// Earlier versions of Postern wrote it and kept nothing that it would protect. It is removed where Postern has written
/// it, and from whatever is being deleted: without its controller, the object could not go.
pub(crate) const FINALIZER: &str = "ingresses.networking.internal.knative.dev";

/// What the API server holds. 24 bytes: one is kept for every Ingress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// A [`Print`] in halves, so that no room is lost to alignment.
    print: [u32; 2],
    /// `lastTransitionTime` of each condition in [`TYPES`], in seconds since 1970; 0 if there is none.
    since: [u32; 3],
    generation: u32,
}

/// A fingerprint of a status, without its times.
///
/// 21 bits for each condition, so that it can be told which of them differ, and one for whether it is about the present
/// generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Print(u64);

const BITS: u32 = 21;
const MASK: u64 = (1 << BITS) - 1;
const OBSERVED: u64 = 1 << 63;

/// Where a KIngress' hosts are reached: outside and inside of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Balancers {
    pub(crate) public: LoadBalancer,
    pub(crate) private: LoadBalancer,
}

impl Published {
    /// What a KIngress says.
    pub(crate) fn of_kingress(metadata: &ObjectMeta, status: &KIngressStatus) -> Self {
        let seen = TYPES.map(|name| status.conditions.iter().find(|condition| condition.condition == name));
        let conditions = seen.map(|seen| seen.map(Condition::from));
        let balancers =
            Balancers { public: status.public_load_balancer.clone(), private: status.private_load_balancer.clone() };
        let observed = metadata.generation.unwrap_or_default() == status.observed_generation;
        let print = Print::of(observed, &conditions, &balancers);
        let since = seen.map(|seen| seen.map_or(0, |condition| seconds(&condition.last_transition_time)));
        Self { print: print.halves(), since, generation: generation(metadata) }
    }

    /// What an Ingress says.
    pub(crate) fn of_ingress(metadata: &ObjectMeta, status: Option<&IngressStatus>) -> Self {
        let balancer = status.and_then(|status| status.load_balancer.as_ref());
        let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
        let addresses: Vec<_> = ingress.iter().map(Address::from).collect();
        Self { print: Print::of_addresses(&addresses).halves(), since: [0; 3], generation: generation(metadata) }
    }

    /// The fingerprint.
    pub(crate) fn print(&self) -> Print {
        let [high, low] = self.print.map(u64::from);
        Print(high << 32 | low)
    }

    /// The generation that the object has.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Since when each condition is as it is; 0 where that is not known.
    pub(crate) fn since(&self) -> [u32; 3] {
        self.since
    }
}

impl Print {
    /// Of conditions in the order of [`TYPES`], of the present generation or not. Load balancers count once they are
    /// ready; before, Knative leaves there what there was.
    pub(crate) fn of(observed: bool, conditions: &[Option<Condition<'_>>; 3], balancers: &Balancers) -> Self {
        let [network, balancer, ready] = conditions;
        let used = balancer.as_ref().is_some_and(|condition| condition.status == "True").then_some(balancers);
        let part = |hash: u64, place: u32| (hash & MASK) << (place * BITS);
        let print = part(hash(network), 0) | part(hash(&(balancer, used)), 1) | part(hash(ready), 2);
        Self(if observed { print | OBSERVED } else { print })
    }

    /// Of the addresses of an Ingress.
    pub(crate) fn of_addresses(addresses: &[Address]) -> Self {
        Self(hash(addresses))
    }

    /// Which of the conditions are the same.
    pub(crate) fn same_conditions(self, other: Self) -> [bool; 3] {
        [0, 1, 2].map(|place: u32| (self.0 ^ other.0) >> (place * BITS) & MASK == 0)
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is cut into its halves")]
    fn halves(self) -> [u32; 2] {
        [(self.0 >> 32) as u32, self.0 as u32]
    }
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    FixedState::default().hash_one(value)
}

/// 2^32 changes of one object are out of reach.
fn generation(metadata: &ObjectMeta) -> u32 {
    u32::try_from(metadata.generation.unwrap_or_default()).unwrap_or_default()
}

fn seconds(time: &str) -> u32 {
    time.parse().ok().and_then(|time: jiff::Timestamp| u32::try_from(time.as_second()).ok()).unwrap_or_default()
}

/// What of an object besides its status decides about what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    const FINALIZER: u8 = 1;
    const ENDS: u8 = 2;
    const REJECTED: u8 = 4;
    const OWN_FINALIZER: u8 = 8;

    /// What the metadata says.
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let has_finalizer = metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
        Self::default()
            .with(Self::FINALIZER, has_finalizer)
            .with(Self::OWN_FINALIZER, has_finalizer && owns_finalizer(metadata))
            .with(Self::ENDS, metadata.deletion_timestamp.is_some())
    }

    /// The same, and whether the object is rejected.
    pub(crate) fn rejected(self, is_rejected: bool) -> Self {
        self.with(Self::REJECTED, is_rejected)
    }

    fn with(self, flag: u8, is_set: bool) -> Self {
        if is_set { Self(self.0 | flag) } else { self }
    }

    /// It has [`FINALIZER`].
    fn has_finalizer(self) -> bool {
        self.0 & Self::FINALIZER != 0
    }

    /// Returns `true` if it has [`FINALIZER`] by Postern's own hand, or is being deleted with it.
    pub(crate) fn has_finalizer_to_remove(self) -> bool {
        self.0 & Self::OWN_FINALIZER != 0 || self.has_finalizer() && self.ends()
    }

    /// It is being deleted.
    pub(crate) fn ends(self) -> bool {
        self.0 & Self::ENDS != 0
    }

    /// It is not accepted as it is now.
    pub(crate) fn is_rejected(self) -> bool {
        self.0 & Self::REJECTED != 0
    }
}

/// Returns `true` if Postern has set [`FINALIZER`], by `managedFields` (structured-merge-diff's `FieldsV1`). A list that
/// the server takes for atomic is an empty map there.
fn owns_finalizer(metadata: &ObjectMeta) -> bool {
    let own = metadata.managed_fields.iter().flatten().filter(|entry| entry.manager.as_deref() == Some(MANAGER));
    let mut fields = own.filter_map(|entry| entry.fields_v1.as_ref()?.0.pointer("/f:metadata/f:finalizers"));
    fields.any(|set| {
        let names = set.as_object();
        names.is_some_and(|names| names.is_empty() || names.contains_key(&format!("v:\"{FINALIZER}\"")))
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::serde_json::json;

    use super::*;
    use crate::object::StatusCondition;
    use crate::status::condition::Verdict;

    fn seen(verdict: &Verdict, generation: i64) -> KIngressStatus {
        let conditions = TYPES.iter().zip(verdict.conditions()).map(|(name, condition)| StatusCondition {
            condition: (*name).to_owned(),
            status: condition.status.to_string(),
            reason: condition.reason.to_string(),
            message: condition.message.to_string(),
            last_transition_time: "2026-11-21T10:00:00Z".to_owned(),
        });
        KIngressStatus {
            observed_generation: generation,
            conditions: conditions.collect(),
            public_load_balancer: LoadBalancer::internal("public"),
            private_load_balancer: LoadBalancer::internal("private"),
        }
    }

    fn metadata(generation: i64) -> ObjectMeta {
        ObjectMeta { generation: Some(generation), ..ObjectMeta::default() }
    }

    fn ours() -> Balancers {
        Balancers { public: LoadBalancer::internal("public"), private: LoadBalancer::internal("private") }
    }

    #[test]
    fn what_is_kept_is_small() {
        assert_eq!(std::mem::size_of::<Published>(), 24);
    }

    #[test]
    fn a_status_as_it_should_be_is_recognised() {
        for verdict in [Verdict::Served, Verdict::Waiting, Verdict::Conflict, Verdict::Failed("why".to_owned())] {
            let published = Published::of_kingress(&metadata(3), &seen(&verdict, 3));
            assert_eq!(published.print(), verdict.print(&ours()), "{verdict:?}");
            assert_eq!(published.since()[2], 1_795_255_200);
        }
    }

    #[test]
    fn another_generation_condition_message_or_load_balancer_differs() {
        let served = Published::of_kingress(&metadata(3), &seen(&Verdict::Served, 3)).print();
        assert_ne!(Published::of_kingress(&metadata(4), &seen(&Verdict::Served, 3)).print(), served);
        assert_ne!(Verdict::Waiting.print(&ours()), served);
        assert_ne!(Verdict::Failed("a".to_owned()).print(&ours()), Verdict::Failed("b".to_owned()).print(&ours()));
        let moved = Balancers { public: LoadBalancer::internal("elsewhere"), ..ours() };
        assert_ne!(Verdict::Served.print(&moved), served);
        assert_eq!(Verdict::Waiting.print(&moved), Verdict::Waiting.print(&ours()), "nothing is promised of them yet");
    }

    #[test]
    fn it_is_known_which_condition_differs() {
        let (served, waiting) = (Verdict::Served.print(&ours()), Verdict::Waiting.print(&ours()));
        assert_eq!(served.same_conditions(waiting), [true, false, false]);
        let old = Published::of_kingress(&metadata(4), &seen(&Verdict::Served, 3)).print();
        assert_eq!(served.same_conditions(old), [true, true, true], "only the generation differs");
    }

    #[test]
    fn the_finalizer_is_removed_where_postern_has_set_it_and_from_what_is_deleted() {
        let name = format!("v:\"{FINALIZER}\"");
        let set = json!({"f:metadata": {"f:finalizers": {".": {}, name: {}}}});
        let atomic = json!({"f:metadata": {"f:finalizers": {}}});
        let other = json!({"f:metadata": {"f:finalizers": {"v:\"example.com/other\"": {}}}});
        for (manager, fields, deleted, removes) in [
            ("postern", &set, false, true),
            ("postern", &atomic, false, true),
            ("postern", &other, false, false),
            ("controller", &set, false, false),
            ("controller", &set, true, true),
        ] {
            let mut metadata: ObjectMeta = serde_json::from_value(json!({
                "finalizers": [FINALIZER], "managedFields": [{"manager": manager, "fieldsV1": fields}],
            }))
            .unwrap();
            metadata.deletion_timestamp =
                deleted.then(|| serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
            assert_eq!(Marks::of(&metadata).has_finalizer_to_remove(), removes, "{manager} {fields}");
            metadata.finalizers = None;
            assert!(!Marks::of(&metadata).has_finalizer_to_remove());
        }
    }
}
