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
/// O(log n) and readers never wait. Clusters and their endpoints are apart, as they change more often than routes: all
/// snapshots share them, and each is there before a route names it and for as long as one does.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The version of the last Update that changed something here; 0 before the first.
    pub version: u64,
    /// Server names to Secrets; the policy says on which listeners a name is offered.
    pub tls: TlsIndex<Visibility>,
    /// Hosts to routes.
    pub routes: RouteTable,
    /// Clusters by name; as they are now, whatever the version.
    pub clusters: Arc<Clusters>,
}

/// The current [`Snapshot`].
pub type Tables = Arc<ArcSwap<Snapshot>>;
