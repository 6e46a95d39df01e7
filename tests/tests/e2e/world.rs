//! What a case plays in: a directory of manifests, an authority, and the gateway that serves both.

use postern_tests::backend::{Backend, Seen};
use postern_tests::ca::{Issued, TestCa};
use postern_tests::client::{Call, Peer, Reply, TlsClient};
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::manifests::{KIngress, Manifests, PathRule, Rule, Service, secret};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

/// The namespace of everything, unless a case is about namespaces.
pub(crate) const NAMESPACE: &str = "shop";

/// The `postern` command that was built with the tests.
pub(crate) fn postern() -> Program {
    Program::new(env!("CARGO_BIN_EXE_postern-under-test"))
}

/// Manifests and an authority, before there is a gateway.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) ca: TestCa,
    pub(crate) tls: TlsClient,
    pub(crate) manifests: Manifests,
}

/// A scene with a gateway on it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) gateway: Gateway,
}

impl Scene {
    /// An empty directory (but for the class of Ingresses) and a new authority.
    pub(crate) fn new() -> Result<Self> {
        let ca = TestCa::new()?;
        let scene = Self { tls: TlsClient::new(&ca)?, ca, manifests: Manifests::new()? };
        scene.write("class", &[ingress_class()])?;
        Ok(scene)
    }

    /// Writes objects into `FILE.yaml`.
    pub(crate) fn write(&self, file: &str, objects: &[Value]) -> Result<()> {
        self.manifests.write(&format!("{file}.yaml"), objects)
    }

    /// Writes a Service named so with these backends as endpoints.
    pub(crate) fn service(&self, name: &str, backends: &[&Backend]) -> Result<()> {
        let service =
            backends.iter().fold(Service::new(NAMESPACE, name), |service, backend| service.endpoint(backend.address()));
        self.write(&format!("service-{name}"), &service.objects())
    }

    /// Writes a KIngress into a file of its name.
    pub(crate) fn kingress(&self, name: &str, build: impl FnOnce(KIngress) -> KIngress) -> Result<()> {
        self.write(&format!("kingress-{name}"), &[build(KIngress::new(NAMESPACE, name)).object()])
    }

    /// Writes a certificate for these names into the Secret `name`.
    pub(crate) fn certificate(&self, name: &str, names: &[&str]) -> Result<Issued> {
        let issued = self.ca.issue(names)?;
        self.write(&format!("secret-{name}"), &[secret(NAMESPACE, name, &issued)])?;
        Ok(issued)
    }

    /// A host with a certificate in the Secret of its name, all of whose paths lead to a backend.
    pub(crate) fn site(&self, host: &str, backend: &Backend) -> Result<Issued> {
        self.site_for(host, &[host], backend)
    }

    /// [`Self::site`], with other hosts than the one that gives Service, KIngress and Secret their name.
    pub(crate) fn site_for(&self, name: &str, hosts: &[&str], backend: &Backend) -> Result<Issued> {
        self.service(name, &[backend])?;
        self.kingress(name, |kingress| kingress.tls(hosts, name).rule(Rule::external(hosts).path(PathRule::to(name))))?;
        self.certificate(name, hosts)
    }

    /// Starts a gateway and waits until it is ready.
    pub(crate) async fn open(self) -> Result<World> {
        self.open_with(Options::default()).await
    }

    /// [`Self::open`], with options.
    pub(crate) async fn open_with(self, options: Options) -> Result<World> {
        let gateway = Gateway::start(&postern(), self.manifests.path(), &options).await?;
        Ok(World { scene: self, gateway })
    }
}

impl World {
    /// Makes a request on a connection of its own.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply> {
        call.send(&self.gateway, &self.scene.tls).await
    }

    /// The status of a GET.
    pub(crate) async fn status(&self, url: &str) -> Result<u16> {
        Ok(self.send(&Call::get(url)).await?.status)
    }

    /// What the backend saw of a GET.
    pub(crate) async fn seen(&self, url: &str) -> Result<Seen> {
        self.send(&Call::get(url)).await?.seen()
    }

    /// The name of the backend that answers a GET.
    pub(crate) async fn backend(&self, url: &str) -> Result<String> {
        Ok(self.seen(url).await?.backend)
    }

    /// Waits until a GET has this status.
    pub(crate) async fn until_status(&self, url: &str, status: u16) -> Result<()> {
        eventually(&format!("{url} answers {status}"), async || {
            let now = self.status(url).await?;
            ensure(now == status, || format!("it answers {now}"))
        })
        .await
    }

    /// Waits until a GET is answered by this backend.
    pub(crate) async fn until_backend(&self, url: &str, backend: &str) -> Result<()> {
        eventually(&format!("{url} leads to {backend}"), async || {
            let now = self.backend(url).await?;
            ensure(now == backend, || format!("it leads to {now}"))
        })
        .await
    }

    /// A handshake on the external HTTPS listener.
    pub(crate) async fn handshake(&self, name: &str) -> Result<Peer> {
        self.scene.tls.handshake(self.gateway.address("external-https")?, Some(name)).await
    }

    /// Waits until a handshake for this name is answered with the certificate of this serial number.
    pub(crate) async fn until_serial(&self, name: &str, serial: u64) -> Result<()> {
        eventually(&format!("{name} has certificate {serial}"), async || {
            let now = self.handshake(name).await?.serial;
            ensure(now == serial, || format!("it has {now}"))
        })
        .await
    }

    /// Waits until some line of the log contains all of these texts.
    pub(crate) async fn until_logged(&self, texts: &[&str]) -> Result<()> {
        eventually(&format!("a line of the log with {texts:?}"), async || {
            ensure(self.gateway.log().has_line_with(texts), || "no such line".to_owned())
        })
        .await
    }
}

/// The class `edge`, which is Postern's by its controller.
fn ingress_class() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "edge"},
        "spec": {"controller": "postern.dev/ingress-controller"},
    })
}
