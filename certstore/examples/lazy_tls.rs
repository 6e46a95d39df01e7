//! A TLS server with a thousand names, in a budget for forty certificates: looks at the `ClientHello`, asks the index,
//! asks the store, and only then lets rustls begin.
//!
//! `cargo run -p certstore --example lazy_tls`

use std::error::Error;
use std::sync::Arc;

use certstore::testing::{ScriptedSource, TestCa};
use certstore::{CertStore, SecretRef, SniPattern, TlsBinding, TlsIndex};
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

const NAMES: usize = 1000;
const BUDGET: u64 = 100 * 1024;

/// Hands rustls the certificate that the store has found.
#[derive(Debug)]
struct Found(Arc<CertifiedKey>);

impl ResolvesServerCert for Found {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Named, since other crates of a build may bring a second provider. It fails only if one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (ca, source) = (TestCa::with_intermediate(), ScriptedSource::new());
    let mut index = TlsIndex::default();
    for number in 0..NAMES {
        let (name, secret) = (format!("s{number}.shop.test"), SecretRef::new("shop", format!("s{number}-tls")));
        source.put(&secret, ca.issue(&[&name]).at("1"));
        index.insert(SniPattern::try_from(name.as_str())?, TlsBinding { secret, policy: () });
    }
    let store = CertStore::builder(source.clone()).budget(BUDGET).build();

    let connector = connector(&ca)?;
    // Every name once, and in between ten that many ask for.
    for number in (0..NAMES).flat_map(|number| [number, number % 10]) {
        let (client, server) = tokio::io::duplex(16 * 1024);
        let name = format!("s{number}.shop.test").try_into()?;
        let (client, server) = tokio::join!(connector.connect(name, client), serve(server, &index, &store));
        server?;
        client?.read_to_end(&mut Vec::new()).await?;
    }
    let stats = store.stats();
    println!("{NAMES} names, {} loads, {} hits", stats.loads, stats.hits);
    println!("{} certificates in {} of {} bytes", stats.entries, stats.bytes, stats.budget);
    println!("intermediates shared by all of them: {} bytes", stats.shared_bytes);
    Ok(())
}

/// One connection, from the `ClientHello` to the end.
async fn serve(stream: DuplexStream, index: &TlsIndex<()>, store: &CertStore) -> Result<(), Box<dyn Error>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let name = hello.client_hello().server_name().ok_or("no server name")?.to_owned();
    // A name that nobody configured costs nothing more than this.
    let binding = index.lookup(&name).ok_or("unknown server name")?;
    let certificate = store.certificate(binding.secret, &name).await?;
    let resolver = Arc::new(Found(Arc::clone(certificate.certified_key())));
    let config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
    let mut stream = hello.into_stream(Arc::new(config)).await?;
    stream.write_all(name.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

fn connector(ca: &TestCa) -> Result<TlsConnector, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root_der())?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()).into())
}
