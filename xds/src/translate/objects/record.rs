//! What is kept of an Ingress or KIngress, and how it is read.

use std::sync::Arc;

use super::claim::{Claim, NewClaim, Owner};
use crate::object::{ObjectKey, ObjectKind, ObjectRef};
use crate::packed::{Reader, put_number};
use crate::resource::{PackedRouteSet, Visibility, WildcardDepth};
use crate::status::{Marks, Published};
use crate::store::NamespaceId;
use crate::translate::host::{self, LOCAL_ENDS};
use crate::translate::users::IngressId;

/// An Ingress or KIngress on record.
#[derive(Clone, Copy, Debug)]
pub(in crate::translate) struct Record<'a> {
    pub(in crate::translate) id: IngressId,
    pub(in crate::translate) namespace: &'a Arc<str>,
    pub(in crate::translate) name: &'a str,
    /// Creation time in seconds; see [`crate::translate::draft::created`].
    pub(in crate::translate) created: i64,
    pub(in crate::translate) routes: &'a [PackedRouteSet],
    pub(in crate::translate) state: RecordState,
    /// The pack, of which this much has been read above.
    pub(super) pack: &'a [u8],
    pub(super) claims_at: usize,
}

/// What changes of a record while the object does not.
#[derive(Clone, Copy, Debug)]
pub(in crate::translate) struct RecordState {
    pub(in crate::translate) is_kingress: bool,
    /// For a KIngress: that no older object owns one of its hosts. For an Ingress: that its class is ours.
    pub(in crate::translate) in_effect: bool,
    /// That it has faults for what it refers to.
    pub(in crate::translate) reported: bool,
    /// What its metadata says about its end, and whether it is rejected as it is now.
    pub(in crate::translate) marks: Marks,
    /// What its status says.
    pub(in crate::translate) published: Published,
}

/// A virtual host with its routes packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Serving {
    pub(in crate::translate) routes: PackedRouteSet,
    pub(in crate::translate) visibility: Visibility,
    pub(in crate::translate) wildcard_depth: WildcardDepth,
    pub(in crate::translate) redirect_to_https: bool,
}

/// The head of a pack: all but the claims.
pub(super) struct Head<'a> {
    pub(super) namespace: NamespaceId,
    pub(super) created: i64,
    pub(super) name: &'a str,
}

/// Packs what is kept of an object besides its routes.
pub(super) fn pack(head: &Head<'_>, namespace: &str, claims: &[NewClaim]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    put_number(&mut bytes, head.namespace.into());
    put_number(&mut bytes, head.created.cast_unsigned());
    put_number(&mut bytes, head.name.len() as u64);
    bytes.extend_from_slice(head.name.as_bytes());
    let owner = Owner { name: head.name, namespace };
    for claim in claims {
        claim.pack(owner, &mut bytes);
    }
    bytes
}

impl RecordState {
    /// Of an object that is not in effect, and of which nothing is known yet.
    pub(super) fn new(is_kingress: bool) -> Self {
        let (marks, published) = (Marks::default(), Published::default());
        Self { is_kingress, in_effect: false, reported: false, marks, published }
    }
}

impl<'a> Head<'a> {
    /// Reads the head of a pack, and how long it is.
    pub(super) fn read(pack: &'a [u8]) -> Option<(Self, usize)> {
        let mut bytes = Reader(pack);
        let namespace = u32::try_from(bytes.number()?).ok()?;
        let created = bytes.number()?.cast_signed();
        let length = usize::try_from(bytes.number()?).ok()?;
        let name = bytes.text_of(length)?;
        Some((Self { namespace, created, name }, pack.len() - bytes.0.len()))
    }
}

impl<'a> Record<'a> {
    /// What the object claims.
    pub(in crate::translate) fn claims(self) -> impl Iterator<Item = Claim<'a>> {
        self.claims_from(self.claims_at).map(|(_, claim)| claim)
    }

    /// Where in the pack the first of each run of claims for hosts of one family stands, and the family.
    pub(super) fn families(self) -> impl Iterator<Item = (usize, String)> {
        let mut before = String::new();
        self.claims_from(self.claims_at).filter_map(move |(at, claim)| {
            let host = claim.host();
            let family = host::family(&host);
            (before != family).then(|| {
                family.clone_into(&mut before);
                (at, family.to_owned())
            })
        })
    }

    /// The claims from a place in the pack on that are for hosts of one family: three at most.
    pub(super) fn family_at(self, at: usize) -> impl Iterator<Item = Claim<'a>> {
        self.claims_from(at).map(|(_, claim)| claim).take(LOCAL_ENDS.len())
    }

    fn claims_from(self, at: usize) -> impl Iterator<Item = (usize, Claim<'a>)> {
        let (pack, owner) = (self.pack, self.owner());
        let mut bytes = Reader(pack.get(at..).unwrap_or_default());
        std::iter::from_fn(move || {
            let at = pack.len() - bytes.0.len();
            Some((at, Claim::read(owner, &mut bytes)?))
        })
    }

    fn owner(&self) -> Owner<'a> {
        Owner { name: self.name, namespace: self.namespace }
    }

    pub(in crate::translate) fn kind(&self) -> ObjectKind {
        if self.is_kingress() { ObjectKind::KIngress } else { ObjectKind::Ingress }
    }

    pub(in crate::translate) fn is_kingress(&self) -> bool {
        self.state.is_kingress
    }

    pub(in crate::translate) fn in_effect(&self) -> bool {
        self.state.in_effect
    }

    /// How the object would serve one of its hosts.
    pub(in crate::translate) fn serving(&self, claim: &Claim<'_>) -> Option<Serving> {
        Some(Serving {
            routes: self.routes.get(claim.routes()?)?.clone(),
            visibility: claim.visibility,
            wildcard_depth: if self.is_kingress() { WildcardDepth::Any } else { WildcardDepth::One },
            redirect_to_https: claim.redirect_to_https,
        })
    }

    pub(in crate::translate) fn key(&self) -> ObjectKey {
        let object = ObjectRef { namespace: Arc::clone(self.namespace), name: Arc::from(self.name) };
        ObjectKey { kind: self.kind(), object }
    }

    /// Orders objects by age; among equals by namespace and name. Smaller is older.
    pub(in crate::translate) fn age(&self) -> (i64, &'a str, &'a str, ObjectKind) {
        (self.created, self.namespace, self.name, self.kind())
    }

    pub(in crate::translate) fn is_older(&self, other: &Record<'_>) -> bool {
        self.age() < other.age()
    }
}
