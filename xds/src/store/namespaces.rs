//! One text for the namespace of many objects, and a number to refer to it by.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Slots;

/// The number of a namespace.
pub(crate) type NamespaceId = u32;

/// Namespaces that something is in. Each is counted, and forgotten with the last thing in it.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    slots: Slots<Namespace>,
    numbers: HashMap<Arc<str>, NamespaceId, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct Namespace {
    text: Arc<str>,
    users: u32,
}

impl Namespaces {
    /// Something is in a namespace from now on.
    pub(crate) fn enter(&mut self, text: &str) -> NamespaceId {
        if let Some(&id) = self.numbers.get(text) {
            if let Some(namespace) = self.slots.get_mut(id) {
                namespace.users += 1;
            }
            return id;
        }
        let text: Arc<str> = text.into();
        let id = self.slots.insert(Namespace { text: Arc::clone(&text), users: 1 });
        self.numbers.insert(text, id);
        id
    }

    /// Something is no longer in a namespace.
    pub(crate) fn leave(&mut self, id: NamespaceId) {
        let Some(namespace) = self.slots.get_mut(id) else { return };
        namespace.users -= 1;
        if namespace.users == 0
            && let Some(gone) = self.slots.remove(id)
        {
            self.numbers.remove(&gone.text);
        }
    }

    /// The number of a namespace that something is in.
    pub(crate) fn find(&self, text: &str) -> Option<NamespaceId> {
        self.numbers.get(text).copied()
    }

    /// The text of a namespace that something is in.
    pub(crate) fn text(&self, id: NamespaceId) -> Option<&Arc<str>> {
        self.slots.get(id).map(|namespace| &namespace.text)
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len() + self.numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_forgotten_with_the_last_thing_in_it() {
        let mut namespaces = Namespaces::default();
        let shop = namespaces.enter("shop");
        assert_eq!((namespaces.enter("shop"), namespaces.find("shop")), (shop, Some(shop)));
        assert_ne!(namespaces.enter("news"), shop);
        namespaces.leave(shop);
        assert_eq!(namespaces.text(shop).map(|text| &**text), Some("shop"));
        namespaces.leave(shop);
        assert_eq!((namespaces.text(shop), namespaces.find("shop")), (None, None));
        assert_eq!(namespaces.len(), 2);
    }
}
