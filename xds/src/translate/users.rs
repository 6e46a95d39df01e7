//! Who refers to a thing: a set of ids that costs nothing extra for its first member.

use hashbrown::HashSet;

/// The slot of an Ingress or KIngress among the translator's records.
pub(super) type IngressId = u32;

/// A set of [`IngressId`]s.
#[derive(Debug, Default)]
pub(super) enum Users {
    #[default]
    None,
    One(IngressId),
    Many(Box<HashSet<IngressId, foldhash::fast::RandomState>>),
}

impl Users {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_) => false,
            Self::Many(ids) => ids.is_empty(),
        }
    }

    pub(super) fn insert(&mut self, id: IngressId) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(first) if *first == id => {}
            Self::One(first) => *self = Self::Many(Box::new([*first, id].into_iter().collect())),
            Self::Many(ids) => {
                ids.insert(id);
            }
        }
    }

    pub(super) fn remove(&mut self, id: IngressId) {
        match self {
            Self::One(first) if *first == id => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(ids) => {
                ids.remove(&id);
                if ids.len() < 2 {
                    *self = ids.iter().next().map_or(Self::None, |id| Self::One(*id));
                }
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = IngressId> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(id) => (Some(*id), None),
            Self::Many(ids) => (None, Some(ids.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_shrinks_back_to_nothing() {
        let mut users = Users::default();
        for id in [1, 2, 2, 3] {
            users.insert(id);
        }
        let mut all: Vec<_> = users.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
        for id in [1, 3, 9, 2] {
            users.remove(id);
        }
        assert!(users.is_empty());
    }
}
