//! One text for the same namespace of many objects.

use std::collections::HashSet;
use std::sync::Arc;

/// More namespaces than this are not held together; the texts are then made anew.
const MAX_NAMESPACES: usize = 4096;

/// The namespaces that have been seen. Whoever keeps the names of objects keeps each of their namespaces once.
#[derive(Debug, Default)]
pub(super) struct Namespaces(HashSet<Arc<str>>);

impl Namespaces {
    /// Replaces a namespace by the text that others have of it.
    pub(super) fn share(&mut self, namespace: &mut Arc<str>) {
        if let Some(known) = self.0.get(&**namespace) {
            *namespace = Arc::clone(known);
            return;
        }
        if self.0.len() >= MAX_NAMESPACES {
            self.0.clear();
        }
        self.0.insert(Arc::clone(namespace));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_namespace_is_one_text() {
        let (mut first, mut second): (Arc<str>, Arc<str>) = ("shop".into(), "shop".into());
        let mut namespaces = Namespaces::default();
        namespaces.share(&mut first);
        namespaces.share(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn not_any_number_of_namespaces_is_held() {
        let mut namespaces = Namespaces::default();
        for n in 0..=MAX_NAMESPACES {
            namespaces.share(&mut n.to_string().into());
        }
        assert!(namespaces.0.len() <= MAX_NAMESPACES);
    }
}
