//! Which certificate answers for which server name.

use postern_tests::backend::Backend;
use postern_tests::ca::KeyKind;
use postern_tests::client::hello::{Answer, UNRECOGNIZED_NAME, greet};
use postern_tests::client::{Call, get_plain};
use postern_tests::gateway::Options;
use postern_tests::manifests::secret;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use rustls::{AlertDescription, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{NAMESPACE, Scene, World};

/// A gateway for `shop.test` and `*.shop.test`.
async fn world() -> Result<(World, u64, u64)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    let exact = scene.site("shop.test", &backend)?.serial;
    let wildcard = scene.site_for("wildcard", &["*.shop.test"], &backend)?.serial;
    Ok((scene.open().await?, exact, wildcard))
}

#[tokio::test]
async fn an_exact_name_gets_its_certificate() -> Result<()> {
    let (world, exact, _) = world().await?;
    let peer = world.handshake("shop.test").await?;
    assert_eq!((peer.serial, peer.names), (exact, vec!["shop.test".to_owned()]));
    assert_eq!(peer.version, Some(ProtocolVersion::TLSv1_3));
    Ok(())
}

#[tokio::test]
async fn a_wildcard_stands_for_exactly_one_label() -> Result<()> {
    let (world, _, wildcard) = world().await?;
    assert_eq!(world.handshake("eu.shop.test").await?.serial, wildcard);
    let address = world.gateway.address("external-https")?;
    assert_eq!(greet(address, Some(b"a.eu.shop.test")).await?, UNRECOGNIZED_NAME);
    Ok(())
}

#[tokio::test]
async fn an_unknown_name_is_refused_without_a_load() -> Result<()> {
    let (world, ..) = world().await?;
    let refused = world.handshake("nowhere.test").await.unwrap_err();
    assert_eq!(postern_tests::client::tls::alert(&refused), Some(AlertDescription::UnrecognisedName), "{refused}");
    assert!(world.gateway.metrics().await?.sum("postern_certstore_loads_total").abs() < f64::EPSILON);
    Ok(())
}

#[tokio::test]
async fn no_name_is_refused_while_no_default_is_configured() -> Result<()> {
    let (world, ..) = world().await?;
    assert_eq!(greet(world.gateway.address("external-https")?, None).await?, UNRECOGNIZED_NAME);
    Ok(())
}

#[tokio::test]
async fn a_default_certificate_answers_where_no_other_does() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    let own = scene.site("shop.test", &backend)?.serial;
    let default = scene.certificate("default", &["default.test"])?.serial;
    let options = Options::default().argument("--default-certificate").argument("shop/default");
    let world = scene.open_with(options).await?;
    let address = world.gateway.address("external-https")?;
    for (name, serial) in [(None, default), (Some(&b"nowhere.test"[..]), default), (Some(b"shop.test"), own)] {
        assert_eq!(greet(address, name).await?, Answer::Certificate(serial), "{name:?}");
    }
    Ok(())
}

#[tokio::test]
async fn upper_case_and_a_trailing_dot_make_no_difference() -> Result<()> {
    let (world, exact, wildcard) = world().await?;
    let address = world.gateway.address("external-https")?;
    assert_eq!(greet(address, Some(b"SHOP.Test")).await?, Answer::Certificate(exact));
    assert_eq!(greet(address, Some(b"shop.test.")).await?, Answer::Certificate(exact));
    assert_eq!(greet(address, Some(b"EU.SHOP.TEST.")).await?, Answer::Certificate(wildcard));
    Ok(())
}

#[tokio::test]
async fn names_that_are_no_names_are_refused() -> Result<()> {
    let (world, ..) = world().await?;
    let address = world.gateway.address("external-https")?;
    let long = [b'a'; 300];
    let names: [&[u8]; 7] = [b"", b".", b"*.shop.test", b"shop..test", b"shop.test\0.evil.test", b"127.0.0.1", &long];
    for name in names {
        let answer = greet(address, Some(name)).await?;
        assert!(!matches!(answer, Answer::Certificate(_)), "{:?}: {answer:?}", String::from_utf8_lossy(name));
    }
    assert!(world.handshake("shop.test").await.is_ok());
    Ok(())
}

#[tokio::test]
async fn tls_12_is_served_as_well() -> Result<()> {
    let (world, exact, _) = world().await?;
    let peer = world.scene.tls.tls12().handshake(world.gateway.address("external-https")?, Some("shop.test")).await?;
    assert_eq!((peer.serial, peer.version), (exact, Some(ProtocolVersion::TLSv1_2)));
    Ok(())
}

#[tokio::test]
async fn keys_of_every_kind_are_served_in_both_versions() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    let mut issued = Vec::new();
    for (kind, name) in
        [(KeyKind::P384, "p384"), (KeyKind::Rsa, "rsa"), (KeyKind::Ed25519, "ed25519"), (KeyKind::P256, "p256")]
    {
        let host = format!("{name}.test");
        scene.site(&host, &backend)?;
        let certificate = scene.ca.issue_with_key(&[&host], &kind.generate()?)?;
        scene.write(&format!("secret-{host}"), &[secret(NAMESPACE, &host, &certificate)])?;
        issued.push((host, certificate.serial));
    }
    let world = scene.open().await?;
    let address = world.gateway.address("external-https")?;
    for (host, serial) in issued {
        for client in [world.scene.tls.clone(), world.scene.tls.tls12()] {
            assert_eq!(client.handshake(address, Some(&host)).await?.serial, serial, "{host}");
        }
        assert_eq!(world.status(&format!("https://{host}/")).await?, 200);
    }
    Ok(())
}

/// A hello of TLS 1.1: one suite, no extension.
fn old_hello() -> Vec<u8> {
    let hello = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0]].concat();
    let message = [&[1, 0, 0, 41][..], &hello].concat();
    [&[22, 3, 1, 0, 45][..], &message].concat()
}

#[tokio::test]
async fn a_client_of_older_versions_is_told_so_and_counted_apart() -> Result<()> {
    let (world, ..) = world().await?;
    let mut client = TcpStream::connect(world.gateway.address("external-https")?).await?;
    client.write_all(&old_hello()).await?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await?;
    assert_eq!(answer, [21, 3, 2, 0, 2, 2, 70], "protocol_version");
    drop(client);
    eventually("it is counted", async || {
        let metrics = get_plain(world.gateway.address("metrics")?, "/metrics").await?.text();
        let line = "postern_tls_handshakes_total{outcome=\"old_version\"} 1";
        ensure(metrics.lines().any(|text| text == line), || "it is not".to_owned())
    })
    .await
}

#[tokio::test]
async fn a_session_is_resumed_under_its_own_name_only() -> Result<()> {
    let (world, ..) = world().await?;
    let address = world.gateway.address("external-https")?;
    let client = world.scene.tls.resuming();
    let config = client.config()?;
    let handshake = async |name| -> Result<_> {
        let (stream, peer) = postern_tests::client::tls::connect(&config, address, Some(name)).await?;
        postern_tests::client::tls::close(stream).await;
        Ok(peer)
    };
    assert!(!handshake("shop.test").await?.resumed);
    assert!(handshake("shop.test").await?.resumed);
    assert!(!handshake("eu.shop.test").await?.resumed);
    Ok(())
}

#[tokio::test]
async fn a_host_outside_the_server_name_is_misdirected() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    scene.site("bank.test", &backend)?;
    let world = scene.open().await?;
    for call in [Call::get("https://bank.test/"), Call::get("https://bank.test/").http2()] {
        assert_eq!(world.send(&call.clone().server_name("shop.test")).await?.status, 421);
        assert_eq!(world.send(&call).await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
async fn hosts_that_the_certificate_covers_share_a_connection_whatever_their_secrets_are_called() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    let wildcard = scene.ca.issue(&["*.corp.test"])?;
    for host in ["one.corp.test", "two.corp.test"] {
        scene.site(host, &backend)?;
        scene.write(&format!("secret-{host}"), &[secret(NAMESPACE, host, &wildcard)])?;
    }
    scene.site("bank.test", &backend)?;
    let world = scene.open().await?;
    for (host, status) in [("two.corp.test", 200), ("bank.test", 421)] {
        let call = Call::get(&format!("https://{host}/")).http2().server_name("one.corp.test");
        assert_eq!(world.send(&call).await?.status, status, "{host}");
    }
    Ok(())
}

#[tokio::test]
async fn hosts_of_one_certificate_share_a_connection() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site_for("both", &["one.test", "two.test"], &backend)?;
    let world = scene.open().await?;
    let call = Call::get("https://two.test/").http2().server_name("one.test");
    assert_eq!(world.send(&call).await?.status, 200);
    Ok(())
}
