//! The gateway as a whole: the only place where everything meets.

mod descriptors;
mod drain;
mod follow;
mod listeners;
mod loads;
mod operator;
pub(crate) mod refusals;
pub(crate) mod secrets;
pub(crate) mod source;
mod status;
mod tuning;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certstore::{CertStore, SealedError, SealedTier, SecretSource};
use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use xds::Faults;
use xds::settings::{self, Tap};
use xds::translate::{self, Translator};

use crate::admin::{Admin, AdminServer};
use crate::allocator;
use crate::apply::Applier;
use crate::config::{Config, Layers, MapSchema, SourceConfig};
use crate::drain::Phase;
use crate::health::Health;
use crate::listener::{Admission, BindError};
use crate::overload::{CertBudget, DEFAULT_CACHE, Overload};
use crate::tables::Tables;
use crate::telemetry::{self, LogLevel};
use crate::tls::ConfigError;

use follow::{configured, follow};
use listeners::Dials;
use refusals::Carrier;
use source::Sources;
use tuning::{Parts, Tuning};

/// When this variable is set, the process ends when its parent does: for those who run it as a part of themselves.
pub(crate) const EXIT_WITH_PARENT: &str = "POSTERN_EXIT_WITH_PARENT";

/// How much of the time for a handshake its certificate may take to load; the rest is for the round trips.
const LOAD_SHARE: f64 = 0.8;

/// How long the runtime's own tasks may take after the drain.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(1);

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AppError {
    /// A listener could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The process may not open enough files.
    #[error(transparent)]
    Descriptors(#[from] descriptors::TooFewDescriptors),
    /// The source of objects cannot be read.
    #[error(transparent)]
    Source(#[from] source::SourceError),
    /// The runtime or a thread could not be made.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// The metrics recorder could not be installed.
    #[error("cannot record metrics")]
    Metrics(#[source] BuildError),
    /// Encrypted copies cannot be kept.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] ConfigError),
}

/// Ends with SIGTERM or SIGINT (Ctrl-C). Listens from the call on, so that one which comes before the first poll counts.
pub(crate) fn termination() -> impl Future<Output = ()> {
    let terminate = next(SignalKind::terminate());
    let interrupt = next(SignalKind::interrupt());
    async move {
        tokio::select! {
            () = terminate => {}
            () = interrupt => {}
        }
    }
}

fn next(kind: SignalKind) -> impl Future<Output = ()> {
    let signals = signal(kind);
    async move {
        match signals {
            Ok(mut signals) => drop(signals.recv().await),
            Err(error) => {
                tracing::error!(%error, "cannot listen for signals; only SIGKILL will end this process");
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Runs the gateway until a signal or an operator ends it, drain included.
///
/// `layers` is what the configuration was made of, and `log` changes what is logged.
pub(crate) fn run(config: Config, layers: Layers, log: LogLevel) -> Result<(), AppError> {
    if std::env::var_os(EXIT_WITH_PARENT).is_some() {
        // It fails nowhere on Linux; if it did, the parent's own care would have to do.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
    }
    let metrics = telemetry::init_metrics().map_err(AppError::Metrics)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.threads)
        .thread_name("postern")
        .on_thread_start(allocator::serve_traffic)
        .enable_all()
        .build()
        .map_err(AppError::Runtime)?;
    let result = runtime.block_on(async {
        tokio::select! {
            app = App::start(config, layers, log, metrics) => {
                app?.run().await;
                Ok(())
            }
            () = termination() => {
                tracing::info!("asked to end before it was ready");
                Ok(())
            }
        }
    });
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    result
}

/// The running gateway.
struct App {
    tuning: Arc<Tuning>,
    health: Health,
    phase: watch::Sender<Phase>,
    admission: Arc<Admission>,
    /// Told when an operator asks for a drain.
    operator: Arc<Notify>,
    /// Writes status, if that is configured.
    status: Option<xds::status::Running>,
    /// Answers for the process until it is dropped.
    _admin: AdminServer,
}

impl App {
    /// Opens the listeners, reads the first complete configuration, and then begins to serve.
    async fn start(config: Config, layers: Layers, log: LogLevel, metrics: PrometheusHandle) -> Result<Self, AppError> {
        let began = Instant::now();
        let max_connections = descriptors::fit(listeners::max_connections(&config))?;
        let admission = Admission::new(listeners::limits(&config, max_connections));
        let bound = listeners::bind(&config)?;
        let faults = Faults::default();
        let names = source::config_maps(&config);
        let Sources { objects, secrets, roster, status } = source::open(&config, names.all(), &faults).await?;
        let (mut reader, values) =
            settings::Reader::new(names, Box::new(MapSchema::new(layers.clone())), faults.clone());
        reader.read_environment(|name| std::env::var(name).ok());
        let certs = cert_store(&config, secrets, loads::runtime().map_err(AppError::Runtime)?)?;
        let (tables, health, operator) = (Tables::default(), Health::default(), Arc::new(Notify::new()));
        tables.load().clusters.set_reach(config.reach);
        let overload = {
            let budget = CertBudget::new(Arc::clone(&certs), initial_budget(&config));
            let settings = listeners::overload_settings(&config, max_connections);
            Overload::start(settings, budget, Arc::clone(&tables), admission.pressure().clone(), health.clone())
                .map_err(AppError::Runtime)?
        };
        let (dials, of_parts, of_roster) = (Dials::new(&config), Arc::clone(&overload), roster.clone());
        let parts = Parts { log, certs: Arc::clone(&certs), admission, dials, overload: of_parts, roster };
        let tuning = Tuning::new(config.clone(), layers, parts);
        tokio::spawn(Arc::clone(&tuning).follow(values.clone()));
        tokio::spawn(health.clone().beat("traffic"));
        let admin = Admin {
            health: health.clone(),
            metrics,
            tables: Arc::clone(&tables),
            certs: Arc::clone(&certs),
            faults: faults.clone(),
            settings: tuning.shown(),
            overload: Arc::clone(&overload),
            drain: Arc::clone(&operator),
            operator: Arc::clone(&tuning) as Arc<_>,
        };
        let (traffic, admin) = listeners::answer(bound, admin).map_err(AppError::Runtime)?;

        let applier = Applier::new(Arc::clone(&tables), Arc::clone(&certs) as Arc<_>);
        let version = applier.applied();
        let mut translator = Translator::new(translate_options(&config), faults.clone());
        if let Some(roster) = of_roster {
            translator.follow_secrets(roster);
        }
        let reporter = status.map(|(reporter, hook)| {
            translator.report_status(hook);
            reporter
        });
        translator.withhold(reader.withheld());
        let withheld = reader.withheld();
        let (verdicts, judged) = mpsc::channel(refusals::QUEUE);
        translator.follow_judgements(judged);
        let carrier = Carrier {
            certs: Arc::clone(&certs),
            tables: Arc::clone(&tables),
            faults: faults.clone(),
            verdicts,
            default: tuning.default_certificate(),
        };
        tokio::spawn(carrier.run(version.clone()));
        let source = Tap::new(objects, reader);
        configured(follow(source, translator, applier, health.clone()).map_err(AppError::Runtime)?).await;
        tuning.begin(&values.borrow());
        overload.set_configured();
        health.set_withheld(&withheld.borrow());
        tokio::spawn(health.clone().follow_withheld(withheld));

        let (phase, drain) = watch::channel(Phase::Serving);
        let Parts { admission, dials, .. } = tuning.parts().clone();
        let status = reporter.map(|reporter| reporter.start(version.clone(), faults.clone()));
        let shared =
            listeners::Shared { tables, certs, version, health: health.clone(), admission: Arc::clone(&admission) };
        listeners::serve(dials, traffic, shared, &drain)?;
        health.set_configured();
        let (faults, seconds) = (faults.len(), began.elapsed().as_secs_f64());
        match health.unready_reason() {
            None => tracing::info!(faults, seconds, "ready"),
            Some(reason) => tracing::error!(faults, seconds, %reason, "started, and not ready"),
        }
        Ok(Self { tuning, health, phase, admission, operator, status, _admin: admin })
    }

    /// Serves until told to end, and drains.
    async fn run(mut self) {
        tokio::select! {
            () = termination() => tracing::info!("a signal asks to end"),
            () = self.operator.notified() => {}
        }
        let stopped = self.status.take().map(|status| tokio::spawn(status.stop()));
        self.drain().await;
        if let Some(stopped) = stopped {
            // It waits for a bounded while, and there is nothing more to be done if it fails.
            let _ = stopped.await;
        }
    }
}

/// The budget of the certificate cache until memory is planned.
fn initial_budget(config: &Config) -> u64 {
    config.cert_cache.map_or(DEFAULT_CACHE, |size| size.as_u64())
}

fn cert_store(config: &Config, secrets: Arc<dyn SecretSource>, loads: Handle) -> Result<Arc<CertStore>, SealedError> {
    let mut builder = CertStore::builder(secrets)
        .budget(initial_budget(config))
        .load_concurrency(config.cert_loads)
        .miss_rate(config.cert_miss_rate as u64)
        .runtime(loads)
        .load_deadline(config.handshake_timeout.mul_f64(LOAD_SHARE));
    if let Some(directory) = &config.sealed_dir {
        builder = builder.sealed(SealedTier::open(directory, config.sealed_bytes.as_u64())?);
    }
    Ok(builder.build())
}

/// How objects are translated.
pub(crate) fn translate_options(config: &Config) -> translate::Options {
    translate::Options {
        kingress_class: config.kingress_class.as_str().into(),
        ingress_controller: config.ingress_controller.as_str().into(),
        ingress_class: config.ingress_class.as_str().into(),
        https_redirects: config.https_redirect,
        shared_secret_namespaces: config.shared_secret_namespaces.iter().map(|name| name.as_str().into()).collect(),
        // A directory shows everything there is; in a cluster, Ingresses of other classes are others' business.
        report_unknown_class: matches!(config.source, SourceConfig::Dir(_)),
        ..translate::Options::default()
    }
}
