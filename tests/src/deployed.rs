//! What `deploy/` holds.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::tools::{installed, run};
use crate::{Result, ensure};

/// Where all of it is.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The objects of a YAML stream.
pub fn parse(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The objects of `kustomize/base`, which nothing transforms.
pub fn base() -> Result<Vec<Value>> {
    let folder = folder().join("kustomize/base");
    let kustomization: Value = serde_saphyr::from_str(&fs::read_to_string(folder.join("kustomization.yaml"))?)?;
    let keys: Vec<_> = kustomization.as_object().ok_or("not a mapping")?.keys().collect();
    ensure(keys == ["apiVersion", "kind", "resources"], || format!("the base is transformed: {keys:?}"))?;
    let mut objects = Vec::new();
    for file in kustomization["resources"].as_array().ok_or("no resources")? {
        let file = folder.join(file.as_str().ok_or("not a file")?);
        objects.extend(parse(&fs::read_to_string(file)?)?);
    }
    Ok(objects)
}

/// The objects of an overlay, as kustomize renders them; `None` without kubectl.
pub async fn overlay(name: &str) -> Result<Option<Vec<Value>>> {
    if !installed("kubectl").await {
        return Ok(None);
    }
    let folder = folder().join("kustomize/overlays").join(name);
    let output = run("kubectl", &["kustomize", &folder.to_string_lossy()]).await?;
    ensure(output.status.success(), || format!("kubectl: {}", String::from_utf8_lossy(&output.stderr)))?;
    parse(&String::from_utf8(output.stdout)?).map(Some)
}
