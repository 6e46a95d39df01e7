//! Changing the budget while the gateway runs.

use postern_tests::client::raw::RawConnection;
use postern_tests::gateway::Options;
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::world::{World, host};

impl World {
    fn configure(&self, data: &Value) -> Result<()> {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "postern-system", "name": "config-postern"}, "data": data,
        });
        self.manifests.write("config-postern.yaml", &[map])
    }

    async fn until_set(&self, value: &str, origin: &str) -> Result<()> {
        eventually(&format!("cert-cache is {value} by {origin}"), async || {
            let setting = self.gateway.setting("cert-cache").await?;
            ensure(setting["values"] == json!([value]) && setting["origin"] == origin, || setting.to_string())
        })
        .await
    }

    async fn budget(&self) -> Result<u64> {
        self.json(&["stats"]).await?["budgetBytes"].as_u64().ok_or_else(|| "no budget".into())
    }
}

#[tokio::test]
async fn an_operator_changes_the_budget_and_takes_it_back() -> Result<()> {
    let world = World::open_with(1, Options::default().cert_cache("2MiB")).await?;
    world.handshake("s0.test").await?;
    let change = world.json(&["budget", "3MiB"]).await?;
    assert_eq!((&change["wasBytes"], &change["budgetBytes"]), (&json!(2 << 20), &json!(3 << 20)));
    assert_eq!((&change["setting"], &change["settingOrigin"]), (&json!("2MiB"), &json!("flag")));
    world.until_set("3MiB", "operator").await?;
    assert_eq!(world.budget().await?, 3 << 20);
    assert_eq!(world.json(&["list"]).await?.as_array().map(Vec::len), Some(1), "nothing is lost");
    let printed = world.certs(&["budget", "reset"]).await?;
    assert!(printed.out.contains("budget 2.0 MiB, was 3.0 MiB") && printed.out.contains("flag"), "{printed:?}");
    world.until_set("2MiB", "flag").await?;
    assert_eq!(world.budget().await?, 2 << 20);
    Ok(())
}

#[tokio::test]
async fn a_reset_to_what_is_planned_says_what_was_planned() -> Result<()> {
    let options =
        Options::default().without_cert_cache().argument("--memory-limit=1GiB").argument("--max-connections=100");
    let world = World::open_with(1, options).await?;
    let planned = world.budget().await?;
    assert_eq!(planned, 256 << 20);
    let change = world.json(&["budget", "3MiB"]).await?;
    assert_eq!((&change["wasBytes"], &change["budgetBytes"]), (&json!(planned), &json!(3 << 20)));
    let change = world.json(&["budget", "reset"]).await?;
    assert_eq!((&change["wasBytes"], &change["budgetBytes"]), (&json!(3 << 20), &json!(planned)));
    assert_eq!((&change["wantedBytes"], &change["stage"]), (&json!(planned), &json!("calm")));
    assert_eq!(world.budget().await?, planned);
    Ok(())
}

#[tokio::test]
async fn a_budget_that_cannot_be_had_says_why_and_what_would_do() -> Result<()> {
    let world = World::open_with(1, Options::default().argument("--memory-limit=1GiB")).await?;
    for size in ["100GiB", "16EiB"] {
        let printed = world.certs(&["budget", size]).await?;
        assert_eq!(printed.code, Some(0), "{printed:?}");
        assert!(printed.out.contains("warning: the memory limit is too small"), "{printed:?}");
        assert!(printed.out.contains("cert-cache to at most") && !printed.out.contains("at most 0"), "{printed:?}");
        let status = world.gateway.admin("/api/v1/status").await?;
        assert_eq!(status["overload"]["plan"]["fits"], json!(false), "{status}");
    }
    let printed = world.certs(&["budget", "reset"]).await?;
    assert!(!printed.out.contains("warning"), "{printed:?}");
    world.configure(&json!({"overload-shrink": "1%"}))?;
    eventually("memory is short", async || {
        let status = world.gateway.admin("/api/v1/status").await?;
        ensure(status["overload"]["stage"] == "shrink", || status.to_string())
    })
    .await?;
    let printed = world.certs(&["budget", "64MiB"]).await?;
    assert!(printed.out.contains("budget 2.0 MiB") && printed.out.contains("stage shrink"), "{printed:?}");
    assert!(printed.out.contains("64.0 MiB as soon as there is room"), "{printed:?}");
    Ok(())
}

#[tokio::test]
async fn an_operators_budget_lasts_through_other_changes_until_the_setting_itself_changes() -> Result<()> {
    let world = World::open_with(1, Options::default().without_cert_cache()).await?;
    world.configure(&json!({"cert-cache": "1MiB"}))?;
    world.until_set("1MiB", "config map").await?;
    world.json(&["budget", "3MiB"]).await?;
    world.configure(&json!({"cert-cache": "1MiB", "access-log": "off"}))?;
    eventually("the other change is in effect", async || {
        let setting = world.gateway.setting("access-log").await?;
        ensure(setting["values"] == json!(["off"]), || setting.to_string())
    })
    .await?;
    assert_eq!(world.budget().await?, 3 << 20);
    world.configure(&json!({"cert-cache": "5MiB"}))?;
    world.until_set("5MiB", "config map").await?;
    assert_eq!(world.budget().await?, 5 << 20);
    Ok(())
}

#[tokio::test]
async fn a_smaller_budget_keeps_what_was_used_last() -> Result<()> {
    let world = World::open(12).await?;
    for number in 0..12 {
        world.handshake(&host(number)).await?;
    }
    let stats = world.json(&["stats"]).await?;
    let each = stats["bytes"].as_u64().unwrap_or(0) / 12;
    world.handshake("s3.test").await?;
    // An eighth is headroom; four of them fit into the rest.
    let size = (each * 9 / 2 * 8 / 7).to_string();
    world.json(&["budget", &size]).await?;
    let listed = world.json(&["list"]).await?;
    let kept: Vec<_> = listed.as_array().into_iter().flatten().map(|entry| entry["secret"].to_string()).collect();
    assert!(kept.len() == 4 && kept.contains(&"\"shop/s3.test\"".to_owned()), "{kept:?}");
    assert_eq!(world.json(&["stats"]).await?["evictions"], 8);
    Ok(())
}

#[tokio::test]
async fn what_is_no_size_or_comes_from_a_page_elsewhere_changes_nothing() -> Result<()> {
    let world = World::open_with(0, Options::default().cert_cache("2MiB")).await?;
    let admin = world.gateway.address("admin")?;
    let post = async |target: &str, more: &str| -> Result<u16> {
        let request = format!("{target} HTTP/1.1\r\nHost: {admin}\r\n{more}Connection: close\r\n\r\n");
        let mut connection = RawConnection::open(admin).await?;
        connection.send(request.as_bytes()).await?;
        connection.status().await
    };
    assert_eq!(post("POST /api/v1/cache/budget?size=much", "").await?, 400);
    assert_eq!(post("POST /api/v1/cache/budget?size=64", "").await?, 400, "the unit was forgotten");
    assert_eq!(post("POST /api/v1/cache/budget", "").await?, 400);
    assert_eq!(post("GET /api/v1/cache/budget?size=3MiB", "").await?, 405);
    assert_eq!(post("POST /api/v1/cache/budget?size=3MiB", "Origin: https://evil.test\r\n").await?, 403);
    assert_eq!(world.budget().await?, 2 << 20);
    assert_eq!(post("POST /api/v1/cache/budget?size=3MiB", &format!("Origin: http://{admin}\r\n")).await?, 200);
    assert_eq!(world.budget().await?, 3 << 20);
    // Read-only: the other listener that answers for the process.
    let metrics = world.gateway.address("metrics")?;
    let mut connection = RawConnection::open(metrics).await?;
    connection
        .send(format!("POST /api/v1/cache/budget?size=4MiB HTTP/1.1\r\nHost: {metrics}\r\n\r\n").as_bytes())
        .await?;
    assert_eq!(connection.status().await?, 405);
    Ok(())
}
