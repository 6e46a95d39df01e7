//! The demonstration's certificate authority: a root, an intermediate, and leaves for hosts.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber};

/// Issues certificates. Its keys exist in memory only and are gone with it.
pub(super) struct DemoCa {
    root_pem: String,
    intermediate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its chain and key, as they stand in a Secret.
pub(super) struct Issued {
    /// `tls.crt`: the leaf, then the intermediate.
    pub(super) chain_pem: String,
    /// `tls.key`, PKCS#8.
    pub(super) key_pem: String,
}

impl DemoCa {
    pub(super) fn new() -> Result<Self, rcgen::Error> {
        let root_key = KeyPair::generate()?;
        let root_params = authority("Postern demo root");
        let root_pem = root_params.self_signed(&root_key)?.pem();
        let root = Issuer::new(root_params, root_key);
        let key = KeyPair::generate()?;
        let params = authority("Postern demo intermediate");
        let intermediate_pem = params.signed_by(&key, &root)?.pem();
        Ok(Self { root_pem, intermediate_pem, issuer: Issuer::new(params, key) })
    }

    /// The root, for clients to trust.
    pub(super) fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Issues a certificate for `host` with this serial number, with a new key.
    pub(super) fn issue(&self, host: &str, serial: u64) -> Result<Issued, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.serial_number = Some(SerialNumber::from(serial));
        let leaf = params.signed_by(&key, &self.issuer)?;
        let chain_pem = format!("{}{}", leaf.pem(), self.intermediate_pem);
        Ok(Issued { chain_pem, key_pem: key.serialize_pem() })
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
