//! The listeners that answer for the process itself: metrics and health for the pod network, and administration on
//! loopback. Both run on a thread of their own, so that they answer while traffic keeps every worker busy.

mod api;
mod cache;
mod certificates;
mod connections;
mod page;
mod reply;
mod server;

use std::sync::Arc;

use certstore::CertStore;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Notify;
use xds::Faults;

use crate::config::Effective;
use crate::health::Health;
use crate::live::Live;
use crate::overload::{Overload, Stage};
use crate::tables::Tables;

pub(crate) use server::{AdminServer, spawn};

/// Describes the metrics of this module to the recorder.
pub(crate) fn describe_metrics() {
    connections::describe_metrics();
}

/// What the answers are made of.
#[derive(Debug)]
pub(crate) struct Admin {
    /// Readiness and liveness.
    pub(crate) health: Health,
    /// Renders the metrics.
    pub(crate) metrics: PrometheusHandle,
    /// The running tables.
    pub(crate) tables: Tables,
    /// The certificates.
    pub(crate) certs: Arc<CertStore>,
    /// What is wrong with the configuration.
    pub(crate) faults: Faults,
    /// The settings in effect.
    pub(crate) settings: Live<Vec<Effective>>,
    /// Memory: the limit, the plan, the stage.
    pub(crate) overload: Arc<Overload>,
    /// Told when an operator asks for a drain.
    pub(crate) drain: Arc<Notify>,
    /// What else an operator may change.
    pub(crate) operator: Arc<dyn Operator>,
}

/// What an operator may change while the process runs, beside settings.
pub(crate) trait Operator: std::fmt::Debug + Send + Sync {
    /// Sets the budget of the certificate cache until the setting changes or the process ends; with `None`, to what the
    /// setting says. The size is one that the setting would take.
    fn set_cert_cache(&self, size: Option<String>) -> BudgetChange;
}

/// A changed budget of the certificate cache.
#[derive(Debug)]
pub(crate) struct BudgetChange {
    /// Bytes, before.
    pub(crate) was: u64,
    /// Bytes, now.
    pub(crate) is: u64,
    /// Bytes, as soon as there is memory for them.
    pub(crate) wanted: u64,
    /// Whether memory is short, now.
    pub(crate) stage: Stage,
    /// Why it cannot work out, and what would.
    pub(crate) warning: Option<String>,
    /// Whether an operator has set it.
    pub(crate) is_by_operator: bool,
    /// What the setting says, and where.
    pub(crate) setting: Effective,
}
