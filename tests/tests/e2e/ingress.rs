//! The Ingress of `networking.k8s.io/v1`.

use postern_tests::Result;
use postern_tests::manifests::Ingress;
use serde_json::json;

use crate::kingress::Backends;
use crate::world::{NAMESPACE, Scene, World};

/// A gateway with one Ingress, built from an empty one.
async fn world_with(build: impl FnOnce(Ingress) -> Ingress) -> Result<(World, Backends)> {
    let scene = Scene::new()?;
    let backends = Backends::start(&scene).await?;
    scene.write("ingress", &[build(Ingress::new(NAMESPACE, "shop")).object()])?;
    Ok((scene.open().await?, backends))
}

async fn assert_backends(world: &World, expected: &[(&str, Option<&str>)]) -> Result<()> {
    for (place, backend) in expected {
        let url = format!("http://{place}");
        match backend {
            Some(backend) => assert_eq!(world.backend(&url).await?, *backend, "{place}"),
            None => assert_eq!(world.status(&url).await?, 404, "{place}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_prefix_covers_whole_elements_of_the_path() -> Result<()> {
    let (world, _backends) =
        world_with(|ingress| ingress.rule(Some("shop.test"), &[("Prefix", "/aaa/bb", "one")])).await?;
    assert_backends(
        &world,
        &[
            ("shop.test/aaa/bb", Some("one")),
            ("shop.test/aaa/bb/", Some("one")),
            ("shop.test/aaa/bb/cc?x", Some("one")),
            ("shop.test/aaa/bbb", None),
            ("shop.test/aaa", None),
            ("shop.test/AAA/bb", None),
        ],
    )
    .await
}

#[tokio::test]
async fn a_trailing_slash_makes_no_difference_to_a_prefix() -> Result<()> {
    let (world, _backends) =
        world_with(|ingress| ingress.rule(Some("shop.test"), &[("Prefix", "/foo/", "one")])).await?;
    assert_backends(
        &world,
        &[("shop.test/foo", Some("one")), ("shop.test/foo/", Some("one")), ("shop.test/foobar", None)],
    )
    .await
}

#[tokio::test]
async fn an_exact_path_is_that_path_alone() -> Result<()> {
    let (world, _backends) = world_with(|ingress| ingress.rule(Some("shop.test"), &[("Exact", "/foo", "one")])).await?;
    assert_backends(
        &world,
        &[
            ("shop.test/foo", Some("one")),
            ("shop.test/foo?x=1", Some("one")),
            ("shop.test/foo/", None),
            ("shop.test/Foo", None),
        ],
    )
    .await
}

#[tokio::test]
async fn exact_beats_prefix_and_the_longest_prefix_wins() -> Result<()> {
    let (world, _backends) = world_with(|ingress| {
        let paths = [("Prefix", "/", "one"), ("Prefix", "/foo", "two"), ("Exact", "/foo", "three")];
        ingress.rule(Some("shop.test"), &paths)
    })
    .await?;
    assert_backends(
        &world,
        &[("shop.test/", Some("one")), ("shop.test/foo/bar", Some("two")), ("shop.test/foo", Some("three"))],
    )
    .await
}

#[tokio::test]
async fn implementation_specific_is_a_prefix() -> Result<()> {
    let paths = [("ImplementationSpecific", "/foo", "one")];
    let (world, _backends) = world_with(|ingress| ingress.rule(Some("shop.test"), &paths)).await?;
    assert_backends(&world, &[("shop.test/foo/bar", Some("one")), ("shop.test/bar", None)]).await
}

#[tokio::test]
async fn a_wildcard_host_covers_one_label_and_yields_to_an_exact_host() -> Result<()> {
    let (world, _backends) = world_with(|ingress| {
        ingress
            .rule(Some("*.shop.test"), &[("Prefix", "/", "one")])
            .rule(Some("eu.shop.test"), &[("Prefix", "/", "two")])
    })
    .await?;
    assert_backends(
        &world,
        &[
            ("us.shop.test/", Some("one")),
            ("eu.shop.test/", Some("two")),
            ("a.b.shop.test/", None),
            ("shop.test/", None),
        ],
    )
    .await
}

#[tokio::test]
async fn the_default_backend_gets_what_no_rule_is_for() -> Result<()> {
    let (world, _backends) =
        world_with(|ingress| ingress.default_backend("three").rule(Some("shop.test"), &[("Prefix", "/one", "one")]))
            .await?;
    assert_backends(
        &world,
        &[("shop.test/one", Some("one")), ("shop.test/else", Some("three")), ("unknown.test/", Some("three"))],
    )
    .await
}

#[tokio::test]
async fn a_rule_without_a_host_is_for_every_host() -> Result<()> {
    let (world, _backends) = world_with(|ingress| ingress.rule(None, &[("Prefix", "/", "one")])).await?;
    assert_backends(&world, &[("any.test/", Some("one")), ("other.test/x", Some("one"))]).await
}

#[tokio::test]
async fn its_certificate_is_taken_from_its_own_namespace() -> Result<()> {
    let scene = Scene::new()?;
    let _backends = Backends::start(&scene).await?;
    let issued = scene.certificate("shop-tls", &["shop.test"])?;
    let ingress = Ingress::new(NAMESPACE, "shop").tls(&["shop.test"], "shop-tls");
    scene.write("ingress", &[ingress.rule(Some("shop.test"), &[("Prefix", "/", "one")]).object()])?;
    let world = scene.open().await?;
    assert_eq!(world.handshake("shop.test").await?.serial, issued.serial);
    assert_eq!(world.backend("https://shop.test/").await?, "one");
    Ok(())
}

#[tokio::test]
async fn a_class_is_ours_if_its_controller_is() -> Result<()> {
    let (world, _backends) =
        world_with(|ingress| ingress.class("edge").rule(Some("shop.test"), &[("Prefix", "/", "one")])).await?;
    assert_backends(&world, &[("shop.test/", Some("one"))]).await
}

#[tokio::test]
async fn an_ingress_of_another_class_is_not_served() -> Result<()> {
    let (world, _backends) =
        world_with(|ingress| ingress.class("nginx").rule(Some("shop.test"), &[("Prefix", "/", "one")])).await?;
    assert_backends(&world, &[("shop.test/", None)]).await
}

#[tokio::test]
async fn the_old_class_annotation_counts_where_there_is_no_class_name() -> Result<()> {
    let scene = Scene::new()?;
    let _backends = Backends::start(&scene).await?;
    let mut ingress = Ingress::new(NAMESPACE, "shop").rule(Some("shop.test"), &[("Prefix", "/", "one")]).object();
    ingress["spec"]["ingressClassName"].take();
    ingress["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": "postern"});
    scene.write("ingress", &[ingress])?;
    assert_eq!(scene.open().await?.backend("http://shop.test/").await?, "one");
    Ok(())
}
