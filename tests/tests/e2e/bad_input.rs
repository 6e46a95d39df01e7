//! Bad input: each gets one clear message that names the object, and nothing that worked stops working.

use std::fs::{Permissions, set_permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::gateway::{Gateway, Options, Program};
use postern_tests::manifests::{KIngress, PathRule, Rule, Service, Split, secret, secret_of, to_yaml};
use serde_json::json;
use tokio::net::TcpStream;

use crate::world::{NAMESPACE, Scene, World, postern};

/// A gateway that serves `good.test`.
async fn world() -> Result<(World, Backend)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("good").await?;
    scene.site("good.test", &backend)?;
    Ok((scene.open().await?, backend))
}

/// Writes a bad file beside the good ones and asserts that one line of the log, and one of `postern check`, says all
/// these things, and that what is good is still served.
async fn assert_reported(file: &str, text: &str, says: &[&str]) -> Result<()> {
    let (world, _backend) = world().await?;
    world.scene.manifests.write_text(file, text)?;
    world.until_logged(says).await?;
    assert_checked(&world.scene, says).await?;
    assert_eq!(world.status("https://good.test/").await?, 200);
    Ok(())
}

/// Asserts that one line of `postern check` says all these things, and that it fails.
async fn assert_checked(scene: &Scene, says: &[&str]) -> Result<()> {
    let output = postern().run(["check".as_ref(), scene.manifests.path().as_os_str()]).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().any(|line| says.iter().all(|said| line.contains(said))), "{says:?} is not in: {text}");
    assert_eq!(output.status.code(), Some(1), "{text}");
    Ok(())
}

/// Asserts that handshakes for `bad.test`, whose Secret this is, are refused, that log and check say why, and that
/// all heals with a good Secret.
async fn assert_secret_refused(certificate: &str, key: &str, says: &[&str]) -> Result<()> {
    let (world, _backend) = world().await?;
    world.scene.write("secret-bad", &[secret_of(NAMESPACE, "bad", certificate, key)])?;
    world.scene.kingress("bad", |kingress| {
        kingress.tls(&["bad.test"], "bad").rule(Rule::external(&["bad.test"]).path(PathRule::to("good.test")))
    })?;
    world.until_status("http://bad.test/", 200).await?;
    assert!(world.handshake("bad.test").await.is_err());
    world.until_logged(says).await?;
    assert_checked(&world.scene, says).await?;
    assert_eq!(world.status("https://good.test/").await?, 200);
    let good = world.scene.certificate("bad", &["bad.test"])?;
    world.until_serial("bad.test", good.serial).await
}

fn kingress_to(host: &str, split: Split) -> Result<String> {
    let rule = Rule::external(&[host]).path(PathRule::prefix("").split(split));
    to_yaml(&[KIngress::new(NAMESPACE, "bad").rule(rule).object()])
}

#[tokio::test]
async fn broken_yaml_names_file_and_line() -> Result<()> {
    assert_reported("broken.yaml", "apiVersion: v1\nkind: [unclosed\nmetadata: {\n", &["broken.yaml", "line"]).await
}

#[tokio::test]
async fn a_broken_document_names_its_number_and_spares_its_neighbours() -> Result<()> {
    let (world, backend) = world().await?;
    let service = to_yaml(&Service::new(NAMESPACE, "also").endpoint(backend.address()).objects())?;
    let kingress = KIngress::new(NAMESPACE, "also").rule(Rule::external(&["also.test"]).path(PathRule::to("also")));
    let good = to_yaml(&[kingress.object()])?;
    world.scene.manifests.write_text("mixed.yaml", &format!("{service}{good}---\nkind: Service\nspec: 7\n"))?;
    world.until_logged(&["mixed.yaml", "document 4"]).await?;
    world.until_status("http://also.test/", 200).await
}

#[tokio::test]
async fn a_wrong_type_names_object_and_field() -> Result<()> {
    let mut object = KIngress::new(NAMESPACE, "bad").rule(Rule::external(&["bad.test"])).object();
    object["spec"]["rules"][0]["hosts"] = json!("bad.test");
    assert_reported("bad.yaml", &to_yaml(&[object])?, &["bad.yaml", "shop/bad", "hosts"]).await
}

#[tokio::test]
async fn a_file_that_breaks_keeps_its_last_good_objects_and_heals() -> Result<()> {
    let (world, backend) = world().await?;
    let file = "kingress-good.test.yaml";
    world.scene.manifests.write_in_place(file, "kind: [unclosed")?;
    world.until_logged(&[file, "line"]).await?;
    assert_eq!(world.status("https://good.test/").await?, 200);
    world.scene.manifests.remove(file)?;
    world.until_status("http://good.test/", 404).await?;
    world.scene.site("good.test", &backend)?;
    world.until_status("http://good.test/", 200).await
}

#[tokio::test]
async fn an_unknown_class_is_named_by_check() -> Result<()> {
    let scene = Scene::new()?;
    let rule = Rule::external(&["shop.test"]).path(PathRule::to("shop"));
    scene.kingress("bad", |kingress| kingress.annotation("networking.knative.dev/ingress.class", "oops").rule(rule))?;
    assert_checked(&scene, &["shop/bad", "oops"]).await
}

#[tokio::test]
async fn a_missing_secret_is_named() -> Result<()> {
    let rule = Rule::external(&["bad.test"]).path(PathRule::to("good.test"));
    let kingress = KIngress::new(NAMESPACE, "bad").tls(&["bad.test"], "nowhere").rule(rule);
    assert_reported("bad.yaml", &to_yaml(&[kingress.object()])?, &["shop/bad", "shop/nowhere"]).await
}

#[tokio::test]
async fn a_missing_service_is_named() -> Result<()> {
    assert_reported("bad.yaml", &kingress_to("bad.test", Split::new("nowhere", 100))?, &["shop/bad", "shop/nowhere"])
        .await
}

#[tokio::test]
async fn a_port_that_the_service_lacks_is_named() -> Result<()> {
    let text = kingress_to("bad.test", Split::new("good.test", 100).port("metrics"))?;
    assert_reported("bad.yaml", &text, &["shop/bad", "shop/good.test", "metrics"]).await
}

#[tokio::test]
async fn a_port_out_of_range_is_named() -> Result<()> {
    let text = kingress_to("bad.test", Split::new("good.test", 100).port(70_000))?;
    assert_reported("bad.yaml", &text, &["shop/bad", "70000", "65535"]).await
}

#[tokio::test]
async fn a_host_that_is_taken_names_both_owners() -> Result<()> {
    let kingress =
        KIngress::new(NAMESPACE, "late").rule(Rule::external(&["good.test"]).path(PathRule::to("good.test")));
    assert_reported("late.yaml", &to_yaml(&[kingress.object()])?, &["shop/late", "good.test", "shop/good.test"]).await
}

#[tokio::test]
async fn a_host_that_is_no_name_is_named() -> Result<()> {
    let text = kingress_to("bad_host..test", Split::new("good.test", 100))?;
    assert_reported("bad.yaml", &text, &["shop/bad", "bad_host..test"]).await
}

#[tokio::test]
async fn a_huge_file_is_passed_over() -> Result<()> {
    // More than the 64 MiB that a file may have.
    assert_reported("huge.yaml", &"# nothing to see\n".repeat((65 << 20) / 17), &["huge.yaml", "larger"]).await
}

#[tokio::test]
async fn a_key_that_does_not_match_is_named() -> Result<()> {
    let scene = Scene::new()?;
    let (one, other) = (scene.ca.issue(&["bad.test"])?, scene.ca.issue(&["bad.test"])?);
    assert_secret_refused(&one.chain, &other.key, &["shop/bad", "tls.key", "does not match"]).await
}

#[tokio::test]
async fn an_empty_chain_is_named() -> Result<()> {
    let key = Scene::new()?.ca.issue(&["bad.test"])?.key;
    assert_secret_refused("# no certificate\n", &key, &["shop/bad", "tls.crt", "CERTIFICATE"]).await
}

#[tokio::test]
async fn garbage_instead_of_pem_is_named() -> Result<()> {
    let key = Scene::new()?.ca.issue(&["bad.test"])?.key;
    let garbage = "-----BEGIN CERTIFICATE-----\n!!!! not base64 !!!!\n-----END CERTIFICATE-----\n";
    assert_secret_refused(garbage, &key, &["shop/bad", "tls.crt"]).await
}

#[tokio::test]
async fn garbage_within_pem_is_named() -> Result<()> {
    let key = Scene::new()?.ca.issue(&["bad.test"])?.key;
    let garbage = "-----BEGIN CERTIFICATE-----\nQUJDREVGRw==\n-----END CERTIFICATE-----\n";
    assert_secret_refused(garbage, &key, &["shop/bad", "tls.crt", "X.509"]).await
}

#[tokio::test]
async fn a_secret_without_a_key_is_named() -> Result<()> {
    let (world, _backend) = world().await?;
    let mut object = secret(NAMESPACE, "bad", &world.scene.ca.issue(&["bad.test"])?);
    if let Some(data) = object["data"].as_object_mut() {
        data.remove("tls.key");
    }
    let rule = Rule::external(&["bad.test"]).path(PathRule::to("good.test"));
    let kingress = KIngress::new(NAMESPACE, "bad").tls(&["bad.test"], "bad").rule(rule);
    world.scene.write("bad", &[object, kingress.object()])?;
    world.until_status("http://bad.test/", 200).await?;
    assert!(world.handshake("bad.test").await.is_err());
    world.until_logged(&["shop/bad", "tls.key"]).await
}

/// Runs a gateway that can't start and returns what it said.
async fn failed_start(manifests: &Path, options: &Options) -> Result<String> {
    let mut gateway = Gateway::spawn(&postern(), manifests, options)?;
    let status = gateway.ended().await?;
    assert_eq!(status.code(), Some(1));
    Ok(gateway.log().text())
}

/// Asserts that gateway and check refuse a path with exit code 64 and in the same words, before a port is open.
async fn assert_path_refused(program: &Program, path: &Path, says: &str) -> Result<()> {
    let mut gateway = Gateway::spawn(program, path, &Options::default())?;
    let status = gateway.ended().await?;
    let said = gateway.log().text();
    assert_eq!(said, format!("error: {} {says}", path.display()));
    let checked = program.run(["check".as_ref(), path.as_os_str()]).await?;
    assert_eq!(String::from_utf8_lossy(&checked.stderr).trim_end(), said);
    assert_eq!((status.code(), checked.status.code()), (Some(64), Some(64)));
    Ok(())
}

#[tokio::test]
async fn a_path_that_is_not_there_is_named() -> Result<()> {
    let says = "cannot be read: expected a directory of manifests: No such file or directory (os error 2)";
    assert_path_refused(&postern(), Path::new("/no/such/folder"), says).await
}

#[tokio::test]
async fn a_path_that_is_no_folder_is_named() -> Result<()> {
    let scene = Scene::new()?;
    let says = "is not a directory: expected a directory of manifests";
    assert_path_refused(&postern(), &scene.manifests.path().join("class.yaml"), says).await
}

/// The command, unless nothing keeps it from files that may not be read.
async fn unprivileged() -> Option<Program> {
    let program = postern().without_privileges().await;
    if program.is_none() {
        eprintln!("skipped: running as root without `setpriv`, for which no file is unreadable");
    }
    program
}

#[tokio::test]
async fn a_path_that_may_not_be_read_is_named() -> Result<()> {
    let Some(program) = unprivileged().await else { return Ok(()) };
    let folder = Scene::new()?;
    set_permissions(folder.manifests.path(), Permissions::from_mode(0o300))?;
    let says = "cannot be read: expected a directory of manifests: Permission denied (os error 13)";
    assert_path_refused(&program, folder.manifests.path(), says).await
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_named_and_heals() -> Result<()> {
    let Some(program) = unprivileged().await else { return Ok(()) };
    let scene = Scene::new()?;
    let backend = Backend::http1("good").await?;
    scene.site("good.test", &backend)?;
    scene.site("bad.test", &backend)?;
    let closed = scene.manifests.path().join("kingress-bad.test.yaml");
    set_permissions(&closed, Permissions::from_mode(0o000))?;
    let says = ["kingress-bad.test.yaml", "cannot be read", "Permission denied"];
    let gateway = Gateway::start(&program, scene.manifests.path(), &Options::default()).await?;
    let world = World { scene, gateway };
    world.until_logged(&says).await?;
    assert_eq!((world.status("http://good.test/").await?, world.status("http://bad.test/").await?), (200, 404));
    let checked = program.run(["check".as_ref(), world.scene.manifests.path().as_os_str()]).await?;
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(text.lines().any(|line| says.iter().all(|said| line.contains(said))), "{text}");
    assert_eq!(checked.status.code(), Some(1));
    set_permissions(&closed, Permissions::from_mode(0o600))?;
    world.until_status("http://bad.test/", 200).await
}

#[tokio::test]
async fn a_port_in_use_names_listener_and_address() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let options = Options::default().argument("--listen").argument(format!("external-https={address}"));
    let said = failed_start(Scene::new()?.manifests.path(), &options).await?;
    assert!(said.contains("external-https") && said.contains(&address), "{said}");
    Ok(())
}

#[tokio::test]
async fn too_few_file_descriptors_says_what_to_raise() -> Result<()> {
    let said = failed_start(Scene::new()?.manifests.path(), &Options::default().file_limit(64)).await?;
    assert!(said.contains("64") && said.contains("ulimit -n"), "{said}");
    Ok(())
}

#[tokio::test]
async fn running_out_of_file_descriptors_says_what_to_raise_and_heals() -> Result<()> {
    let (world, _backend) = world().await?;
    let limit = world.gateway.no_more_files()?;
    let waiting = TcpStream::connect(world.gateway.address("external-http")?).await?;
    world.until_logged(&["external-http", "no file descriptors left", "ulimit -n"]).await?;
    drop((limit, waiting));
    world.until_status("https://good.test/", 200).await
}

#[tokio::test]
async fn bad_settings_are_all_told_at_once_and_exit_64() -> Result<()> {
    let arguments =
        ["gateway", "--source", "ftp:x", "--cert-cache", "lots", "--listen", "front-door=:1", "--log-format", "xml"];
    let output = postern().run(arguments).await?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{text}");
    for named in ["source", "cert-cache", "front-door", "log-format"] {
        assert!(text.contains(named), "{named} is not in: {text}");
    }
    Ok(())
}
