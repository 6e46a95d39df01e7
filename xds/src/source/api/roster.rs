//! Which Secrets exist in a cluster, and which of them somebody refers to.
//!
//! Any type of Secret may hold a certificate, so all of a cluster are watched: most are an application's own, or a
//! release of Helm, and nobody here refers to them. Of these no name is kept but 17 bytes (a hash and the version), so that
//! it is known at once whether a Secret exists that an object begins to refer to; and their changes are not told.
//!
//! An event says no more than that a Secret changed: what it is like now stands here. So an event that waited while its
//! Secret was not referred to does no harm.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use crate::object::ObjectRef;

/// Secrets that are known to exist though nobody refers to them, in all: some 4 MiB. Beyond that, one that is referred to is
/// taken to exist until it changes.
const MOST_KNOWN: usize = 200_000;

/// Set in an entry that the present list has named. Versions are below: the API server counts its changes (KEP-5504).
const MARK: u64 = 1 << 63;

/// Set in the hash of a version that is no number.
const OPAQUE: u64 = 1 << 62;

/// Stands for a version that nobody knows.
const UNKNOWN: u64 = 0;

/// Stands for the version of a Secret that does not exist, where that has to be known: in a list that was cut.
const ABSENT: u64 = OPAQUE - 1;

/// The Secrets of a cluster. Shared by what watches them and what refers to them.
#[derive(Debug, Default)]
pub struct SecretRoster {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is referred to.
    wanted: HashSet<ObjectRef, foldhash::fast::RandomState>,
    /// Wanted, though no object refers to it.
    kept: HashSet<ObjectRef>,
    /// By the namespace that is watched; an empty one for all of them.
    lists: HashMap<Arc<str>, Existing, foldhash::fast::RandomState>,
    hasher: foldhash::quality::RandomState,
}

/// Secrets that one watcher knows, wanted or not.
#[derive(Debug, Default)]
struct Existing {
    entries: HashTable<Entry>,
    /// There were more than are known.
    is_cut: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    /// And the mark.
    version: u64,
}

impl SecretRoster {
    /// A roster that nothing is on yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// These Secrets are wanted though no object refers to them, in place of those of before.
    pub fn keep(&self, secrets: impl IntoIterator<Item = ObjectRef>) {
        let secrets: HashSet<_> = secrets.into_iter().collect();
        for secret in &secrets {
            self.follow(secret);
        }
        // Objects may refer to those of before as well: their changes go on being told.
        self.state().kept = secrets;
    }

    /// Somebody refers to the Secret from now on: its changes are told. Returns its version, if it exists; an empty one if
    /// nobody knows which.
    pub(crate) fn follow(&self, secret: &ObjectRef) -> Option<Arc<str>> {
        let mut state = self.state();
        state.wanted.insert(secret.clone());
        state.look_up(secret)
    }

    /// Nobody refers to the Secret any more.
    pub(crate) fn leave(&self, secret: &ObjectRef) {
        let mut state = self.state();
        if !state.kept.contains(secret) {
            state.wanted.remove(secret);
        }
    }

    /// The version of a Secret that is wanted, if it exists.
    pub(crate) fn version(&self, secret: &ObjectRef) -> Option<Arc<str>> {
        let mut state = self.state();
        if state.wanted.contains(secret) { state.look_up(secret) } else { None }
    }

    /// Returns `true` if the Secret is wanted though no object refers to it.
    pub(crate) fn keeps(&self, secret: &ObjectRef) -> bool {
        self.state().kept.contains(secret)
    }

    /// A Secret is there, in this version. Returns `true` if that is to be told.
    pub(crate) fn insert(&self, list: &str, secret: &ObjectRef, version: &str) -> bool {
        let mut state = self.state();
        let (hash, is_wanted) = (state.hasher.hash_one(secret), state.wanted.contains(secret));
        let has_room = is_wanted || state.known() < MOST_KNOWN;
        let number = version.parse().ok().filter(|number| *number < ABSENT);
        let number = number.unwrap_or_else(|| state.hasher.hash_one(version) & !MARK | OPAQUE);
        state.list(list).insert(Entry { hash, version: number | MARK }, has_room);
        is_wanted
    }

    /// A Secret is gone. Returns `true` if that is to be told.
    pub(crate) fn remove(&self, list: &str, secret: &ObjectRef) -> bool {
        let mut state = self.state();
        let hash = state.hasher.hash_one(secret);
        let is_wanted = state.wanted.contains(secret);
        let existing = state.list(list);
        if existing.is_cut && is_wanted {
            existing.insert(Entry { hash, version: ABSENT | MARK }, true);
        } else if let Ok(entry) = existing.entries.find_entry(hash, |entry| entry.hash == hash) {
            entry.remove();
        }
        is_wanted
    }

    /// A complete list begins: from now on it is noted what is named.
    pub(super) fn begin(&self, list: &str) {
        let mut state = self.state();
        let existing = state.list(list);
        existing.is_cut = false;
        for entry in &mut existing.entries {
            entry.version &= !MARK;
        }
    }

    /// The list is complete. Returns the wanted Secrets that it does not name, which are gone.
    pub(super) fn sweep(&self, list: &str) -> Vec<ObjectRef> {
        let mut state = self.state();
        state.list(list);
        let State { wanted, lists, hasher, .. } = &mut *state;
        let existing = lists.get_mut(list).expect("it is there");
        let is_listed = |secret: &&ObjectRef| list.is_empty() || *list == *secret.namespace;
        let is_gone = |secret: &&ObjectRef| {
            existing
                .find(hasher.hash_one(secret))
                .is_some_and(|entry| entry.version & MARK == 0 && entry.version != ABSENT)
        };
        let gone = wanted.iter().filter(is_listed).filter(is_gone).cloned().collect();
        existing.entries.retain(|entry| entry.version & MARK != 0);
        existing.entries.shrink_to_fit(|entry| entry.hash);
        // What is wanted is known, however many there are.
        for secret in wanted.iter().filter(is_listed).filter(|_| existing.is_cut).collect::<Vec<_>>() {
            let hash = hasher.hash_one(secret);
            if existing.find(hash).is_none() {
                existing.insert(Entry { hash, version: ABSENT | MARK }, true);
            }
        }
        gone
    }

    /// How many Secrets a watcher knows.
    pub(super) fn len(&self, list: &str) -> usize {
        self.state().lists.get(list).map_or(0, |existing| existing.entries.len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The version of a Secret, if it exists.
    fn look_up(&mut self, secret: &ObjectRef) -> Option<Arc<str>> {
        let hash = self.hasher.hash_one(secret);
        for list in ["", &*secret.namespace] {
            let Some(existing) = self.lists.get_mut(list) else { continue };
            if let Some(entry) = existing.find(hash) {
                return Some(match entry.version & !MARK {
                    ABSENT => return None,
                    UNKNOWN => "".into(),
                    hash if hash & OPAQUE != 0 => format!("hash {hash:x}").into(),
                    number => number.to_string().into(),
                });
            }
            if existing.is_cut {
                // From now on it is known, so that a list which does not name it says something.
                existing.insert(Entry { hash, version: UNKNOWN | MARK }, true);
                return Some("".into());
            }
        }
        None
    }

    fn list(&mut self, list: &str) -> &mut Existing {
        if !self.lists.contains_key(list) {
            self.lists.insert(list.into(), Existing::default());
        }
        self.lists.get_mut(list).expect("it is there")
    }

    fn known(&self) -> usize {
        self.lists.values().map(|existing| existing.entries.len()).sum()
    }
}

impl Existing {
    fn find(&self, hash: u64) -> Option<&Entry> {
        self.entries.find(hash, |entry| entry.hash == hash)
    }

    fn insert(&mut self, new: Entry, has_room: bool) {
        if let Some(entry) = self.entries.find_mut(new.hash, |entry| entry.hash == new.hash) {
            *entry = new;
        } else if has_room {
            self.entries.insert_unique(new.hash, new, |entry| entry.hash);
        } else {
            self.is_cut = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn secret(name: impl std::fmt::Display) -> ObjectRef {
        ObjectRef::new("shop", name.to_string())
    }

    #[test]
    fn what_somebody_refers_to_is_told_and_nothing_else() {
        let roster = SecretRoster::new();
        assert!(!roster.insert("", &secret("web"), "7"));
        assert_eq!(roster.follow(&secret("web")).as_deref(), Some("7"));
        assert_eq!(roster.follow(&secret("api")), None);
        assert!(roster.insert("", &secret("web"), "8") && roster.insert("", &secret("api"), "9"));
        assert!(!roster.insert("", &secret("other"), "10"));
        assert_eq!(roster.version(&secret("api")).as_deref(), Some("9"));
        assert!(roster.remove("", &secret("web")) && !roster.remove("", &secret("other")));
        roster.leave(&secret("api"));
        assert!(!roster.insert("", &secret("api"), "11"));
        assert_eq!(roster.follow(&secret("api")).as_deref(), Some("11"));
    }

    #[test]
    fn what_a_list_does_not_name_is_gone_in_its_namespace_alone() {
        let roster = SecretRoster::new();
        let other = ObjectRef::new("news", "web");
        for (list, object) in [("shop", &secret("web")), ("shop", &secret("api")), ("news", &other)] {
            roster.insert(list, object, "1");
            roster.follow(object);
        }
        roster.begin("shop");
        roster.insert("shop", &secret("api"), "2");
        assert_eq!(roster.sweep("shop"), [secret("web")]);
        assert_eq!((roster.len("shop"), roster.len("news")), (1, 1));
        assert_eq!(roster.version(&other).as_deref(), Some("1"));
    }

    #[test]
    fn what_is_kept_is_told_though_no_object_refers_to_it() {
        let roster = SecretRoster::new();
        roster.keep([secret("default")]);
        roster.follow(&secret("default"));
        roster.leave(&secret("default"));
        assert!(roster.keeps(&secret("default")) && roster.insert("", &secret("default"), "1"));
        roster.keep([]);
        assert!(!roster.keeps(&secret("default")));
    }

    #[test]
    fn it_agrees_with_a_map_through_random_changes() {
        let mut random = fastrand::Rng::with_seed(7);
        let (roster, mut model) = (SecretRoster::new(), BTreeMap::new());
        for version in 1..20_000_u32 {
            let object = secret(random.u16(..300));
            match random.u8(..20) {
                0..8 => {
                    roster.insert("", &object, &version.to_string());
                    model.insert(object, version);
                }
                8..12 => {
                    roster.remove("", &object);
                    model.remove(&object);
                }
                12..15 => {
                    let now = roster.follow(&object);
                    assert_eq!(now.as_deref(), model.get(&object).map(u32::to_string).as_deref());
                }
                15..19 => roster.leave(&object),
                _ => {
                    roster.begin("");
                    model.retain(|_, _| random.bool());
                    for (object, version) in &model {
                        roster.insert("", object, &version.to_string());
                    }
                    roster.sweep("");
                }
            }
            assert_eq!(roster.len(""), model.len());
        }
    }

    #[test]
    fn a_version_that_is_no_number_differs_from_others_all_the_same() {
        let roster = SecretRoster::new();
        let versions = ["x7", "x8", "18446744073709551615", "9", ""].map(|version| {
            roster.insert("", &secret("web"), version);
            roster.follow(&secret("web")).expect("it exists")
        });
        let distinct: std::collections::BTreeSet<_> = versions.iter().collect();
        assert_eq!((distinct.len(), &*versions[3]), (5, "9"));
    }

    #[test]
    fn beyond_the_most_that_is_known_a_secret_is_taken_to_exist_until_a_list_does_not_name_it() {
        let roster = SecretRoster::new();
        roster.begin("");
        for number in 0..MOST_KNOWN + 10 {
            roster.insert("", &secret(number), "1");
        }
        assert_eq!(roster.sweep(""), []);
        assert_eq!(roster.len(""), MOST_KNOWN);
        assert_eq!(roster.follow(&secret(MOST_KNOWN + 5)).as_deref(), Some(""));
        assert_eq!(roster.follow(&secret("never")).as_deref(), Some(""));
        roster.begin("");
        roster.insert("", &secret(MOST_KNOWN + 5), "2");
        assert_eq!(roster.sweep(""), [secret("never")]);
        assert_eq!(roster.version(&secret(MOST_KNOWN + 5)).as_deref(), Some("2"));
    }

    #[test]
    fn beyond_the_most_that_is_known_a_secret_that_is_gone_is_known_to_be() {
        let roster = SecretRoster::new();
        roster.follow(&secret("missing"));
        roster.begin("");
        for number in 0..=MOST_KNOWN {
            roster.insert("", &secret(number), "1");
        }
        roster.sweep("");
        assert_eq!(roster.version(&secret("missing")), None);
        assert!(roster.follow(&secret("web")).is_some() && roster.remove("", &secret("web")));
        assert_eq!(roster.version(&secret("web")), None);
        assert!(roster.insert("", &secret("web"), "3"));
        assert_eq!(roster.version(&secret("web")).as_deref(), Some("3"));
    }

    #[test]
    fn a_secret_that_nobody_refers_to_takes_less_than_40_bytes() {
        let roster = SecretRoster::new();
        for number in 0..20_000 {
            roster.insert("", &secret(format_args!("sh.helm.release.v1.service-{number}.v1")), "123456789");
        }
        let each = roster.state().lists[""].entries.allocation_size() / 20_000;
        assert!(each < 40, "{each} bytes a Secret");
    }
}
