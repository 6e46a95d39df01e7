//! The site that is attacked and visited.

use std::net::SocketAddr;
use std::path::Path;

use postern_tests::Result;
use postern_tests::ca::{TestCa, new_key};
use postern_tests::client::TlsClient;
use postern_tests::manifests::{KIngress, Manifests, PathRule, Rule, Service, secret, secret_of};
use rcgen::{CertificateParams, CustomExtension};

const NAMESPACE: &str = "site";

/// Host of the site.
pub(super) const HOST: &str = "site.test";

/// Hosts with large certificates.
pub(super) const LARGE: usize = 300;

/// Size of such a certificate in PEM. A gateway accepts 256 KiB with the key.
const LARGE_PEM: usize = 200 * 1024;

/// Manifests of the site.
pub(super) struct Site {
    manifests: Manifests,
    ca: TestCa,
}

impl Site {
    /// One host that leads to these backends; in addition, hosts with large certificates if wanted.
    pub(super) fn write(backends: &[SocketAddr], with_large: bool) -> Result<Self> {
        let site = Self { manifests: Manifests::new()?, ca: TestCa::new()? };
        let service =
            backends.iter().fold(Service::new(NAMESPACE, "site"), |service, backend| service.endpoint(*backend));
        let mut objects = service.objects();
        objects.extend([kingress("site", HOST), secret(NAMESPACE, "site", &site.ca.issue(&[HOST])?)]);
        site.manifests.write("site.yaml", &objects)?;
        if with_large {
            site.write_large()?;
        }
        Ok(site)
    }

    /// Each has a leaf and a key of its own; the bytes are in the second certificate of the chain, which all share.
    fn write_large(&self) -> Result<()> {
        let padding = padding()?;
        for number in 0..LARGE {
            let (name, host) = (format!("large-{number:03}"), large_host(number));
            let issued = self.ca.issue(&[&host])?;
            let secret = secret_of(NAMESPACE, &name, &(issued.chain + &padding), &issued.key);
            self.manifests.write(&format!("{name}.yaml"), &[kingress(&name, &host), secret])?;
        }
        Ok(())
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        self.manifests.path()
    }

    /// A client that trusts the site's certificate.
    pub(super) fn client(&self) -> Result<TlsClient> {
        Ok(TlsClient::new(&self.ca)?.x25519())
    }
}

/// A host with a large certificate.
pub(super) fn large_host(number: usize) -> String {
    format!("large-{number:03}.test")
}

fn kingress(name: &str, host: &str) -> serde_json::Value {
    let kingress = KIngress::new(NAMESPACE, name).tls(&[host], name).http_option("Enabled");
    kingress.rule(Rule::external(&[host]).path(PathRule::to("site"))).object()
}

/// A certificate in PEM whose size is that of an extension nobody knows.
fn padding() -> Result<String> {
    const PRIVATE_ARC: [u64; 8] = [1, 3, 6, 1, 4, 1, 99_999, 1];
    let bytes = LARGE_PEM / 65 * 48 - 1024;
    let mut params = CertificateParams::new(vec!["padding.test".to_owned()])?;
    params.custom_extensions = vec![CustomExtension::from_oid_content(&PRIVATE_ARC, vec![0x5a; bytes])];
    Ok(params.self_signed(&new_key()?)?.pem())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_certificate_is_about_200_kibibytes() {
        let length = padding().unwrap().len();
        assert!((190 * 1024..=LARGE_PEM).contains(&length), "{length}");
    }
}
