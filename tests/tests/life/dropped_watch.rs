//! Watches that are dropped at every possible point of a rollout, under load.
//!
//! A rollout moves everything from one revision to the next: certificates, Services, endpoints, splits, an Ingress. For each
//! kind and each number of events, the watch of that kind is dropped after so many events of the rollout, in each way in
//! which a watch can end. The kinds then arrive in another order than they happened, and the old revision may be gone before
//! the gateway has heard of the new one.

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::client::Call;
use postern_tests::cluster::{Cluster, Fault, Kind, Options as ClusterOptions, Rule, Silence, Verb};
use postern_tests::ensure;
use postern_tests::gateway::Options;
use postern_tests::manifests::kingress::Split;
use postern_tests::manifests::{self, Ingress, KIngress, PathRule, Service, secret};
use postern_tests::patience::eventually;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::load::{Habit, Load};
use crate::world::{NAMESPACE, World};

/// The kinds of which the rollout changes something.
const KINDS: [Kind; 5] = [Kind::KIngress, Kind::Ingress, Kind::Service, Kind::EndpointSlice, Kind::Secret];

const HOST: &str = "cart.test";
const WEB: &str = "web.test";

/// The backends of even and of odd revisions.
const BACKENDS: [&str; 2] = ["even", "odd"];

/// The Secret of [`HOST`], and the KIngress that serves it.
const CART: &str = "cart";

/// One change of a rollout.
enum Change {
    Apply(Value),
    Delete(Kind, String),
}

/// A world that is at some revision.
struct Shop {
    world: World,
    /// [`BACKENDS`]. Both live all the time.
    backends: [Backend; 2],
    revision: usize,
    /// The serial number of the certificate of [`HOST`].
    serial: u64,
}

fn service(revision: usize) -> String {
    format!("cart-{revision}")
}

/// A host, Secret and KIngress that only one revision has.
fn extra(revision: usize) -> String {
    format!("extra-{revision}")
}

fn extra_host(revision: usize) -> String {
    format!("{}.test", extra(revision))
}

fn cart(splits: &[(usize, u32)]) -> Value {
    let path = splits
        .iter()
        .fold(PathRule::default(), |path, (revision, percent)| path.split(Split::new(&service(*revision), *percent)));
    let rule = manifests::Rule::external(&[HOST]).path(path);
    KIngress::new(NAMESPACE, CART).tls(&[HOST], CART).rule(rule).object()
}

fn extra_kingress(revision: usize) -> Value {
    let host = extra_host(revision);
    let rule = manifests::Rule::external(&[&host]).path(PathRule::to(&service(revision)));
    KIngress::new(NAMESPACE, &extra(revision)).tls(&[&host], &extra(revision)).rule(rule).object()
}

fn web(revision: usize) -> Value {
    Ingress::new(NAMESPACE, "web").rule(Some(WEB), &[("Prefix", "/", &service(revision))]).object()
}

impl Shop {
    async fn open(watch_list: bool) -> Result<Self> {
        let backends = [Backend::http1(BACKENDS[0]).await?, Backend::http1(BACKENDS[1]).await?];
        let cluster = Cluster::start(ClusterOptions { watch_list, ..ClusterOptions::default() }).await?;
        let certificate = cluster.ca().issue(&[HOST])?;
        let of_extra = cluster.ca().issue(&[&extra_host(0)])?;
        cluster.apply_many(Service::new(NAMESPACE, &service(0)).endpoint(backends[0].address()).objects())?;
        cluster.apply_many([cart(&[(0, 100)]), web(0), extra_kingress(0)])?;
        cluster.apply_many([secret(NAMESPACE, CART, &certificate), secret(NAMESPACE, &extra(0), &of_extra)])?;
        let world = World::of(cluster, &Options::default()).await?;
        Ok(Self { world, backends, revision: 0, serial: certificate.serial })
    }

    /// The rollout to the next revision, and the serial number that [`HOST`] then has.
    fn rollout(&self) -> Result<(Vec<(Kind, Change)>, u64)> {
        use Change::{Apply, Delete};
        let (old, new) = (self.revision, self.revision + 1);
        let (renewed, of_extra) = {
            let ca = self.world.cluster.ca();
            (ca.issue(&[HOST])?, ca.issue(&[&extra_host(new)])?)
        };
        let slice = |revision: usize, ready: bool| {
            let address = self.backends[revision % 2].address();
            manifests::endpoint_slice(NAMESPACE, &service(revision), "http", &[(address, ready)])
        };
        let slice_name = |revision| format!("{}-{}", service(revision), self.backends[revision % 2].address().port());
        let service_object =
            Service::new(NAMESPACE, &service(new)).endpoint(self.backends[new % 2].address()).objects();
        let changes = vec![
            (Kind::Secret, Apply(secret(NAMESPACE, CART, &renewed))),
            (Kind::Service, Apply(service_object[0].clone())),
            (Kind::EndpointSlice, Apply(slice(new, false))),
            (Kind::EndpointSlice, Apply(slice(new, true))),
            (Kind::Secret, Apply(secret(NAMESPACE, &extra(new), &of_extra))),
            (Kind::KIngress, Apply(extra_kingress(new))),
            (Kind::KIngress, Apply(cart(&[(old, 50), (new, 50)]))),
            (Kind::KIngress, Apply(cart(&[(new, 100)]))),
            (Kind::Ingress, Apply(web(new))),
            (Kind::KIngress, Delete(Kind::KIngress, extra(old))),
            (Kind::Secret, Delete(Kind::Secret, extra(old))),
            (Kind::EndpointSlice, Apply(slice(old, false))),
            (Kind::EndpointSlice, Delete(Kind::EndpointSlice, slice_name(old))),
            (Kind::Service, Delete(Kind::Service, service(old))),
        ];
        Ok((changes, renewed.serial))
    }

    /// Carries a rollout out, without waiting for anybody.
    fn roll_out(&mut self) -> Result<()> {
        let (changes, serial) = self.rollout()?;
        for (_, change) in changes {
            match change {
                Change::Apply(object) => drop(self.world.cluster.apply(object)?),
                Change::Delete(kind, name) => {
                    let deleted = self.world.cluster.delete(kind, NAMESPACE, &name);
                    ensure(deleted, || format!("{name} was not there"))?;
                }
            }
        }
        self.revision += 1;
        self.serial = serial;
        Ok(())
    }

    /// How many events a rollout has of a kind.
    fn events(&self, of: Kind) -> Result<u64> {
        Ok(self.rollout()?.0.iter().filter(|(kind, _)| *kind == of).count() as u64)
    }

    /// Everything is as the present revision says, and nothing of the one before is left.
    async fn check(&self) -> Result<()> {
        let (new, gone) = (extra_host(self.revision), extra_host(self.revision.wrapping_sub(1)));
        let urls = [
            format!("http://{HOST}/"),
            format!("https://{HOST}/"),
            format!("http://{WEB}/"),
            format!("https://{new}/"),
        ];
        for url in urls {
            let reply = self.world.send(&Call::get(&url)).await?;
            let (from, wanted) = (reply.header("x-backend"), BACKENDS[self.revision % 2]);
            ensure(from == Some(wanted), || format!("{url}: {} from {from:?} instead of {wanted}", reply.status))?;
        }
        let serial = self.world.handshake(HOST).await?.serial;
        ensure(serial == self.serial, || format!("certificate {serial} instead of {}", self.serial))?;
        let status = self.world.send(&Call::get(&format!("http://{gone}/"))).await?.status;
        ensure(status == 404, || format!("{gone}: {status}"))?;
        ensure(self.world.handshake(&gone).await.is_err(), || format!("{gone} has a certificate"))
    }

    /// Ends all watches, and returns when there is one of this kind that will end so.
    async fn arm(&self, kind: Kind, fault: Fault) -> Result<()> {
        let cluster = &self.world.cluster;
        let rule = cluster.faults().add(Rule::on(Verb::Watch, kind, fault).times(1));
        let address = cluster.url().trim_start_matches("http://").to_owned();
        cluster.silence(Silence::Refusing);
        eventually("the API server is away", async || {
            ensure(TcpStream::connect(&address).await.is_err(), || "it is there".to_owned())
        })
        .await?;
        cluster.silence(Silence::Answering);
        eventually("a watch that will end", async || {
            ensure(cluster.faults().struck(rule) == 1, || "none yet".to_owned())
        })
        .await
    }
}

fn load(world: &World) -> Load {
    let (plain, tls) = (Call::get(&format!("http://{HOST}/")), Call::get(&format!("https://{HOST}/")));
    let web = Call::get(&format!("http://{WEB}/"));
    let habits = [Habit::KeepAlive, Habit::KeepAlive, Habit::KeepAlive, Habit::ConnectAnew];
    Load::start(world, [plain, web, tls.clone().http2(), tls].into_iter().zip(habits))
}

/// Drops the watch of each kind after each number of events of a rollout.
async fn dropped_everywhere(watch_list: bool, ending: impl Fn(u64) -> Fault) -> Result<()> {
    let mut shop = Shop::open(watch_list).await?;
    let load = load(&shop.world);
    for kind in KINDS {
        let count = shop.events(kind)?;
        for events in 1..=count {
            shop.arm(kind, ending(events)).await?;
            shop.roll_out()?;
            let what = format!("{kind:?} dropped after {events} of {count} events: revision {}", shop.revision);
            eventually(&what, async || shop.check().await).await?;
            ensure(load.failures().is_empty(), || format!("{what}: {:#?}", load.failures()))?;
        }
    }
    load.end().await.map(drop)
}

#[tokio::test]
async fn watches_that_end_at_any_point_of_a_rollout_lose_no_change_and_no_request() -> Result<()> {
    dropped_everywhere(true, |events| Fault::DropWatch { events: Some(events), after: None, reset: false }).await
}

#[tokio::test]
async fn watches_that_are_reset_at_any_point_of_a_rollout_lose_no_change_and_no_request() -> Result<()> {
    dropped_everywhere(true, |events| Fault::DropWatch { events: Some(events), after: None, reset: true }).await
}

/// Without streamed lists: their events would count as the watch's.
#[tokio::test]
async fn positions_that_are_forgotten_at_any_point_of_a_rollout_lose_no_change_and_no_request() -> Result<()> {
    dropped_everywhere(false, |events| Fault::ErrorEvent { events, code: 410 }).await
}
