#!/bin/sh
# A rustls client that is configured for TLS 1.2 alone lists the suites of TLS 1.3 in its ClientHello all the same; only
# supported_versions tells. A server must not take a suite of TLS 1.3 for an offer of TLS 1.3.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'END'
[package]
name = "client-suites"
version = "0.0.0"
edition = "2021"

[dependencies]
rustls = { version = "=0.23.46", default-features = false, features = ["aws_lc_rs", "std", "tls12"] }
END
cat > src/main.rs <<'END'
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

fn main() {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("the provider has suites of TLS 1.2")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = "shop.test".try_into().expect("it is a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("writing to a Vec");
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &hello[..]).expect("reading from a slice");
    let accepted = acceptor.accept().map_err(|(error, _)| error).expect("it is valid").expect("it is whole");
    for suite in accepted.client_hello().cipher_suites() {
        println!("{suite:?}");
    }
}
END
cargo build --quiet
echo "rustls 0.23.46, client for TLS 1.2 alone"
./target/debug/client-suites | tee seen
grep -q '^TLS13_AES_128_GCM_SHA256$' seen
grep -q '^TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256$' seen
