//! Logs and metrics of the process.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::LogFormat;

/// From 100 µs, where a resumed handshake ends, to 60 s, each about 2.5 times the one before.
const SECONDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// Streams at a time: twice the one before, up to what a connection may have.
const STREAMS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Changes which log lines are written.
#[derive(Clone, Debug)]
pub(crate) struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// From now on it is this one; what is not understood of it is left out.
    pub(crate) fn set(&self, level: &str) {
        if let Err(error) = self.0.reload(EnvFilter::new(level)) {
            tracing::warn!(%error, level, "cannot change the log level");
        }
    }
}

/// Sends log lines of this process to standard error, and returns how to change which. The second call of a process
/// does nothing.
///
/// `level` holds tracing's filter directives; what it does not understand is left out.
pub(crate) fn init_logs(format: LogFormat, level: &str) -> LogLevel {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(level));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // It fails only where a subscriber is installed already, as a test may have done.
    let _ = match format {
        LogFormat::Text => {
            registry.with(layer.with_ansi(std::io::stderr().is_terminal()).with_target(false)).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init(),
    };
    LogLevel(handle)
}

/// Records metrics of this process for Prometheus.
///
/// # Errors
/// When a recorder is installed already.
pub(crate) fn init_metrics() -> Result<PrometheusHandle, BuildError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_streams".to_owned()), &STREAMS)?
        .install_recorder()?;
    describe();
    metrics::describe_gauge!("postern_ready", "1 while traffic should be sent here, 0 else");
    metrics::describe_gauge!("postern_build_info", "Always 1; the label says which version runs");
    metrics::gauge!("postern_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(recorder)
}

/// What each part says about its metrics.
fn describe() {
    certstore::describe_metrics();
    xds::describe_metrics();
    crate::admin::describe_metrics();
    crate::apply::describe_metrics();
    crate::connection::describe_metrics();
    crate::listener::describe_metrics();
    crate::overload::describe_metrics();
    crate::proxy::describe_metrics();
    crate::tls::describe_metrics();
}
