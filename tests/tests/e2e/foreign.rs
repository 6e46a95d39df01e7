//! Clients in other languages, each with the HTTP or gRPC library that its users have.

use std::time::Duration;

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::client::tools::{has_python_module, installed, run_within};
use postern_tests::grpc::GrpcBackend;
use postern_tests::manifests::{PathRule, Rule, Service};

use crate::world::{NAMESPACE, Scene, World};

/// Long enough to compile Go's standard library on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A gateway for `localhost`, whose name every client resolves by itself, in front of a Service.
async fn world(scene: Scene) -> Result<World> {
    scene.certificate("local", &["localhost"])?;
    scene.kingress("local", |kingress| {
        kingress.tls(&["localhost"], "local").rule(Rule::external(&["localhost"]).path(PathRule::to("local")))
    })?;
    scene.manifests.write_text("ca.crt", &scene.ca.pem())?;
    scene.open().await
}

/// A gateway in front of an HTTP/1.1 backend.
async fn http() -> Result<(World, Backend)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("local").await?;
    scene.service("local", &[&backend])?;
    Ok((world(scene).await?, backend))
}

/// The lines that a program of `foreign/` prints.
async fn lines(world: &World, tool: &str, before: &[&str], program: &str) -> Result<Vec<String>> {
    let program = format!("{}/tests/e2e/foreign/{program}", env!("CARGO_MANIFEST_DIR"));
    let [plain, tls] = ["external-http", "external-https"].map(|name| world.gateway.address(name));
    let (plain, tls) = (plain?.port().to_string(), tls?.port().to_string());
    let ca = world.scene.manifests.path().join("ca.crt").to_string_lossy().into_owned();
    let arguments = [before, &[&program, &plain, &tls, &ca]].concat();
    let output = run_within(PATIENCE, tool, &arguments).await?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// A download and an upload in each version, as a client prints them.
fn both(versions: &[&str]) -> Vec<String> {
    let both = |version: &&str| [format!("GET {version} 200 70000"), format!("POST {version} 200 100000")];
    versions.iter().flat_map(both).collect()
}

/// Runs a program that speaks these versions of HTTP, if its tool is installed.
async fn serves(tool: &str, before: &[&str], program: &str, versions: &[&str]) -> Result<()> {
    if !installed(tool).await {
        return Ok(());
    }
    let (world, _backend) = http().await?;
    assert_eq!(lines(&world, tool, before, program).await?, both(versions));
    Ok(())
}

#[tokio::test]
async fn node_is_served_by_both_versions_of_http() -> Result<()> {
    serves("node", &[], "client.mjs", &["1.1", "1.1", "2"]).await
}

#[tokio::test]
async fn go_is_served_by_both_versions_of_http() -> Result<()> {
    serves("go", &["run"], "client.go", &["1", "1", "2"]).await
}

/// It offers `Upgrade: h2c` with each request on the plain port.
#[tokio::test]
async fn java_is_served_by_both_versions_of_http() -> Result<()> {
    serves("java", &[], "Client.java", &["HTTP_1_1", "HTTP_1_1", "HTTP_1_1", "HTTP_2"]).await
}

#[tokio::test]
async fn grpcio_calls_and_streams_with_and_without_tls() -> Result<()> {
    if !has_python_module("grpc").await {
        return Ok(());
    }
    let scene = Scene::new()?;
    let backend = GrpcBackend::start().await?;
    scene.write("service", &Service::new(NAMESPACE, "local").port_name("h2c").endpoint(backend.address()).objects())?;
    scene.write("service-empty", &Service::new(NAMESPACE, "empty").port_name("h2c").objects())?;
    scene.kingress("empty", |kingress| kingress.rule(Rule::external(&["empty.test"]).path(PathRule::to("empty"))))?;
    let world = world(scene).await?;
    let once = ["re: hello", "ABORTED: as was asked", "2000"];
    let of_gateway = ["UNIMPLEMENTED: no service has this host", "UNAVAILABLE: the service has no ready endpoint"];
    let expected = [&once[..], &once, &of_gateway].concat();
    assert_eq!(lines(&world, "python3", &[], "client_grpc.py").await?, expected);
    Ok(())
}
