//! What a case plays in: sites with a certificate each, a gateway, and the command that asks it.

use std::ffi::OsString;

use postern_tests::backend::Backend;
use postern_tests::ca::{Issued, TestCa};
use postern_tests::client::TlsClient;
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::manifests::{KIngress, Manifests, PathRule, Rule, Service, secret};
use postern_tests::{Result, ensure};
use serde_json::Value;

pub(crate) const NAMESPACE: &str = "shop";

/// The `postern` command that was built with the tests.
pub(crate) fn postern() -> Program {
    Program::new(env!("CARGO_BIN_EXE_postern-under-test"))
}

/// A gateway whose sites are `s0.test`, `s1.test`, …, each with a Secret of that name.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ca: TestCa,
    pub(crate) tls: TlsClient,
    pub(crate) manifests: Manifests,
    pub(crate) gateway: Gateway,
    pub(crate) keys: Vec<Issued>,
    _backend: Backend,
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) async fn open(sites: usize) -> Result<Self> {
        Self::open_with(sites, Options::default()).await
    }

    pub(crate) async fn open_with(sites: usize, options: Options) -> Result<Self> {
        let (ca, manifests, backend) = (TestCa::new()?, Manifests::new()?, Backend::http1("site").await?);
        manifests.write("service.yaml", &Service::new(NAMESPACE, "site").endpoint(backend.address()).objects())?;
        let mut keys = Vec::new();
        for number in 0..sites {
            let host = host(number);
            site(&manifests, &host, &host)?;
            let issued = ca.issue(&[&host])?;
            manifests.write(&format!("secret-{host}.yaml"), &[secret(NAMESPACE, &host, &issued)])?;
            keys.push(issued);
        }
        let tls = TlsClient::new(&ca)?;
        let gateway = Gateway::start(&postern(), manifests.path(), &options).await?;
        Ok(Self { ca, tls, manifests, gateway, keys, _backend: backend })
    }

    /// A handshake on the external HTTPS listener.
    pub(crate) async fn handshake(&self, name: &str) -> Result<u64> {
        Ok(self.tls.handshake(self.gateway.address("external-https")?, Some(name)).await?.serial)
    }

    /// Runs `postern certs` on this gateway.
    pub(crate) async fn certs(&self, arguments: &[&str]) -> Result<Printed> {
        let admin = self.gateway.address("admin")?.to_string();
        certs(&[&["--admin", &admin], arguments].concat()).await
    }

    /// [`Self::certs`] for programs, which must succeed.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let printed = self.certs(&[arguments, &["--output", "json"]].concat()).await?;
        ensure(printed.code == Some(0), || format!("{arguments:?}: {printed:?}"))?;
        Ok(serde_json::from_str(&printed.out)?)
    }
}

/// Runs `postern certs`.
pub(crate) async fn certs(arguments: &[&str]) -> Result<Printed> {
    let arguments = ["certs"].iter().chain(arguments).map(OsString::from);
    let output = postern().run(arguments).await?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes);
    Ok(Printed { code: output.status.code(), out: text(output.stdout)?, err: text(output.stderr)? })
}

/// A KIngress for `host` with the certificate of a Secret.
pub(crate) fn site(manifests: &Manifests, host: &str, secret: &str) -> Result<()> {
    let hosts = [host];
    let rule = Rule::external(&hosts).path(PathRule::to("site"));
    let kingress = KIngress::new(NAMESPACE, host).tls(&hosts, secret).rule(rule);
    manifests.write(&format!("kingress-{host}.yaml"), &[kingress.object()])
}

pub(crate) fn host(number: usize) -> String {
    format!("s{number}.test")
}
