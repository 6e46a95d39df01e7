//! The running tables: one consistent [`Snapshot`], swapped as a whole, shared in structure with the one before.

use std::sync::Arc;

use arc_swap::ArcSwap;
use certstore::TlsIndex;
use xds::resource::Visibility;

use crate::route::RouteTable;
use crate::upstream::Clusters;

/// Everything that requests and handshakes are decided by, at one version.
///
/// Made of persistent maps: a new snapshot shares all that did not change with the old one, so an Update costs
/// O(log n) and readers never wait. Endpoints are apart: each cluster swaps its own, and no snapshot changes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The version of the last Update that changed something here; 0 before the first.
    pub version: u64,
    /// Server names to Secrets; the policy says on which listeners a name is offered.
    pub tls: TlsIndex<Visibility>,
    /// Hosts to routes.
    pub routes: RouteTable,
    /// Clusters by name.
    pub clusters: Clusters,
}

/// The current [`Snapshot`].
pub type Tables = Arc<ArcSwap<Snapshot>>;
