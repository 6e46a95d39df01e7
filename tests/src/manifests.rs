//! A directory of manifests, and the objects that are written into it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Result;

pub mod ingress;
pub mod kingress;
mod object;

pub use ingress::Ingress;
pub use kingress::{KIngress, PathRule, Rule, Split};
pub use object::{Service, base64, endpoint_slice, external_name, secret, secret_of};

/// A directory of manifests; removed on drop.
#[derive(Debug)]
pub struct Manifests {
    directory: tempfile::TempDir,
}

impl Manifests {
    /// An empty directory.
    pub fn new() -> Result<Self> {
        Ok(Self { directory: tempfile::Builder::new().prefix("postern-test-").tempdir()? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes objects into one file, which appears (or changes) at once, by rename.
    pub fn write(&self, file: &str, objects: &[Value]) -> Result<()> {
        self.write_text(file, &to_yaml(objects)?)
    }

    /// Writes a text into a file, which appears (or changes) at once, by rename.
    pub fn write_text(&self, file: &str, text: &str) -> Result<()> {
        let target = self.file(file)?;
        let mut temporary = tempfile::Builder::new().prefix(".writing-").tempfile_in(parent(&target)?)?;
        temporary.write_all(text.as_bytes())?;
        temporary.persist(&target)?;
        Ok(())
    }

    /// Overwrites a file as an editor does that doesn't rename: it is truncated, then written in two pieces.
    pub fn write_in_place(&self, file: &str, text: &str) -> Result<()> {
        let (first, second) = text.as_bytes().split_at(text.len() / 2);
        let mut out = fs::File::create(self.file(file)?)?;
        out.write_all(first)?;
        out.flush()?;
        out.write_all(second)?;
        Ok(())
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) -> Result<()> {
        Ok(fs::remove_file(self.file(file)?)?)
    }

    /// The path of a file, whose folder is made if there is none.
    fn file(&self, file: &str) -> Result<PathBuf> {
        let target = self.path().join(file);
        fs::create_dir_all(parent(&target)?)?;
        Ok(target)
    }
}

fn parent(file: &Path) -> Result<&Path> {
    Ok(file.parent().ok_or("a file in no folder")?)
}

/// Objects as a YAML stream, one document each.
pub fn to_yaml(objects: &[Value]) -> Result<String> {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(object)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_become_one_yaml_document_each() {
        let text = to_yaml(&[serde_json::json!({"kind": "A"}), serde_json::json!({"kind": "B", "on": "yes"})]).unwrap();
        let read: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(read, [serde_json::json!({"kind": "A"}), serde_json::json!({"kind": "B", "on": "yes"})]);
    }

    #[test]
    fn a_file_is_replaced_and_leaves_nothing_beside_it() {
        let manifests = Manifests::new().unwrap();
        manifests.write_text("ns/a.yaml", "one").unwrap();
        manifests.write_text("ns/a.yaml", "two").unwrap();
        let files: Vec<_> =
            fs::read_dir(manifests.path().join("ns")).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files, [manifests.path().join("ns/a.yaml")]);
        assert_eq!(fs::read_to_string(&files[0]).unwrap(), "two");
    }
}
