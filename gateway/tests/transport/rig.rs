//! A gateway's transport, ready to be talked to.

use std::net::SocketAddr;
use std::sync::Arc;

use certstore::testing::{ScriptedSource, TestCa, TestSecret};
use certstore::{CertStore, SecretRef, SniPattern, TlsBinding};
use postern::connection::{self, Service};
use postern::drain::Phase;
use postern::listener::{self, Admission, Limits, ListenerName, Policy};
use postern::tables::Tables;
use postern::tls::{self, Terminator};
use tokio::sync::watch;
use xds::resource::Visibility;

use crate::backend::Backend;
use crate::proxy::TestProxy;

/// What a test may want otherwise than by default.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) policy: Policy,
    pub(crate) tls: tls::Settings,
    pub(crate) connection: connection::Settings,
}

pub(crate) struct Rig {
    pub(crate) ca: TestCa,
    pub(crate) source: Arc<ScriptedSource>,
    pub(crate) store: Arc<CertStore>,
    pub(crate) tables: Tables,
    pub(crate) admission: Arc<Admission>,
    pub(crate) backend: Arc<Backend>,
    pub(crate) drain: watch::Sender<Phase>,
    addresses: Vec<(ListenerName, SocketAddr)>,
}

impl Rig {
    /// With defaults, and the names `one.test` and `two.test`.
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let source = ScriptedSource::new();
        let store = CertStore::builder(source.clone()).build();
        let tables = Tables::default();
        let admission = Admission::new(setup.limits);
        let backend = Backend::start().await;
        let (drain, watch) = watch::channel(Phase::Serving);
        let terminator = Terminator::new(setup.tls, tables.clone(), store.clone()).unwrap();
        let service = Arc::new(Service {
            handler: Arc::new(TestProxy::new(&tables, backend.address)),
            tls: Arc::new(terminator),
            admission: admission.clone(),
            settings: setup.connection.into(),
        });
        let mut addresses = Vec::new();
        for name in ListenerName::ALL.into_iter().filter(|name| name.is_traffic()) {
            let bound = listener::bind(name, "127.0.0.1:0".parse().unwrap()).unwrap();
            addresses.push((name, bound.local_addr()));
            tokio::spawn(listener::serve(bound, setup.policy, service.clone(), watch.clone()));
        }
        let rig = Self { ca: TestCa::new(), source, store, tables, admission, backend, drain, addresses };
        rig.serve("one.test", "one");
        rig.serve("two.test", "two");
        rig
    }

    pub(crate) fn address(&self, listener: ListenerName) -> SocketAddr {
        self.addresses.iter().find(|(name, _)| *name == listener).unwrap().1
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.address(ListenerName::ExternalHttp)
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.address(ListenerName::ExternalHttps)
    }

    /// Makes a certificate for `pattern`, and binds it.
    pub(crate) fn serve(&self, pattern: &str, secret: &str) -> TestSecret {
        let content = self.ca.issue(&[pattern]);
        self.source.put(&secret_ref(secret), content.clone());
        self.bind(pattern, secret, Visibility::External);
        content
    }

    pub(crate) fn bind(&self, pattern: &str, secret: &str, visibility: Visibility) {
        let pattern = SniPattern::try_from(pattern).unwrap();
        let binding = TlsBinding { secret: secret_ref(secret), policy: visibility };
        let mut snapshot = (**self.tables.load()).clone();
        snapshot.tls.insert(pattern, binding);
        self.tables.store(Arc::new(snapshot));
    }

    pub(crate) fn unbind(&self, pattern: &str) {
        let mut snapshot = (**self.tables.load()).clone();
        snapshot.tls.remove(&SniPattern::try_from(pattern).unwrap());
        self.tables.store(Arc::new(snapshot));
    }
}

pub(crate) fn secret_ref(name: &str) -> SecretRef {
    SecretRef::new("shop", name)
}
