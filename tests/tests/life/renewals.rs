//! All certificates of a cluster are renewed within a minute, as after a change of the issuer.
//!
//! 10,000 names, each with a Secret of its own. Those that are in the cache are fetched and swapped in the background; of the
//! others nothing is fetched before a client asks.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use postern_tests::backend::Backend;
use postern_tests::ca::{Issued, new_key};
use postern_tests::client::tls::{TlsClient, close, connect};
use postern_tests::cluster::{Cluster, Kind, Options as ClusterOptions, Verb};
use postern_tests::gateway::{Gateway, Options};
use postern_tests::manifests::{KIngress, PathRule, Rule, Service, secret};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::world::{NAMESPACE, SEED, World};

/// How many names there are.
const NAMES: usize = 10_000;

/// Names that are asked for all the time.
const HOT: usize = 64;

/// Names that are asked for at all.
const ASKED: usize = NAMES / 2;

/// Room for the hot ones and some more.
const CACHE: &str = "1MiB";

/// What the process may grow by, at the most, while everything is renewed.
const GROWTH: u64 = 48 << 20;

/// Clients that make handshakes.
const CLIENTS: u64 = 4;

/// The serial numbers that a name has had, oldest first.
type Serials = Arc<Mutex<HashMap<usize, Vec<u64>>>>;

fn name(number: usize) -> String {
    format!("n{number}.test")
}

/// Issues certificates, with one key for all, and remembers them.
struct Issuer {
    key: rcgen::KeyPair,
    serials: Serials,
}

impl Issuer {
    fn secret(&self, cluster: &Cluster, number: usize) -> Result<serde_json::Value> {
        let name = name(number);
        let issued: Issued = cluster.ca().issue_with_key(&[&name], &self.key)?;
        let mut serials = self.serials.lock().unwrap_or_else(PoisonError::into_inner);
        serials.entry(number).or_default().push(issued.serial);
        Ok(secret(NAMESPACE, &name, &issued))
    }
}

/// A client: mostly hot names, now and then any that may be asked for.
struct Client {
    gateway: Arc<Gateway>,
    tls: TlsClient,
    serials: Serials,
    random: fastrand::Rng,
}

impl Client {
    /// Makes handshakes until the end. Returns how many.
    async fn run(mut self, ends: CancellationToken) -> Result<u64> {
        let (config, address) = (self.tls.config()?, self.gateway.address("external-https")?);
        let mut newest: HashMap<usize, usize> = HashMap::new();
        let mut handshakes = 0;
        while !ends.is_cancelled() {
            let number = if self.random.u8(..8) == 0 { self.random.usize(..ASKED) } else { self.random.usize(..HOT) };
            // It checks that the certificate is the authority's, and for this name.
            let (stream, peer) = connect(&config, address, Some(&name(number))).await?;
            close(stream).await;
            let seen = self.age(number, peer.serial)?;
            let before = newest.insert(number, seen).unwrap_or_default();
            ensure(seen >= before, || format!("{} went back from {before} to {seen}", name(number)))?;
            handshakes += 1;
        }
        Ok(handshakes)
    }

    /// Which of the certificates of a name this one is.
    fn age(&self, number: usize, serial: u64) -> Result<usize> {
        let serials = self.serials.lock().unwrap_or_else(PoisonError::into_inner);
        let found = serials[&number].iter().position(|known| *known == serial);
        Ok(found.ok_or_else(|| format!("{} was answered with {serial}", name(number)))?)
    }
}

/// A gateway on a cluster with all names.
async fn open(issuer: &Issuer, backend: &Backend) -> Result<World> {
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    cluster.apply_many(Service::new(NAMESPACE, "web").endpoint(backend.address()).objects())?;
    for number in 0..NAMES {
        let name = name(number);
        let rule = Rule::external(&[&name]).path(PathRule::to("web"));
        cluster.apply(KIngress::new(NAMESPACE, &name).tls(&[&name], &name).rule(rule).object())?;
        cluster.apply(issuer.secret(&cluster, number)?)?;
        tokio::task::yield_now().await;
    }
    World::of(cluster, &Options::default().cert_cache(CACHE).patience(std::time::Duration::from_secs(60))).await
}

/// The names whose Secret was fetched.
fn fetched(cluster: &Cluster) -> Vec<String> {
    let gets = cluster.requests().recent().into_iter().filter(|one| (one.verb, one.kind) == (Verb::Get, Kind::Secret));
    gets.filter_map(|get| get.name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_certificates_renewed_at_once_fail_no_handshake_and_fetch_only_what_is_asked_for() -> Result<()> {
    let backend = Backend::http1("web").await?;
    let issuer = Issuer { key: new_key()?, serials: Serials::default() };
    let world = open(&issuer, &backend).await?;
    let ends = CancellationToken::new();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (gateway, serials) = (Arc::clone(&world.gateway), Arc::clone(&issuer.serials));
        let random = fastrand::Rng::with_seed(SEED + number);
        clients.spawn(Client { gateway, tls: world.tls.clone(), serials, random }.run(ends.clone()));
    }
    for number in 0..HOT {
        world.handshake(&name(number)).await?;
    }
    let before = world.gateway.usage()?.rss;
    for number in 0..NAMES {
        world.cluster.apply(issuer.secret(&world.cluster, number)?)?;
        tokio::task::yield_now().await;
    }
    eventually("the hot names have their new certificates", async || {
        for number in 0..HOT {
            let serial = world.handshake(&name(number)).await?.serial;
            let is_new = issuer.serials.lock().unwrap_or_else(PoisonError::into_inner)[&number].last() == Some(&serial);
            ensure(is_new, || format!("{} has the old one", name(number)))?;
        }
        Ok(())
    })
    .await?;
    ends.cancel();
    let mut handshakes = 0;
    while let Some(client) = clients.join_next().await {
        handshakes += client??;
    }
    let usage = world.gateway.usage()?;
    eprintln!("{handshakes} handshakes; from {before} to {} bytes", usage.peak_rss);
    assert!(handshakes > 0 && usage.peak_rss < before + GROWTH, "from {before} to {} bytes", usage.peak_rss);
    let metrics = world.gateway.metrics().await?;
    let (held, budget) = (metrics.sum("postern_certstore_bytes"), metrics.sum("postern_certstore_budget_bytes"));
    assert!(held > 0.0 && held <= budget, "{held} bytes of certificates in a cache of {budget}");
    let asked: HashSet<String> = (0..ASKED).map(name).collect();
    let fetched = fetched(&world.cluster);
    eprintln!("{} Secrets were fetched; the cache held {held} of {budget} bytes", fetched.len());
    assert!(fetched.iter().all(|name| asked.contains(name)), "a Secret was fetched that nobody had asked for");
    assert!(fetched.len() < NAMES / 4, "{} fetches", fetched.len());
    Ok(())
}
