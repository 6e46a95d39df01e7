//! What one change in a cluster costs, and how soon it is served.

use std::time::{Duration, Instant};

use postern_tests::backend::{Backend, Seen};
use postern_tests::client::Call;
use postern_tests::cluster::numbered_service;
use postern_tests::gateway::Gateway;
use postern_tests::{Result, ensure};
use serde_json::json;

use crate::cluster::Cluster;
use crate::report::Report;
use crate::run::{at_rest, idle_rate, start_on};

/// Changes for one sample of CPU time.
const CHANGES: usize = 200;

/// From one change to the next: longer than changes are collected for, so that each is handled by itself.
const PAUSE: Duration = Duration::from_millis(50);

/// Changes of which the time until they are served is taken, for one sample.
const TIMED: usize = 20;

/// Services whose certificates are cached; the changes are about these in turn.
const CACHED: usize = 50;

/// Measures with each of these numbers of services.
pub(crate) async fn measure(counts: &[usize], repeat: usize) -> Result<Report> {
    let mut report = Report::new(
        "events",
        format!(
            "{CHANGES} changes {PAUSE:?} apart in a simulated cluster of N Knative services, of {CACHED} services in turn whose \
             certificates are cached; CPU time of the gateway per change (what it uses at rest is taken off), and time from \
             the order to the cluster until a client sees the change, one change at a time. Wanted: at most 1 ms of CPU at \
             any number of services; a renewed certificate within 100 ms"
        ),
    );
    for &count in counts {
        let mut bench = Bench::start(count).await?;
        for _ in 0..repeat {
            for change in [Change::Secret, Change::Ingress, Change::Endpoints] {
                let mut sample = |name: &str, value: Duration| {
                    report.sample(
                        format!("{count} services: {name}, {}", change.name()),
                        "ms",
                        1e3 * value.as_secs_f64(),
                    );
                };
                let cpu = bench.cpu(change).await;
                sample("CPU per event", cpu.map_err(|error| bench.gateway.explain(error))?);
                for number in (0..bench.leads_to.len()).cycle().take(TIMED) {
                    let took = bench.until_seen(change, number).await;
                    sample("time until seen", took.map_err(|error| bench.gateway.explain(error))?);
                }
            }
        }
    }
    Ok(report)
}

/// What changes.
#[derive(Clone, Copy)]
enum Change {
    /// The certificate of a service is renewed.
    Secret,
    /// A header that its KIngress appends.
    Ingress,
    /// Its endpoint is another one of two.
    Endpoints,
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret whose certificate is cached",
            Self::Ingress => "KIngress",
            Self::Endpoints => "EndpointSlice",
        }
    }
}

/// A gateway on a cluster, and the two backends that services change between.
struct Bench {
    cluster: Cluster,
    gateway: Gateway,
    backends: [Backend; 2],
    /// To which backend each of the services leads whose certificates are cached.
    leads_to: Vec<usize>,
}

impl Bench {
    async fn start(count: usize) -> Result<Self> {
        let backends = [Backend::http1("one").await?, Backend::http1("two").await?];
        let cluster = Cluster::start(count, Some(backends[0].address())).await?;
        let gateway = start_on(&cluster, "64MiB").await?.gateway;
        let bench = Self { cluster, gateway, backends, leads_to: vec![0; CACHED.min(count)] };
        for number in 0..bench.leads_to.len() {
            bench.seen(Change::Secret, number).await?;
        }
        at_rest(&bench.gateway).await?;
        Ok(bench)
    }

    /// CPU time per change, over many.
    async fn cpu(&mut self, change: Change) -> Result<Duration> {
        let at_rest = idle_rate(&self.gateway).await?;
        let (began, before) = (Instant::now(), self.gateway.usage()?);
        let mut ticks = tokio::time::interval(PAUSE);
        for number in (0..self.leads_to.len()).cycle().take(CHANGES) {
            ticks.tick().await;
            self.apply(change, number).await?;
        }
        ticks.tick().await;
        let used = self.gateway.usage()?.cpu_since(&before);
        Ok(used.saturating_sub(began.elapsed().mul_f64(at_rest)) / u32::try_from(CHANGES)?)
    }

    /// Time from the order to change a service until a client sees the change.
    async fn until_seen(&mut self, change: Change, number: usize) -> Result<Duration> {
        const PATIENCE: Duration = Duration::from_secs(30);
        let before = self.seen(change, number).await?;
        let began = Instant::now();
        self.apply(change, number).await?;
        while self.seen(change, number).await? == before {
            ensure(began.elapsed() < PATIENCE, || format!("service {number} is still at {before}"))?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(began.elapsed())
    }

    /// Changes a service.
    async fn apply(&mut self, change: Change, number: usize) -> Result<()> {
        let order = match change {
            Change::Secret => json!({"command": "renew", "first": number, "count": 1}),
            Change::Ingress => json!({"command": "change-ingresses", "first": number, "count": 1}),
            Change::Endpoints => {
                let other = 1 - self.leads_to[number];
                self.leads_to[number] = other;
                let backend = self.backends[other].address();
                json!({"command": "change-endpoints", "first": number, "count": 1, "endpoints": [backend]})
            }
        };
        self.cluster.tell(&order).await.map(drop)
    }

    /// What a client sees of that which changes.
    async fn seen(&self, change: Change, number: usize) -> Result<String> {
        let service = numbered_service(number, &[]);
        if matches!(change, Change::Secret) {
            let address = self.gateway.address("external-https")?;
            let peer = self.cluster.client.handshake(address, Some(&service.external_host())).await?;
            return Ok(peer.serial.to_string());
        }
        let call = Call::get(&format!("http://{}/", service.local_hosts()[0])).on("internal-http");
        let reply = call.send(&self.gateway, &self.cluster.client).await?;
        ensure(reply.status == 200, || format!("service {number} answers {}", reply.status))?;
        if matches!(change, Change::Endpoints) {
            let backend = reply.headers.get("x-backend").ok_or("no backend has answered")?;
            return Ok(backend.to_str()?.to_owned());
        }
        let seen: Seen = serde_json::from_str(&reply.text())?;
        Ok(seen.header("changed").unwrap_or_default().to_owned())
    }
}
