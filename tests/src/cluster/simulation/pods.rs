//! The backends of the pods: each listens while its pod's container runs, and only then.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::super::object::{self, Key};
use crate::Result;
use crate::backend::{Backend, Speaks};

/// The backends of the pods.
///
/// A pod that is being deleted is served by its backend until it is gone: that is its drain. A container that has ended
/// refuses connections, and those that were open break.
#[derive(Debug, Default)]
pub struct Pods {
    backends: Mutex<HashMap<Key, Backend>>,
}

impl Pods {
    /// How many requests a pod has had since its container started; `None` while none runs.
    pub fn requests(&self, namespace: &str, name: &str) -> Option<u64> {
        self.lock().get(&object::key(namespace, name)).map(Backend::requests)
    }

    /// How many requests wait in a pod for a permit; `None` while none runs.
    pub fn waiting(&self, namespace: &str, name: &str) -> Option<u64> {
        self.lock().get(&object::key(namespace, name)).map(Backend::waiting)
    }

    /// Lets this many parts and held requests of a pod go on ([`Backend::permit`]).
    pub fn permit(&self, namespace: &str, name: &str, count: usize) {
        if let Some(backend) = self.lock().get(&object::key(namespace, name)) {
            backend.permit(count);
        }
    }

    /// How many containers run.
    pub fn running(&self) -> usize {
        self.lock().len()
    }

    /// Starts or stops the backend as the pod's state says.
    ///
    /// # Errors
    /// If the address is not free; to be tried again.
    pub(super) async fn follow(&self, key: &Key, pod: Option<&Value>) -> Result<()> {
        let wanted = pod.and_then(listens_at);
        let present = self.lock().get(key).map(Backend::address);
        if wanted == present {
            return Ok(());
        }
        let stopped = self.lock().remove(key);
        if let Some(backend) = stopped {
            backend.stop().await;
        }
        if let Some((pod, address)) = pod.zip(wanted) {
            let backend = Backend::start_at(address, object::split_key(key).1, speaks(pod)).await?;
            self.lock().insert(key.clone(), backend);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Backend>> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a pod is reached, if its container runs.
fn listens_at(pod: &Value) -> Option<SocketAddr> {
    pod.pointer("/status/containerStatuses/0/state/running").filter(|running| running.is_object())?;
    address(pod)
}

/// A pod's address and port.
pub(super) fn address(pod: &Value) -> Option<SocketAddr> {
    let ip = pod["status"]["podIP"].as_str()?.parse().ok()?;
    let port = pod.pointer("/spec/containers/0/ports/0/containerPort").and_then(Value::as_u64)?;
    Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
}

fn speaks(pod: &Value) -> Speaks {
    match pod.pointer("/spec/containers/0/ports/0/name").and_then(Value::as_str) {
        Some("h2c" | "http2") => Speaks::H2c,
        _ => Speaks::Http1,
    }
}
