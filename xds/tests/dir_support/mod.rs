//! A directory of manifests, the source on it, and what it has said so far.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use xds::object::Object;
use xds::source::dir::{DirSource, Options};
use xds::{Faults, ObjectEvent, ObjectKey, ObjectKind, ObjectRef};

/// How long a change may take to be seen before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A source on a temporary directory.
pub(crate) struct Bench {
    /// The directory.
    pub(crate) dir: TempDir,
    /// The source.
    pub(crate) source: DirSource,
    /// What is wrong.
    pub(crate) faults: Faults,
    /// What is in effect, by what has been said.
    pub(crate) state: BTreeMap<ObjectKey, Object>,
    /// The events since the last call of [`Bench::until`].
    pub(crate) said: Vec<ObjectEvent>,
}

impl Bench {
    /// Opens a source on a directory with these files, and reads all there is.
    pub(crate) async fn with(files: &[(&str, &str)]) -> Self {
        Self::with_options(files, Options::default()).await
    }

    /// The same with other limits.
    pub(crate) async fn with_options(files: &[(&str, &str)], options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write_new(&dir.path().join(name), text);
        }
        let faults = Faults::default();
        let source = DirSource::open(dir.path(), options, faults.clone()).unwrap();
        let mut bench = Self { dir, source, faults, state: BTreeMap::new(), said: Vec::new() };
        bench.until(|bench| bench.said.contains(&ObjectEvent::Synced)).await;
        bench
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in place.
    pub(crate) fn write(&self, name: &str, text: &str) {
        write_new(&self.path(name), text);
    }

    /// Writes a file beside it and renames it.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let beside = self.path(".beside");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.path(name)).unwrap();
    }

    /// Takes events in until `done`.
    pub(crate) async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        self.said.clear();
        let wait = async {
            while !done(self) {
                let next = tokio::time::timeout(Duration::from_millis(20), self.source.next()).await;
                for event in next.unwrap_or_default() {
                    self.take_in(event);
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(in_time, "did not happen; said {:#?}, faults {:#?}", self.said, self.faults.all());
    }

    fn take_in(&mut self, event: ObjectEvent) {
        match &event {
            ObjectEvent::Applied(object) => drop(self.state.insert(key_of(object), object.clone())),
            ObjectEvent::Deleted(key) => assert!(self.state.remove(key).is_some(), "{key} was not there"),
            ObjectEvent::Synced => {}
        }
        self.said.push(event);
    }

    /// Makes a change that is certainly seen after all before it, and takes everything in.
    pub(crate) async fn settle(&mut self) {
        let mark = format!("mark-{}", fastrand::u64(..));
        self.write("zz-mark.yaml", &config_map(&mark, "x"));
        let key = key(ObjectKind::ConfigMap, &mark);
        self.until(|bench| bench.state.contains_key(&key)).await;
        let is_mark = |name: &str| name.starts_with("mark-");
        self.state.retain(|key, _| !is_mark(&key.object.name));
        self.state.insert(key.clone(), Object::ConfigMap(Box::default()));
        self.said.retain(|event| match event {
            ObjectEvent::Applied(object) => !is_mark(&key_of(object).object.name),
            ObjectEvent::Deleted(key) => !is_mark(&key.object.name),
            ObjectEvent::Synced => true,
        });
    }

    /// The value of `data.value` of a ConfigMap that is in effect.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        match self.state.get(&key(ObjectKind::ConfigMap, name))? {
            Object::ConfigMap(object) => object.data.as_ref()?.get("value").map(String::as_str),
            _ => None,
        }
    }

    /// All faults as text, with the directory left out.
    pub(crate) fn fault_texts(&self) -> Vec<String> {
        let prefix = format!("{}/", self.dir.path().display());
        self.faults.all().iter().map(|fault| fault.to_string().replace(&prefix, "")).collect()
    }

    /// True if one fault contains all of these.
    pub(crate) fn has_fault(&self, parts: &[&str]) -> bool {
        self.fault_texts().iter().any(|fault| parts.iter().all(|part| fault.contains(part)))
    }

    /// The names of what has been said since the last wait: `+name` and `-name`, sorted.
    pub(crate) fn names_said(&self) -> Vec<String> {
        let name = |event: &ObjectEvent| match event {
            ObjectEvent::Applied(object) => Some(format!("+{}", key_of(object).object.name)),
            ObjectEvent::Deleted(key) => Some(format!("-{}", key.object.name)),
            ObjectEvent::Synced => None,
        };
        let mut names: Vec<String> = self.said.iter().filter_map(name).collect();
        names.sort();
        names
    }
}

fn write_new(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The key of an object.
pub(crate) fn key_of(object: &Object) -> ObjectKey {
    let (kind, metadata) = match object {
        Object::ConfigMap(object) => (ObjectKind::ConfigMap, &object.metadata),
        Object::EndpointSlice(object) => (ObjectKind::EndpointSlice, &object.metadata),
        Object::Ingress(object) => (ObjectKind::Ingress, &object.metadata),
        Object::IngressClass(object) => (ObjectKind::IngressClass, &object.metadata),
        Object::KIngress(object) => (ObjectKind::KIngress, &object.metadata),
        Object::Service(object) => (ObjectKind::Service, &object.metadata),
        Object::Secret(meta) => return ObjectKey { kind: ObjectKind::Secret, object: meta.object.clone() },
    };
    let namespace = metadata.namespace.clone().unwrap_or_default();
    ObjectKey { kind, object: ObjectRef::new(namespace, metadata.name.clone().unwrap()) }
}

/// The key of an object in the default namespace.
pub(crate) fn key(kind: ObjectKind, name: &str) -> ObjectKey {
    ObjectKey { kind, object: ObjectRef::new("default", name) }
}

/// A ConfigMap as YAML.
pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: {value}\n")
}

/// A TLS Secret as YAML.
pub(crate) fn secret(name: &str, certificate: &str, private_key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\ntype: kubernetes.io/tls\n\
         stringData:\n  tls.crt: {certificate}\n  tls.key: {private_key}\n"
    )
}

/// Documents of one file.
pub(crate) fn documents(documents: &[String]) -> String {
    documents.join("---\n")
}
