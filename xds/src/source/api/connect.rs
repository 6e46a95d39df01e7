//! A client of the API server, from a kubeconfig or from within a pod.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::causes;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(10);

/// How the cluster is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig. Without one: the service account of the pod or, outside of a cluster, `$KUBECONFIG` or
    /// `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig. Default: its current one.
    pub context: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The kubeconfig that was named cannot be used.
    #[error("kubeconfig {}: {reason}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why; nothing of its content.
        reason: String,
    },
    /// Neither a pod nor a kubeconfig.
    #[error("no cluster: not in a pod ({pod}), and no kubeconfig in $KUBECONFIG or ~/.kube/config ({kubeconfig})")]
    Nowhere {
        /// Why this is no pod with a service account.
        pod: String,
        /// Why the default kubeconfig cannot be used.
        kubeconfig: String,
    },
    /// Credentials or certificates cannot be used.
    #[error("the cluster at {server}: {reason}")]
    Client {
        /// The address of the API server.
        server: String,
        /// Why.
        reason: String,
    },
}

/// Makes a client. Does not connect: a server that is not there yet is no error here.
pub async fn connect(access: &Access) -> Result<Client, ConnectError> {
    let mut config = find(access).await?;
    // Waiting and trying again is done where it is known what for.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    let server = config.cluster_url.to_string();
    Client::try_from(config).map_err(|error| ConnectError::Client { server, reason: causes(&error) })
}

async fn find(access: &Access) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    let Some(path) = &access.kubeconfig else {
        let pod = if options.context.is_none() { Config::incluster() } else { Err(not_asked()) };
        return match pod {
            Ok(config) => Ok(config),
            Err(pod) => Config::from_kubeconfig(&options)
                .await
                .map_err(|error| ConnectError::Nowhere { pod: causes(&pod), kubeconfig: explain(&error) }),
        };
    };
    let wrong = |error: KubeconfigError| ConnectError::Kubeconfig { path: path.clone(), reason: explain(&error) };
    let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(wrong)
}

/// A context names a kubeconfig, so the pod's account is not meant.
fn not_asked() -> InClusterError {
    InClusterError::ReadEnvironmentVariable(std::env::VarError::NotPresent)
}

/// What is wrong with a kubeconfig. A YAML error shows the lines around it, which may hold a token, so only the place
/// is said.
fn explain(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(cause, _) => format!("cannot be read: {cause}"),
        KubeconfigError::Parse(error) => {
            let place = error.location().map(|at| format!(" (line {} column {})", at.line(), at.column()));
            format!("is not a kubeconfig in YAML{}", place.unwrap_or_default())
        }
        KubeconfigError::CurrentContextNotSet => {
            "has no current-context: expected one, or --context to name one".to_owned()
        }
        other => causes(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error_of(text: Option<&str>, context: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let access = Access { kubeconfig: Some(path), context: context.map(str::to_owned) };
        connect(&access).await.map(|_| ()).unwrap_err().to_string()
    }

    const WHOLE: &str = "
clusters: [{name: here, cluster: {server: 'https://127.0.0.1:1'}}]
users: [{name: me, user: {token: t0ken}}]
contexts: [{name: here, context: {cluster: here, user: me}}]
current-context: here
";

    #[tokio::test]
    async fn what_is_wrong_with_a_kubeconfig_is_said_without_its_content() {
        assert!(error_of(None, None).await.contains("cannot be read: No such file"));
        let torn = error_of(Some("users: [{name: me, user: {token: t0ken\n:"), None).await;
        assert!(torn.contains("is not a kubeconfig in YAML (line"), "{torn}");
        assert!(!torn.contains("t0ken"), "{torn}");
        let other = error_of(Some(WHOLE), Some("elsewhere")).await;
        assert!(other.contains("elsewhere"), "{other}");
        assert!(error_of(Some("clusters: []"), None).await.contains("current-context"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, WHOLE).unwrap();
        assert!(connect(&Access { kubeconfig: Some(path), context: None }).await.is_ok());
    }
}
