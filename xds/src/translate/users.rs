//! Who refers to a thing: a set of ids that costs four bytes unless it has several members.

use hashbrown::HashSet;

use crate::store::Slots;

/// The number of an Ingress or KIngress among the translator's records. Below 2^31: each takes more than four bytes.
pub(super) type IngressId = u32;

/// A set of [`IngressId`]s: none, the only one, or the number of a set among the [`Crowds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Users(u32);

/// The sets with several members.
#[derive(Debug, Default)]
pub(super) struct Crowds(Slots<HashSet<IngressId, foldhash::fast::RandomState>>);

/// Marks the number of a crowd.
const CROWD: u32 = 1 << 31;

impl Users {
    /// Nobody.
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    fn crowd(self) -> Option<u32> {
        (self.0 & CROWD != 0 && !self.is_empty()).then_some(self.0 & !CROWD)
    }

    fn only(self) -> Option<IngressId> {
        (self.0 & CROWD == 0).then_some(self.0)
    }
}

impl Crowds {
    /// The set with one more member.
    pub(super) fn insert(&mut self, users: Users, id: IngressId) -> Users {
        match users.only() {
            _ if users.is_empty() => Users(id),
            Some(only) if only == id => users,
            Some(only) => Users(self.0.insert([only, id].into_iter().collect()) | CROWD),
            None => {
                if let Some(crowd) = users.crowd().and_then(|crowd| self.0.get_mut(crowd)) {
                    crowd.insert(id);
                }
                users
            }
        }
    }

    /// The set without a member.
    pub(super) fn remove(&mut self, users: Users, id: IngressId) -> Users {
        let Some(number) = users.crowd() else { return if users.0 == id { Users::NONE } else { users } };
        let Some(crowd) = self.0.get_mut(number) else { return users };
        crowd.remove(&id);
        if crowd.len() > 1 {
            return users;
        }
        let left = self.0.remove(number).and_then(|crowd| crowd.into_iter().next());
        left.map_or(Users::NONE, Users)
    }

    /// The members of a set, in no order.
    pub(super) fn iter(&self, users: Users) -> impl Iterator<Item = IngressId> {
        let crowd = users.crowd().and_then(|crowd| self.0.get(crowd));
        users.only().into_iter().chain(crowd.into_iter().flatten().copied())
    }

    /// How many sets have several members.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_shrinks_back_to_nothing() {
        let (mut crowds, mut users) = (Crowds::default(), Users::NONE);
        for id in [1, 2, 2, 3] {
            users = crowds.insert(users, id);
        }
        let mut all: Vec<_> = crowds.iter(users).collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
        for id in [1, 3, 9, 2] {
            users = crowds.remove(users, id);
        }
        assert!(users.is_empty());
        assert_eq!((crowds.iter(users).count(), crowds.len()), (0, 0));
    }
}
