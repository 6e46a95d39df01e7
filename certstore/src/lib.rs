//! A memory-bounded store of TLS server certificates: *which certificate answers for this server name, right now?*

/// Namespace and name of a Secret. The texts are shared; a clone allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretRef {
    /// The namespace.
    pub namespace: std::sync::Arc<str>,
    /// The name.
    pub name: std::sync::Arc<str>,
}

/// Server names to bindings.
#[derive(Clone, Debug, Default)]
pub struct TlsIndex<P> {
    policies: std::marker::PhantomData<P>,
}
