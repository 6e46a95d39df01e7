//! A certificate authority for tests.

use std::sync::Arc;

use pem::{EncodeConfig, LineEnding};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, RsaKeySize, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use x509_parser::der_parser::asn1_rs::{FromDer, OctetString, Sequence};

use crate::details::KeyKind;
use crate::secret::{PrivateKeyPem, SecretData};

/// A root, and if wanted an intermediate, that issue leaf certificates. All keys are made anew.
#[derive(Debug)]
pub struct TestCa {
    root: rcgen::Certificate,
    intermediate: Option<rcgen::Certificate>,
    issuer: Issuer<'static, KeyPair>,
}

/// What a TLS Secret would hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSecret {
    /// `tls.crt`
    pub chain: String,
    /// `tls.key`
    pub key: String,
    /// The resource version.
    pub version: Option<Arc<str>>,
}

/// How a private key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEncoding {
    /// `PRIVATE KEY`
    Pkcs8,
    /// `RSA PRIVATE KEY`
    Pkcs1,
    /// `EC PRIVATE KEY`
    Sec1,
}

/// A leaf to be issued.
#[derive(Debug)]
#[must_use = "nothing happens before issue()"]
pub struct LeafBuilder<'a> {
    ca: &'a TestCa,
    params: CertificateParams,
    kind: KeyKind,
    encoding: KeyEncoding,
    version: Option<Arc<str>>,
}

impl TestCa {
    /// A root that issues leaves itself.
    ///
    /// # Panics
    /// Never: the parameters are complete.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a P-256 key can be made");
        let params = authority("Postern test root");
        let root = params.self_signed(&key).expect("the parameters of a root are complete");
        Self { root, intermediate: None, issuer: Issuer::new(params, key) }
    }

    /// A root with an intermediate, which is in each chain.
    ///
    /// # Panics
    /// Never: the parameters are complete.
    pub fn with_intermediate() -> Self {
        let Self { root, issuer, .. } = Self::new();
        let key = KeyPair::generate().expect("a P-256 key can be made");
        let params = authority("Postern test intermediate");
        let intermediate = params.signed_by(&key, &issuer).expect("the parameters of an intermediate are complete");
        Self { root, intermediate: Some(intermediate), issuer: Issuer::new(params, key) }
    }

    /// The root, for clients to trust: PEM.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The intermediate: PEM; empty if there is none.
    pub fn intermediate_pem(&self) -> String {
        self.intermediate.as_ref().map(rcgen::Certificate::pem).unwrap_or_default()
    }

    /// The root, for clients to trust: DER.
    pub fn root_der(&self) -> CertificateDer<'static> {
        self.root.der().clone()
    }

    /// A leaf for `names`, ECDSA P-256 and valid for as long as matters, that can be changed before it is issued.
    ///
    /// # Panics
    /// When a name is none.
    pub fn leaf(&self, names: &[&str]) -> LeafBuilder<'_> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("the names are host names");
        params.distinguished_name.push(DnType::CommonName, "Postern test leaf");
        LeafBuilder { ca: self, params, kind: KeyKind::EcdsaP256, encoding: KeyEncoding::Pkcs8, version: None }
    }

    /// A usual leaf for `names`, with a new key.
    ///
    /// # Panics
    /// When a name is none.
    pub fn issue(&self, names: &[&str]) -> TestSecret {
        self.leaf(names).issue()
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl LeafBuilder<'_> {
    /// With this kind of key: a new one, but for RSA of 8192 bits.
    pub fn key(mut self, kind: KeyKind) -> Self {
        self.kind = kind;
        self
    }

    /// With the key written like this.
    pub fn encoding(mut self, encoding: KeyEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// With this resource version.
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Expired in 2002.
    pub fn expired(mut self) -> Self {
        self.params.not_before = date_time_ymd(2001, 1, 1);
        self.params.not_after = date_time_ymd(2002, 1, 1);
        self
    }

    /// Valid from 2900 on.
    pub fn not_yet_valid(mut self) -> Self {
        self.params.not_before = date_time_ymd(2900, 1, 1);
        self.params.not_after = date_time_ymd(2901, 1, 1);
        self
    }

    /// Valid until the first of January of `year`.
    pub fn until(mut self, year: i32) -> Self {
        self.params.not_after = date_time_ymd(year, 1, 1);
        self
    }

    /// With an extension of this content, in DER.
    pub fn extension(mut self, oid: &[u64], content: Vec<u8>) -> Self {
        self.params.custom_extensions.push(CustomExtension::from_oid_content(oid, content));
        self
    }

    /// Issues it.
    ///
    /// # Panics
    /// When the key can't be written as was asked.
    pub fn issue(self) -> TestSecret {
        let key = generate(self.kind);
        let leaf = self.sign(&key);
        TestSecret {
            chain: leaf + &self.ca.intermediate_pem(),
            key: encode(&key, self.encoding),
            version: self.version,
        }
    }

    /// Issues it for a public key: PEM, the leaf alone.
    ///
    /// # Panics
    /// Never: the parameters are complete.
    pub fn sign(&self, key: &impl PublicKeyData) -> String {
        self.params.signed_by(key, &self.ca.issuer).expect("the parameters of a leaf are complete").pem()
    }
}

impl TestSecret {
    /// As a source delivers it.
    pub fn data(&self) -> SecretData {
        SecretData {
            certificate_chain: self.chain.clone().into_bytes(),
            private_key: PrivateKeyPem::new(self.key.clone().into_bytes()),
            version: self.version.clone(),
        }
    }

    /// The same with this resource version.
    #[must_use]
    pub fn at(mut self, version: &str) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The same with the key of `other`, which doesn't match.
    #[must_use]
    pub fn with_key_of(mut self, other: &Self) -> Self {
        self.key.clone_from(&other.key);
        self
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn generate(kind: KeyKind) -> KeyPair {
    let key = match kind {
        KeyKind::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyKind::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyKind::EcdsaP521 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512),
        KeyKind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        KeyKind::Rsa { bits: 8192.. } => return rsa_8192(),
        KeyKind::Rsa { bits: 4096.. } => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
        KeyKind::Rsa { bits: 3072.. } => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
        KeyKind::Rsa { .. } => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
    };
    key.expect("the library makes keys of all its kinds")
}

/// To make one takes half a minute.
fn rsa_8192() -> KeyPair {
    KeyPair::from_pem(include_str!("rsa-8192.pem")).expect("it is a key")
}

fn encode(key: &KeyPair, encoding: KeyEncoding) -> String {
    let label = match encoding {
        KeyEncoding::Pkcs8 => return key.serialize_pem(),
        KeyEncoding::Pkcs1 => "RSA PRIVATE KEY",
        KeyEncoding::Sec1 => "EC PRIVATE KEY",
    };
    let pem = pem::Pem::new(label, inner_key(key.serialized_der()));
    pem::encode_config(&pem, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// What PKCS#8 wraps (RFC 5208 §5): version, algorithm, and the key as PKCS#1 or SEC1 in an octet string.
fn inner_key(pkcs8: &[u8]) -> Vec<u8> {
    let (_, sequence) = Sequence::from_der(pkcs8).expect("PKCS#8 is a sequence");
    let (rest, _version) = u8::from_der(&sequence.content).expect("it begins with a version");
    let (rest, _algorithm) = Sequence::from_der(rest).expect("the algorithm follows");
    let (_, key) = OctetString::from_der(rest).expect("the key follows");
    key.as_ref().to_vec()
}
