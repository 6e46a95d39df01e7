//! A Secret as it is named and as it is delivered: chain and key, still PEM.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Namespace and name of a Secret. The texts are shared; a clone allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretRef {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl SecretRef {
    /// The Secret `name` in `namespace`.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a Secret holds, as a [`SecretSource`](crate::SecretSource) delivers it.
#[derive(Debug)]
pub struct SecretData {
    /// `tls.crt`: PEM, the leaf first, then what links it to a root.
    pub certificate_chain: Vec<u8>,
    /// `tls.key`: PEM, PKCS#8, PKCS#1 or SEC1.
    pub private_key: PrivateKeyPem,
    /// The version of the Secret these bytes belong to, where the source knows it. Compared for equality only.
    pub version: Option<Arc<str>>,
}

/// A private key in PEM: wiped when dropped, and no part of it is ever printed.
pub struct PrivateKeyPem(Zeroizing<Vec<u8>>);

impl PrivateKeyPem {
    /// Takes the bytes over; they are wiped when this value is dropped.
    pub fn new(pem: Vec<u8>) -> Self {
        Self(Zeroizing::new(pem))
    }

    /// The PEM text. Whoever copies it is answerable for the copy.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Bytes of PEM.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for PrivateKeyPem {
    fn from(pem: Vec<u8>) -> Self {
        Self::new(pem)
    }
}

impl fmt::Debug for PrivateKeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKeyPem(redacted, {} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_prints_its_length_and_nothing_else() {
        let key = PrivateKeyPem::new(b"-----BEGIN PRIVATE KEY-----".to_vec());
        assert_eq!(format!("{key:?}"), "PrivateKeyPem(redacted, 27 bytes)");
    }

    #[test]
    fn a_secret_is_written_as_namespace_slash_name() {
        assert_eq!(SecretRef::new("shop", "web-tls").to_string(), "shop/web-tls");
    }
}
