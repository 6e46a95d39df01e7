//! No private key leaves the gateway: not in a log, a metric, a dump or an error.

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::ca::Issued;
use postern_tests::client::get_plain;
use postern_tests::gateway::Options;
use postern_tests::manifests::{base64, secret_of};

use crate::world::{NAMESPACE, Scene, postern};

/// Asserts that no line of the key is in the text, neither as it is in PEM nor as it is in the manifest.
fn assert_free_of(key: &Issued, text: &str, what: &str) {
    let of_manifest = base64(key.key.as_bytes());
    // Base64 in base64 may be cut and shifted anywhere; its middle is long enough to be found in any of its lines.
    let middle = &of_manifest[of_manifest.len() / 2..][..32];
    let found = key.key_body_lines().find(|line| text.contains(line));
    assert!(found.is_none() && !text.contains(middle), "{what} has key material");
}

#[tokio::test]
async fn no_key_is_in_any_log_metric_or_dump() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    let mut keys = vec![scene.site("shop.test", &backend)?, scene.site("broken.test", &backend)?];
    let other = scene.ca.issue(&["broken.test"])?;
    scene.write("secret-broken.test", &[secret_of(NAMESPACE, "broken.test", &other.chain, &keys[1].key)])?;
    // A file that breaks off within the key, and a key where the certificate should be.
    let cut = postern_tests::manifests::to_yaml(&[secret_of(NAMESPACE, "cut", &other.chain, &other.key)])?;
    scene.manifests.write_text("cut.yaml", &cut[..cut.len() - 60])?;
    scene.write("swapped", &[secret_of(NAMESPACE, "swapped", &other.key, &other.chain)])?;
    scene.kingress("swapped", |kingress| {
        let rule = postern_tests::manifests::Rule::external(&["swapped.test"]);
        kingress.tls(&["swapped.test"], "swapped").rule(rule.path(postern_tests::manifests::PathRule::to("shop.test")))
    })?;
    keys.push(other);
    let mut world = scene.open_with(Options::default().argument("--log-level").argument("debug")).await?;

    assert_eq!(world.status("https://shop.test/").await?, 200);
    for refused in ["broken.test", "swapped.test"] {
        assert!(world.handshake(refused).await.is_err());
    }
    let renewed = world.scene.certificate("shop.test", &["shop.test"])?;
    world.until_serial("shop.test", renewed.serial).await?;
    keys.push(renewed);

    let mut texts = vec![("/metrics".to_owned(), world.gateway.metrics().await?.text().to_owned())];
    let admin = world.gateway.address("admin")?;
    for dump in ["/", "/api/v1/certificates", "/api/v1/faults", "/api/v1/settings", "/api/v1/status"] {
        let reply = get_plain(admin, dump).await?;
        assert_eq!(reply.status, 200, "{dump}");
        texts.push((dump.to_owned(), reply.text()));
    }
    for output in ["human", "json"] {
        let path = world.scene.manifests.path().as_os_str().to_owned();
        let ran = postern().run(["check".into(), path, "--output".into(), output.into()]).await?;
        texts.push((format!("check {output}"), String::from_utf8([ran.stdout, ran.stderr].concat())?));
    }
    world.gateway.terminate()?;
    world.gateway.ended().await?;
    texts.push(("the log".to_owned(), world.gateway.log().text()));
    for (what, text) in &texts {
        assert!(text.len() > 20, "{what} is empty");
        for key in &keys {
            assert_free_of(key, text, what);
        }
    }
    Ok(())
}
