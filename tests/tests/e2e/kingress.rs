//! Knative's Ingress: paths, headers, hosts, classes and what is set on the way.

use postern_tests::backend::Backend;
use postern_tests::client::Call;
use postern_tests::manifests::{KIngress, PathRule, Rule, Service, Split};
use postern_tests::{Result, ensure};

use crate::world::{NAMESPACE, Scene, World};

/// Backends `one`, `two` and `three` behind Services of their names.
pub(crate) struct Backends {
    one: Backend,
    two: Backend,
    three: Backend,
}

impl Backends {
    pub(crate) async fn start(scene: &Scene) -> Result<Self> {
        let backends = Self {
            one: Backend::http1("one").await?,
            two: Backend::http1("two").await?,
            three: Backend::http1("three").await?,
        };
        scene.service("one", &[&backends.one])?;
        scene.service("two", &[&backends.two])?;
        scene.service("three", &[&backends.three])?;
        Ok(backends)
    }

    pub(crate) fn requests(&self) -> [u64; 3] {
        [self.one.requests(), self.two.requests(), self.three.requests()]
    }
}

/// A gateway with one KIngress for `shop.test`, whose rule is built from an empty one.
async fn world_with(build: impl FnOnce(Rule) -> Rule) -> Result<(World, Backends)> {
    let scene = Scene::new()?;
    let backends = Backends::start(&scene).await?;
    scene.kingress("shop", |kingress| kingress.rule(build(Rule::external(&["shop.test"]))))?;
    Ok((scene.open().await?, backends))
}

fn prefix_to(path: &str, service: &str) -> PathRule {
    PathRule::prefix(path).split(Split::new(service, 100))
}

#[tokio::test]
async fn the_longest_prefix_wins_whatever_the_order() -> Result<()> {
    let (world, _backends) = world_with(|rule| {
        rule.path(PathRule::to("one")).path(prefix_to("/cart", "two")).path(prefix_to("/cart/items", "three"))
    })
    .await?;
    let expected = [
        ("/", "one"),
        ("/other", "one"),
        ("/cart", "two"),
        ("/cart?x=/cart/items", "two"),
        ("/cartoon", "two"),
        ("/Cart", "one"),
        ("/cart/items", "three"),
        ("/cart/items/7", "three"),
    ];
    for (path, backend) in expected {
        assert_eq!(world.backend(&format!("http://shop.test{path}")).await?, backend, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn of_equal_prefixes_the_first_wins() -> Result<()> {
    let (world, _backends) = world_with(|rule| rule.path(prefix_to("/a", "one")).path(prefix_to("/a", "two"))).await?;
    assert_eq!(world.backend("http://shop.test/a").await?, "one");
    Ok(())
}

#[tokio::test]
async fn all_headers_must_match_and_an_empty_value_asks_for_presence() -> Result<()> {
    let (world, _backends) = world_with(|rule| {
        rule.path(PathRule::to("one").header("Tag", "beta").header("x-any", "")).path(PathRule::to("two"))
    })
    .await?;
    let call = Call::get("http://shop.test/");
    let cases = [
        (call.clone().header("tag", "beta").header("x-any", "whatever"), "one"),
        (call.clone().header("tag", "Beta").header("x-any", "whatever"), "two"),
        (call.clone().header("tag", "beta"), "two"),
        (call.clone().header("x-any", "1"), "two"),
        (call, "two"),
    ];
    for (call, backend) in cases {
        assert_eq!(world.send(&call).await?.seen()?.backend, backend, "{call:?}");
    }
    Ok(())
}

#[tokio::test]
async fn append_headers_replace_and_those_of_the_path_win() -> Result<()> {
    let (world, _backends) = world_with(|rule| {
        let split = Split::new("one", 100).append_header("x-both", "split").append_header("x-split", "split");
        rule.path(PathRule::prefix("").append_header("x-both", "path").append_header("x-path", "path").split(split))
    })
    .await?;
    for call in [Call::get("http://shop.test/"), Call::get("http://shop.test/").http2()] {
        let call = call.header("x-path", "client").header("X-Split", "client");
        let seen = world.send(&call).await?.seen()?;
        let set = ["x-both", "x-path", "x-split"].map(|name| seen.header(name));
        assert_eq!(set, [Some("path"), Some("path"), Some("split")]);
    }
    Ok(())
}

#[tokio::test]
async fn rewrite_host_is_what_the_backend_sees() -> Result<()> {
    let (world, _backends) = world_with(|rule| rule.path(PathRule::to("one").rewrite_host("inner.example"))).await?;
    for call in [Call::get("http://shop.test/"), Call::get("http://shop.test/").http2()] {
        let seen = world.send(&call).await?.seen()?;
        assert_eq!((seen.host.as_str(), seen.count("host")), ("inner.example", 1));
    }
    assert_eq!(world.seen("http://shop.test/").await?.header("x-forwarded-host"), Some("shop.test"));
    Ok(())
}

#[tokio::test]
async fn path_query_and_method_arrive_as_they_were_sent() -> Result<()> {
    let (world, _backends) = world_with(|rule| rule.path(PathRule::to("one"))).await?;
    let target = "/a//b/../c%2Fd/%E2%82%AC?q=1&q=%20+&empty=&x?y";
    let seen = world.send(&Call::post(&format!("http://shop.test{target}"), "hello")).await?.seen()?;
    assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.body_bytes), ("POST", target, 5));
    Ok(())
}

#[tokio::test]
async fn hosts_match_in_any_case_and_with_any_port() -> Result<()> {
    let (world, _backends) = world_with(|rule| rule.path(PathRule::to("one"))).await?;
    for host in ["shop.test", "SHOP.test", "shop.test:8080", "shop.test."] {
        assert_eq!(world.status(&format!("http://{host}/")).await?, 200, "{host}");
    }
    for host in ["test", "xshop.test", "a.shop.test", "shop.test.evil.test"] {
        assert_eq!(world.status(&format!("http://{host}/")).await?, 404, "{host}");
    }
    Ok(())
}

#[tokio::test]
async fn an_exact_host_beats_a_wildcard_and_a_wildcard_beats_any_host() -> Result<()> {
    let scene = Scene::new()?;
    let _backends = Backends::start(&scene).await?;
    scene.kingress("any", |kingress| kingress.rule(Rule::external(&[]).path(PathRule::to("three"))))?;
    scene.kingress("wild", |kingress| kingress.rule(Rule::external(&["*.shop.test"]).path(PathRule::to("two"))))?;
    scene.kingress("exact", |kingress| kingress.rule(Rule::external(&["eu.shop.test"]).path(PathRule::to("one"))))?;
    let world = scene.open().await?;
    let expected = [
        ("eu.shop.test", "one"),
        ("us.shop.test", "two"),
        ("a.b.shop.test", "two"),
        ("shop.test", "three"),
        ("x.test", "three"),
    ];
    for (host, backend) in expected {
        assert_eq!(world.backend(&format!("http://{host}/")).await?, backend, "{host}");
    }
    Ok(())
}

#[tokio::test]
async fn rules_of_one_ingress_for_the_same_host_are_joined() -> Result<()> {
    let scene = Scene::new()?;
    let _backends = Backends::start(&scene).await?;
    scene.kingress("shop", |kingress| {
        kingress
            .rule(Rule::external(&["shop.test"]).path(prefix_to("/one", "one")))
            .rule(Rule::external(&["shop.test"]).path(prefix_to("/two", "two")))
    })?;
    let world = scene.open().await?;
    assert_eq!(world.backend("http://shop.test/one").await?, "one");
    assert_eq!(world.backend("http://shop.test/two").await?, "two");
    Ok(())
}

#[tokio::test]
async fn another_class_is_not_served() -> Result<()> {
    let scene = Scene::new()?;
    let _backends = Backends::start(&scene).await?;
    let rule = Rule::external(&["shop.test"]).path(PathRule::to("one"));
    scene.kingress("shop", |kingress| {
        kingress.annotation("networking.knative.dev/ingress.class", "istio.ingress.networking.knative.dev").rule(rule)
    })?;
    let world = scene.open().await?;
    assert_eq!(world.status("http://shop.test/").await?, 404);
    Ok(())
}

#[tokio::test]
async fn the_older_of_two_ingresses_keeps_a_host_until_it_goes() -> Result<()> {
    let scene = Scene::new()?;
    let _backends = Backends::start(&scene).await?;
    let rule = |service| Rule::external(&["shop.test"]).path(PathRule::to(service));
    scene.kingress("a-younger", |kingress| kingress.created("2026-02-02T00:00:00Z").rule(rule("two")))?;
    scene.kingress("older", |kingress| kingress.created("2026-01-01T00:00:00Z").rule(rule("one")))?;
    scene.kingress("unrelated", |kingress| kingress.rule(Rule::external(&["x.test"]).path(PathRule::to("three"))))?;
    let world = scene.open().await?;
    assert_eq!(world.backend("http://shop.test/").await?, "one");
    assert_eq!(world.backend("http://x.test/").await?, "three");
    world.until_logged(&["a-younger", "shop.test"]).await?;

    world.scene.manifests.remove("kingress-older.yaml")?;
    world.until_backend("http://shop.test/", "two").await
}

#[tokio::test]
async fn ports_are_found_by_number_and_by_name_on_both_sides() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("one").await?;
    let service = |name: &str| Service::new(NAMESPACE, name).endpoint(backend.address()).port(8123).port_name("web");
    scene.write("by-number", &service("by-number").objects())?;
    scene.write("by-target-name", &service("by-target-name").target_port("user-port").objects())?;
    let split = |service, port: serde_json::Value| PathRule::prefix("").split(Split::new(service, 100).port(port));
    scene.kingress("shop", |kingress| {
        kingress
            .rule(Rule::external(&["number.test"]).path(split("by-number", 8123.into())))
            .rule(Rule::external(&["name.test"]).path(split("by-number", "web".into())))
            .rule(Rule::external(&["target.test"]).path(split("by-target-name", 8123.into())))
    })?;
    let world = scene.open().await?;
    for host in ["number.test", "name.test", "target.test"] {
        assert_eq!(world.status(&format!("http://{host}/")).await?, 200, "{host}");
    }
    Ok(())
}

#[tokio::test]
async fn an_ingress_follows_its_edits_and_its_deletion() -> Result<()> {
    let (world, _backends) = world_with(|rule| rule.path(PathRule::to("one"))).await?;
    let edited = |kingress: KIngress| kingress.rule(Rule::external(&["new.test"]).path(PathRule::to("two")));
    world.scene.kingress("shop", edited)?;
    world.until_status("http://new.test/", 200).await?;
    world.until_status("http://shop.test/", 404).await?;
    world.scene.manifests.remove("kingress-shop.yaml")?;
    world.until_status("http://new.test/", 404).await
}

#[tokio::test]
async fn a_change_of_one_ingress_leaves_connections_of_others_alone() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("one").await?;
    scene.site("shop.test", &backend)?;
    let world = scene.open().await?;
    let call = Call::get("https://shop.test/");
    let mut connection = call.connect(&world.gateway, &world.scene.tls).await?;
    postern_tests::client::Reply::read(connection.send(&call).await?).await?;
    world.scene.site("other.test", &backend)?;
    world.until_status("http://other.test/", 200).await?;
    let reply = postern_tests::client::Reply::read(connection.send(&call).await?).await?;
    ensure(reply.status == 200 && connection.is_open(), || format!("answered {}", reply.status))
}
