//! How a cluster is to be.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::stages::Stages;

/// How a cluster is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the API listens without TLS; TLS is at the same address on a port of the system's choice. Default: a free port.
    pub listen: SocketAddr,
    /// How many changes of each kind are kept for watches. Default: 16,384.
    pub history: usize,
    /// How much faster than ours the cluster's time passes. Default: 1.
    pub speed: f64,
    /// The server says that it is Kubernetes 1 and this. Default: 34.
    pub minor: u32,
    /// Whether watches can begin with the present objects (`sendInitialEvents`). Default: yes.
    pub watch_list: bool,
    /// What happens by itself; nothing, and no pods, if there is none. Default: none.
    pub stages: Option<Stages>,
    /// What the stages' jitter is made of. Default: 1.
    pub seed: u64,
    /// How often watches get a bookmark, in real time. Default: a minute, as a real server's.
    pub bookmark_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            history: 16_384,
            speed: 1.0,
            minor: 34,
            watch_list: true,
            stages: None,
            seed: 1,
            bookmark_interval: Duration::from_secs(60),
        }
    }
}
