//! Opens what the configuration comes from: objects, and the data of Secrets.

use std::sync::Arc;

use certstore::SecretSource;
use xds::discovery::Source;
use xds::source::api::{self, Access, ApiSource, ConnectError, ReaderOptions, Scope, SecretReader, SecretRoster};
use xds::source::dir::{self, DirSource};
use xds::status::{Hook, Reporter};
use xds::{Faults, ObjectEvent, ObjectRef, settings};

use super::secrets::{ApiSecrets, DirSecrets};
use super::status;
use crate::allocator;
use crate::config::{Config, KubeConfig, SourceConfig};

/// Where a pod finds the name of its namespace.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Our namespace where nothing else is said.
const OWN_NAMESPACE: &str = "postern-system";

/// Why the source cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SourceError {
    /// The directory.
    #[error(transparent)]
    Dir(#[from] dir::OpenError),
    /// The Kubernetes API.
    #[error("source kube")]
    Api(#[from] ConnectError),
}

/// A source that yields objects as they change.
pub(super) enum Opened {
    Dir(DirSource),
    Api(Box<ApiSource>),
}

impl Source for Opened {
    async fn next(&mut self) -> Vec<ObjectEvent> {
        match self {
            Self::Dir(source) => source.next().await,
            Self::Api(source) => source.next().await,
        }
    }
}

/// What has been opened.
pub(super) struct Sources {
    pub(super) objects: Opened,
    pub(super) secrets: Arc<dyn SecretSource>,
    /// Which Secrets exist, where only those are told that somebody refers to.
    pub(super) roster: Option<Arc<SecretRoster>>,
    /// Who writes status, and what it needs of the translator.
    pub(super) status: Option<(Reporter, Hook)>,
}

/// Opens the source that is configured; what is wrong with its objects is told to `faults`.
pub(super) async fn open(
    config: &Config,
    config_maps: Vec<ObjectRef>,
    faults: &Faults,
) -> Result<Sources, SourceError> {
    match &config.source {
        SourceConfig::Dir(path) => {
            let mut options = dir::Options::default();
            options.on_thread_start = allocator::keep_for_long;
            let source = DirSource::open(path, options, faults.clone())?;
            let secrets = DirSecrets::new(source.secrets());
            Ok(Sources { objects: Opened::Dir(source), secrets: Arc::new(secrets), roster: None, status: None })
        }
        SourceConfig::Kube(kube) => {
            let access = Access { kubeconfig: kube.kubeconfig.clone(), context: kube.context.clone() };
            let client = api::connect(&access).await?;
            let secrets = ApiSecrets(SecretReader::new(client.clone(), reader_options(kube)));
            let options = |given| status::options(given, own_namespace(config));
            let status = kube.status.as_ref().map(|given| Reporter::new(client.clone(), options(given)));
            let (roster, options) = (SecretRoster::new(), api_options(kube, config_maps));
            let source = ApiSource::start_for(Arc::clone(&roster), client, options, faults.clone());
            let objects = Opened::Api(Box::new(source));
            Ok(Sources { objects, secrets: Arc::new(secrets), roster: Some(roster), status })
        }
    }
}

/// The `ConfigMap`s that are read.
pub(crate) fn config_maps(config: &Config) -> settings::Names {
    settings::Names::new(&own_namespace(config), config.knative_namespace.as_deref())
}

fn own_namespace(config: &Config) -> String {
    let surroundings = || std::fs::read_to_string(POD_NAMESPACE).ok().map(|text| text.trim().to_owned());
    let own = config.own_namespace.clone().or_else(surroundings).filter(|name| !name.is_empty());
    own.unwrap_or_else(|| OWN_NAMESPACE.to_owned())
}

fn reader_options(kube: &KubeConfig) -> ReaderOptions {
    let mut options = ReaderOptions::default();
    options.rate = kube.qps as f64;
    options.burst = 2.0 * options.rate;
    options
}

fn api_options(kube: &KubeConfig, config_maps: Vec<ObjectRef>) -> api::Options {
    let mut options = api::Options::default();
    options.config_maps = config_maps;
    if !kube.namespaces.is_empty() {
        options.scope = Scope::Namespaces(kube.namespaces.iter().map(|name| name.as_str().into()).collect());
    }
    // Any may hold a certificate.
    options.secret_type = None;
    options.secret_labels.clone_from(&kube.secret_selector);
    options
}
