//! Server names: right name, right key, or none.

use std::sync::Arc;

use certstore::testing::{Answer, Gate, TestSecret};
use postern::listener::ListenerName;
use postern::tls::Settings;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use xds::resource::Visibility;

use crate::client::{config, connect, exchange, hello};
use crate::rig::{Rig, Setup, secret_ref};

const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 112];
const INTERNAL_ERROR: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 80];

fn leaf(secret: &TestSecret) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(secret.chain.as_bytes()).unwrap()
}

/// The certificate that is presented for `name`.
async fn presented(rig: &Rig, name: &str) -> CertificateDer<'static> {
    let stream = connect(rig.https(), &Arc::new(config(rig)), name).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn each_name_is_answered_with_its_own_certificate() {
    let rig = Rig::start().await;
    let three = rig.serve("three.test", "three");
    let four = rig.serve("four.test", "four");
    assert_eq!(presented(&rig, "three.test").await, leaf(&three));
    assert_eq!(presented(&rig, "four.test").await, leaf(&four));
}

#[tokio::test]
async fn a_wildcard_covers_one_label_and_an_exact_name_comes_before_it() {
    let rig = Rig::start().await;
    let wildcard = rig.serve("*.shop.test", "wildcard");
    let exact = rig.serve("eu.shop.test", "exact");
    assert_eq!(presented(&rig, "us.shop.test").await, leaf(&wildcard));
    assert_eq!(presented(&rig, "eu.shop.test").await, leaf(&exact));
    let deeper = exchange(rig.https(), &hello(config(&rig), "a.us.shop.test")).await;
    assert_eq!(deeper, UNRECOGNIZED_NAME);
}

#[tokio::test]
async fn upper_case_is_the_same_name() {
    let rig = Rig::start().await;
    let bytes = hello(config(&rig), "ONE.Test");
    assert!(bytes.windows(8).any(|window| window == b"ONE.Test"), "the client sends it as it is");
    assert!(connect(rig.https(), &Arc::new(config(&rig)), "ONE.Test").await.is_ok());
}

#[tokio::test]
async fn a_trailing_dot_is_the_same_name() {
    let rig = Rig::start().await;
    // rustls as a client never sends the dot: it is put in afterwards.
    let mut bytes = hello(config(&rig), "one.testX");
    let at = bytes.windows(9).position(|window| window == b"one.testX").unwrap();
    bytes[at + 8] = b'.';
    let mut tcp = tokio::net::TcpStream::connect(rig.https()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut tcp, &bytes).await.unwrap();
    let mut record = [0];
    tokio::io::AsyncReadExt::read_exact(&mut tcp, &mut record).await.unwrap();
    assert_eq!(record, [0x16], "a handshake record, not an alert");
    assert_eq!(rig.source.loads_of(&secret_ref("one")), 1);
}

#[tokio::test]
async fn an_unknown_name_gets_an_alert_and_costs_no_load() {
    let rig = Rig::start().await;
    for name in ["unknown.test", "test", "xone.test", "one.test.unknown"] {
        assert_eq!(exchange(rig.https(), &hello(config(&rig), name)).await, UNRECOGNIZED_NAME, "{name}");
    }
    assert_eq!(rig.source.loads(), 0);
}

#[tokio::test]
async fn no_name_gets_an_alert_and_costs_no_load() {
    let rig = Rig::start().await;
    let mut nameless = config(&rig);
    nameless.enable_sni = false;
    assert_eq!(exchange(rig.https(), &hello(nameless, "one.test")).await, UNRECOGNIZED_NAME);
    assert_eq!(exchange(rig.https(), &hello(config(&rig), "127.0.0.1")).await, UNRECOGNIZED_NAME);
    assert_eq!(rig.source.loads(), 0);
}

#[tokio::test]
async fn a_cluster_local_name_is_served_inside_only() {
    let rig = Rig::start().await;
    rig.bind("one.test", "one", Visibility::ClusterLocal);
    assert_eq!(exchange(rig.https(), &hello(config(&rig), "one.test")).await, UNRECOGNIZED_NAME);
    assert_eq!(rig.source.loads(), 0);
    let inside = rig.address(ListenerName::InternalHttps);
    assert!(connect(inside, &Arc::new(config(&rig)), "one.test").await.is_ok());
    assert!(connect(inside, &Arc::new(config(&rig)), "two.test").await.is_ok());
}

#[tokio::test]
async fn a_default_certificate_answers_only_where_no_other_does() {
    let default = Settings { default_certificate: Some(secret_ref("default")), ..Settings::default() };
    let rig = Rig::with(Setup { tls: default, ..Setup::default() }).await;
    let fallback = rig.ca.issue(&["unknown.test", "127.0.0.1"]);
    rig.source.put(&secret_ref("default"), fallback.clone());
    let three = rig.serve("three.test", "three");
    assert_eq!(presented(&rig, "unknown.test").await, leaf(&fallback));
    assert_eq!(presented(&rig, "127.0.0.1").await, leaf(&fallback));
    assert_eq!(presented(&rig, "three.test").await, leaf(&three));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_loaded_is_our_fault_and_not_the_names() {
    let rig = Rig::start().await;
    rig.bind("three.test", "missing", Visibility::External);
    assert_eq!(exchange(rig.https(), &hello(config(&rig), "three.test")).await, INTERNAL_ERROR);
}

#[tokio::test]
async fn two_hundred_first_handshakes_load_a_certificate_once() {
    let rig = Rig::start().await;
    let content = rig.ca.issue(&["one.test"]);
    let gate = Gate::closed();
    rig.source.script(&secret_ref("one"), Answer::secret(&content).behind(&gate));
    let config = Arc::new(config(&rig));
    let address = rig.https();
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let config = Arc::clone(&config);
            tokio::spawn(async move { connect(address, &config, "one.test").await.map(drop) })
        })
        .collect();
    gate.arrival().await;
    gate.open_for(1);
    for client in clients {
        client.await.unwrap().unwrap();
    }
    assert_eq!(rig.source.loads_of(&secret_ref("one")), 1);
}
