//! Many services, in the shape that Knative makes.
//!
//! Each has a KIngress with three cluster-local hosts and an external one with a TLS Secret of its own, a Service, and an
//! EndpointSlice with a pod's address. One file holds the three objects of a service, another its Secret; a folder holds a
//! namespace of 100 services.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use postern_tests::Result;
use postern_tests::ca::{Issued, KeyKind, TestCa};
use postern_tests::client::TlsClient;
use postern_tests::manifests::{KIngress, Manifests, PathRule, Rule, Service, secret, to_yaml};
use rcgen::KeyPair;

/// Services of one namespace.
const NAMESPACE_SIZE: usize = 100;

/// Keys are shared by many certificates, to save the time of making them; each certificate has a name of its own.
const KEYS: usize = 64;

/// Services on disk.
pub(crate) struct Fleet {
    manifests: Manifests,
    ca: TestCa,
    keys: Vec<KeyPair>,
}

impl Fleet {
    /// Writes this many services. Their endpoints are made up, unless all lead to one backend.
    pub(crate) fn write(count: usize, backend: Option<SocketAddr>) -> Result<Self> {
        Self::write_with(count, backend, KeyKind::P256)
    }

    /// [`Self::write`] with keys of this kind.
    pub(crate) fn write_with(count: usize, backend: Option<SocketAddr>, kind: KeyKind) -> Result<Self> {
        let fleet = Self {
            manifests: Manifests::new()?,
            ca: TestCa::new()?,
            keys: (0..KEYS).map(|_| kind.generate()).collect::<Result<_>>()?,
        };
        let objects = template()?;
        for number in 0..count {
            let file = fleet.file(number, "")?;
            let address = address(number, backend);
            // Before the names, which may look like a port.
            let objects = objects.replace("127.0.0.1", &address.ip().to_string());
            fs::write(file, fill(&objects.replace("12345", &address.port().to_string()), number))?;
            fleet.renew(number)?;
        }
        Ok(fleet)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.manifests.path()
    }

    /// A client that trusts the certificates.
    pub(crate) fn client(&self) -> Result<TlsClient> {
        TlsClient::new(&self.ca)
    }

    /// Gives a service a new certificate, by an atomic rename. Returns its serial number.
    pub(crate) fn renew(&self, number: usize) -> Result<u64> {
        let issued = self.issue(number)?;
        let text = to_yaml(&[secret(&namespace(number), &name(number), &issued)])?;
        let file = self.file(number, "-tls")?;
        let temporary = file.with_extension("tmp");
        fs::write(&temporary, text)?;
        fs::rename(temporary, file)?;
        Ok(issued.serial)
    }

    fn issue(&self, number: usize) -> Result<Issued> {
        self.ca.issue_with_key(&[&host(number)], &self.keys[number % KEYS])
    }

    fn file(&self, number: usize, suffix: &str) -> Result<PathBuf> {
        let folder = self.manifests.path().join(namespace(number));
        fs::create_dir_all(&folder)?;
        Ok(folder.join(format!("{}{suffix}.yaml", name(number))))
    }
}

/// The external host of a service.
pub(crate) fn host(number: usize) -> String {
    format!("{}.{}.example.com", name(number), namespace(number))
}

fn name(number: usize) -> String {
    format!("service-{number:06}")
}

fn namespace(number: usize) -> String {
    format!("team-{:04}", number / NAMESPACE_SIZE)
}

fn fill(template: &str, number: usize) -> String {
    template.replace("NAMESPACE", &namespace(number)).replace("NAME", &name(number))
}

/// Objects of a service, with words in the places that differ.
fn template() -> Result<String> {
    let local = ["NAME.NAMESPACE", "NAME.NAMESPACE.svc", "NAME.NAMESPACE.svc.cluster.local"];
    let external = ["NAME.NAMESPACE.example.com"];
    let kingress = KIngress::new("NAMESPACE", "NAME")
        .created("2026-01-01T00:00:00Z")
        .http_option("Enabled")
        .tls(&external, "NAME")
        .rule(Rule::cluster_local(&local).path(PathRule::to("NAME")))
        .rule(Rule::external(&external).path(PathRule::to("NAME")));
    let mut objects = vec![kingress.object()];
    objects.extend(Service::new("NAMESPACE", "NAME").endpoint(SocketAddr::from(([127, 0, 0, 1], 12_345))).objects());
    to_yaml(&objects)
}

/// The backend, or the address of a pod like no other.
fn address(number: usize, backend: Option<SocketAddr>) -> SocketAddr {
    let [high, middle, low, _] = u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    backend.unwrap_or_else(|| SocketAddr::from(([10, low, middle, high], 8_012)))
}
