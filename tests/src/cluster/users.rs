//! The cluster's users, and their kubeconfigs.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Cluster, PolicyRule};
use crate::Result;

/// The user whose token a test gets by default.
pub(super) const ADMIN: &str = "system:admin";

impl Cluster {
    /// Writes a kubeconfig for the user who may do everything, over TLS, and says where.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        self.kubeconfig_of(ADMIN)
    }

    /// [`Self::kubeconfig`] for another user.
    pub fn kubeconfig_of(&self, user: &str) -> Result<PathBuf> {
        let directory = if let Some(directory) = self.directory.get() {
            directory
        } else {
            let directory = tempfile::Builder::new().prefix("postern-cluster-").tempdir()?;
            self.directory.get_or_init(|| directory)
        };
        let path = directory.path().join(format!("{}.kubeconfig", user.replace([':', '/'], "-")));
        self.write_kubeconfig(&path, user)?;
        Ok(path)
    }

    /// Writes a kubeconfig to a place.
    pub fn write_kubeconfig(&self, path: &Path, user: &str) -> Result<()> {
        let authority = crate::manifests::base64(self.ca_pem().as_bytes());
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "simulated",
            "clusters": [{"name": "simulated", "cluster": {"server": self.tls_url(), "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": {"token": token(user)}}],
            "contexts": [{"name": "simulated", "context": {"cluster": "simulated", "user": user, "namespace": "default"}}],
        });
        // Whoever waits for the file finds all of it.
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(crate::manifests::to_yaml(&[config])?.as_bytes())?;
        file.persist(path)?;
        Ok(())
    }

    /// Makes a user who may do nothing yet, and returns the token.
    pub fn add_user(&self, name: &str) -> String {
        self.shared.access.add_user(&token(name), name);
        token(name)
    }

    /// Lets a user do what the rules say, in a namespace or everywhere.
    pub fn grant(&self, user: &str, namespace: Option<&str>, rules: Vec<PolicyRule>) {
        self.shared.access.grant(user, namespace, rules);
    }

    /// Takes from a user everything that was granted.
    pub fn revoke_grants(&self, user: &str) {
        self.shared.access.revoke_grants(user);
    }

    /// No longer knows a user: 401.
    pub fn remove_user(&self, user: &str) {
        self.shared.access.revoke_token(&token(user));
    }
}

/// Tokens need not be secret here, and a test can tell whose they are.
pub(super) fn token(user: &str) -> String {
    format!("token-of-{user}")
}
