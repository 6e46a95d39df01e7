//! `openssl s_client` and `curl`, as independent witnesses.

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::client::tools::{installed, run};

use crate::world::{Scene, World};

async fn world() -> Result<(World, Backend, String)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    scene.manifests.write_text("ca.crt", &scene.ca.pem())?;
    let ca = scene.manifests.path().join("ca.crt").to_string_lossy().into_owned();
    Ok((scene.open().await?, backend, ca))
}

/// What `openssl s_client` prints, with the server's certificate verified.
async fn s_client(world: &World, ca: &str, more: &[&str]) -> Result<String> {
    let address = world.gateway.address("external-https")?.to_string();
    let arguments = [&["s_client", "-connect", &address, "-CAfile", ca, "-verify_return_error"][..], more].concat();
    let output = run("openssl", &arguments).await?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn openssl_verifies_the_certificate_in_both_versions() -> Result<()> {
    if !installed("openssl").await {
        return Ok(());
    }
    let (world, _backend, ca) = world().await?;
    for (flag, version) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let more = ["-servername", "shop.test", "-verify_hostname", "shop.test", flag, "-alpn", "h2,http/1.1"];
        let said = s_client(&world, &ca, &more).await?;
        assert!(said.contains("Verify return code: 0 (ok)"), "{flag}: {said}");
        assert!(said.contains(version) && said.contains("ALPN protocol: h2"), "{flag}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn openssl_is_told_that_a_name_is_unknown() -> Result<()> {
    if !installed("openssl").await {
        return Ok(());
    }
    let (world, _backend, ca) = world().await?;
    let said = s_client(&world, &ca, &["-servername", "nowhere.test"]).await?;
    assert!(said.contains("unrecognized name"), "{said}");
    let said = s_client(&world, &ca, &["-noservername"]).await?;
    assert!(said.contains("alert"), "{said}");
    Ok(())
}

#[tokio::test]
async fn openssl_resumes_a_session() -> Result<()> {
    if !installed("openssl").await {
        return Ok(());
    }
    let (world, _backend, ca) = world().await?;
    let session = world.scene.manifests.path().join("session.pem").to_string_lossy().into_owned();
    s_client(&world, &ca, &["-servername", "shop.test", "-tls1_2", "-sess_out", &session]).await?;
    let said = s_client(&world, &ca, &["-servername", "shop.test", "-tls1_2", "-sess_in", &session]).await?;
    assert!(said.contains("Reused, TLSv1.2"), "{said}");
    Ok(())
}

#[tokio::test]
async fn curl_gets_the_page_by_either_version_of_http() -> Result<()> {
    if !installed("curl").await {
        return Ok(());
    }
    let (world, _backend, ca) = world().await?;
    let port = world.gateway.address("external-https")?.port();
    let (url, resolve) = (format!("https://shop.test:{port}/cart?x=1"), format!("shop.test:{port}:127.0.0.1"));
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let arguments =
            ["-sS", flag, "--cacert", &ca, "--resolve", &resolve, "-w", "\n%{http_code} %{http_version}", &url];
        let output = run("curl", &arguments).await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(r#""target":"/cart?x=1""#), "{said} {}", String::from_utf8_lossy(&output.stderr));
        assert!(said.ends_with(&format!("200 {version}")), "{said}");
    }
    Ok(())
}
