//! Many services.

use std::net::SocketAddr;
use std::num::NonZero;
use std::thread;

use super::super::{Certificates, Cluster, KnativeService};
use crate::Result;

/// How many namespaces the services are spread over.
const NAMESPACES: usize = 100;

/// The service of this number.
pub(super) fn service(number: usize, endpoints: &[SocketAddr]) -> KnativeService {
    let service = KnativeService::new(&format!("tenant-{:02}", number % NAMESPACES), &format!("service-{number:06}"));
    match number.checked_rem(endpoints.len()).and_then(|index| endpoints.get(index)) {
        Some(endpoint) => service.endpoint(*endpoint),
        None => service,
    }
}

/// Fills a cluster, on all processors; signing is most of the work.
pub(super) fn services(cluster: &Cluster, count: usize, endpoints: &[SocketAddr]) -> Result<()> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let work = |worker: usize| {
            let certificates = Certificates::of(cluster.ca())?;
            for number in (worker..count).step_by(workers) {
                let service = service(number, endpoints);
                cluster.apply_many(service.objects_with(&certificates.issue(&service)?))?;
            }
            Result::Ok(())
        };
        let running: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        running.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })
}
