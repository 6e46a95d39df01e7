//! Many services.

use std::net::SocketAddr;
use std::num::NonZero;
use std::thread;

use super::super::{Certificates, Cluster, KnativeService};
use crate::Result;

/// How many namespaces the services are spread over.
const NAMESPACES: usize = 100;

/// The service of this number, with one of the endpoints.
pub fn numbered_service(number: usize, endpoints: &[SocketAddr]) -> KnativeService {
    let service = KnativeService::new(&format!("tenant-{:02}", number % NAMESPACES), &format!("service-{number:06}"));
    match number.checked_rem(endpoints.len()).and_then(|index| endpoints.get(index)) {
        Some(endpoint) => service.endpoint(*endpoint),
        None => service,
    }
}

/// An address that no other service has.
fn made_up(number: usize) -> SocketAddr {
    let [low, middle, high, _] = u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    SocketAddr::from(([10, high, middle, low], 8_012))
}

/// Fills a cluster, on all processors; signing is most of the work.
pub(super) fn services(cluster: &Cluster, count: usize, endpoints: &[SocketAddr]) -> Result<()> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let work = |worker: usize| {
            let certificates = Certificates::of(cluster.ca())?;
            for number in (worker..count).step_by(workers) {
                let own = [made_up(number)];
                let service = numbered_service(number, if endpoints.is_empty() { &own } else { endpoints });
                cluster.apply_many(service.objects_with(&certificates.issue(&service)?))?;
            }
            Result::Ok(())
        };
        let running: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        running.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })
}
