//! What becomes false becomes true again by itself: each reason twice, so that the way back is open the second time too.

use postern_tests::ca::Issued;
use postern_tests::client::TlsClient;
use postern_tests::cluster::fault::Matcher;
use postern_tests::cluster::{Fault, Kind, KnativeService, Rule, Verb};
use postern_tests::gateway::Gateway;
use postern_tests::manifests::{KIngress, PathRule, Rule as KRule};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::world::{NAMESPACE, World, a_while, condition};

const FAILED: (&str, &str) = ("Unknown", "ReconcileIngressFailed");

/// Takes an object away and brings it back, twice, beginning without it.
async fn comes_and_goes(kind: Kind, name: &str, object: impl Fn(&World) -> Result<Value>) -> Result<()> {
    let world = World::new().await?;
    world.cluster.delete(kind, "shop", name);
    let _gateway = world.gateway("one", &[]).await?;
    for _ in 0..2 {
        world.says("cart", "NetworkConfigured", FAILED.0, FAILED.1).await?;
        world.says("cart", "Ready", FAILED.0, FAILED.1).await?;
        let message = condition(&world.kingress(), "Ready")["message"].clone();
        assert!(message.as_str().unwrap_or_default().contains(name), "{message}");
        world.cluster.apply(object(&world)?)?;
        world.ready("cart").await?;
        assert!(condition(&world.kingress(), "Ready")["message"].is_null());
        world.cluster.delete(kind, "shop", name);
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_secret() -> Result<()> {
    comes_and_goes(Kind::Secret, "route-cart", |world| {
        Ok(world.service.secret_with(&world.cluster.ca().issue(&[&world.service.external_host()])?))
    })
    .await
}

/// Puts the service's Secret with a key of another certificate, and has it loaded.
async fn refuse(world: &World, gateway: &Gateway) -> Result<()> {
    let host = world.service.external_host();
    let (one, other) = (world.cluster.ca().issue(&[&host])?, world.cluster.ca().issue(&[&host])?);
    world.cluster.apply(world.service.secret_with(&Issued { key: other.key, ..one }))?;
    // Whether it is served depends on what was served before.
    let tls = TlsClient::new(world.cluster.ca())?;
    let _ = tls.handshake(gateway.address("external-https")?, Some(&host)).await;
    Ok(())
}

#[tokio::test]
async fn a_secret_that_cannot_be_served() -> Result<()> {
    let (world, gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    for _ in 0..2 {
        refuse(&world, &gateway).await?;
        world.says("cart", "Ready", FAILED.0, FAILED.1).await?;
        let message = condition(&world.kingress(), "Ready")["message"].to_string();
        assert!(message.contains("Secret shop/route-cart cannot be served: tls.key"), "{message}");
        assert!(message.contains("does not match the first certificate in tls.crt"), "{message}");
        let good = world.cluster.ca().issue(&[&world.service.external_host()])?;
        world.cluster.apply(world.service.secret_with(&good))?;
        world.ready("cart").await?;
        assert!(condition(&world.kingress(), "Ready")["message"].is_null());
    }
    Ok(())
}

#[tokio::test]
async fn a_renewed_secret_that_cannot_be_served_while_the_last_good_one_is() -> Result<()> {
    let (world, gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    let tls = TlsClient::new(world.cluster.ca())?;
    let host = world.service.external_host();
    tls.handshake(gateway.address("external-https")?, Some(&host)).await?;
    refuse(&world, &gateway).await?;
    world.says("cart", "Ready", "True", "SecretRefused").await?;
    let message = condition(&world.kingress(), "Ready")["message"].to_string();
    assert!(message.contains("its last good version is served"), "{message}");
    let good = world.cluster.ca().issue(&[&host])?;
    world.cluster.apply(world.service.secret_with(&good))?;
    world.says("cart", "Ready", "True", "").await
}

#[tokio::test]
async fn a_missing_service() -> Result<()> {
    comes_and_goes(Kind::Service, "cart-00001", |world| Ok(world.service.service())).await
}

#[tokio::test]
async fn a_conflict_about_a_host() -> Result<()> {
    let (world, _gateway) = World::with_gateway().await?;
    let host = world.service.external_host();
    let older = KIngress::new("shop", "older").created("2001-01-01T00:00:00Z");
    let older = older.rule(KRule::external(&[&host]).path(PathRule::to("cart-00001"))).object();
    for _ in 0..2 {
        world.ready("cart").await?;
        world.cluster.apply(older.clone())?;
        world.says("cart", "LoadBalancerReady", "False", "DomainConflict").await?;
        world.says("cart", "Ready", "False", "DomainConflict").await?;
        let message = condition(&world.kingress(), "Ready")["message"].clone();
        assert_eq!(message, "Ingress rejected: ingress has a conflicting domain with another ingress");
        world.ready("older").await?;
        world.cluster.delete(Kind::KIngress, "shop", "older");
    }
    world.ready("cart").await
}

#[tokio::test]
async fn a_specification_that_is_not_valid() -> Result<()> {
    let world = World::new().await?;
    let mut valid = world.service.kingress();
    valid["spec"]["httpOption"] = "Enabled".into();
    let mut wrong = valid.clone();
    wrong["spec"]["httpOption"] = "Sometimes".into();
    world.cluster.apply(wrong.clone())?;
    let _gateway = world.gateway("one", &[]).await?;
    for _ in 0..2 {
        world.says("cart", "Ready", FAILED.0, FAILED.1).await?;
        let message = condition(&world.kingress(), "Ready")["message"].clone();
        assert!(message.as_str().unwrap_or_default().contains("spec.httpOption"), "{message}");
        world.cluster.apply(with_metadata(&world, &valid))?;
        world.ready("cart").await?;
        world.cluster.apply(with_metadata(&world, &wrong))?;
    }
    Ok(())
}

/// The specification of an object, and all else as it is.
fn with_metadata(world: &World, wanted: &Value) -> Value {
    let mut object = world.kingress();
    object["spec"] = wanted["spec"].clone();
    object
}

#[tokio::test]
async fn a_setting_that_is_not_implemented_and_not_accepted() -> Result<()> {
    let (world, _gateway) = World::with_gateway().await?;
    let map = |namespace: &str, name: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}, "data": data});
    for (name, key, value) in
        [("config-kourier", "extauthz-host", "authz:50051"), ("config-network", "system-internal-tls", "enabled")]
    {
        world.ready("cart").await?;
        world.cluster.apply(map("knative-serving", name, json!({key: value})))?;
        world.says("cart", "Ready", FAILED.0, FAILED.1).await?;
        let message = condition(&world.kingress(), "Ready")["message"].clone();
        assert!(message.as_str().unwrap_or_default().contains(&format!("{name} {key}")), "{message}");
        world.cluster.apply(map(NAMESPACE, "config-postern", json!({"accept-unsupported": key})))?;
        world.ready("cart").await?;
        world.cluster.delete(Kind::ConfigMap, "knative-serving", name);
        world.cluster.delete(Kind::ConfigMap, NAMESPACE, "config-postern");
    }
    world.ready("cart").await
}

#[tokio::test]
async fn a_port_that_says_tls() -> Result<()> {
    let (world, _gateway) = World::with_gateway().await?;
    let mut tls = world.service.service();
    tls["spec"]["ports"][0]["appProtocol"] = "https".into();
    for _ in 0..2 {
        world.ready("cart").await?;
        world.cluster.apply(tls.clone())?;
        world.says("cart", "Ready", FAILED.0, FAILED.1).await?;
        let message = condition(&world.kingress(), "Ready")["message"].clone();
        let message = message.as_str().unwrap_or_default();
        assert!(message.contains("Service shop/cart-00001") && message.contains("appProtocol"), "{message}");
        world.cluster.apply(world.service.service())?;
    }
    world.ready("cart").await
}

#[tokio::test]
async fn an_api_server_that_refuses_what_is_written() -> Result<()> {
    let (world, _gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    let faults = [(409, None), (429, Some(1)), (500, None), (503, None)];
    for (code, retry_after_seconds) in faults {
        let fault = Fault::Status { code, retry_after_seconds };
        let rule = world.cluster.faults().add(Rule::on(Verb::Patch, Kind::KIngress, fault));
        world.change()?;
        eventually("it is tried", async || ensure(world.cluster.faults().struck(rule) > 0, || "not tried".to_owned()))
            .await?;
        assert_ne!(world.kingress()["status"]["observedGeneration"], world.kingress()["metadata"]["generation"]);
        world.cluster.faults().remove(rule);
        world.ready("cart").await.map_err(|error| format!("after {code}: {error}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn one_object_that_cannot_be_written_holds_up_no_other() -> Result<()> {
    let world = World::new().await?;
    let refused = Matcher {
        verbs: vec![Verb::Patch],
        kinds: vec![Kind::KIngress],
        name: Some("cart".to_owned()),
        ..Matcher::default()
    };
    let fault = Fault::Status { code: 422, retry_after_seconds: None };
    world.cluster.faults().add(Rule { when: refused, fault });
    let _gateway = world.gateway("one", &[]).await?;
    for number in 0..30 {
        let name = format!("other{number}");
        let rule = KRule::external(&[&format!("{name}.test")]).path(PathRule::to("cart-00001"));
        world.cluster.apply(KIngress::new("shop", &name).rule(rule).object())?;
    }
    for number in 0..30 {
        world.ready(&format!("other{number}")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_somebody_else_writes_over_is_put_right() -> Result<()> {
    let (world, _gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    let mut object = world.kingress();
    object["status"] = json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "False"}]});
    world.cluster.apply(object)?;
    world.ready("cart").await
}

#[tokio::test]
async fn a_status_that_cannot_be_read_is_written_anew() -> Result<()> {
    let world = World::new().await?;
    let mut object = KnativeService::new("shop", "odd").kingress();
    object["spec"] = world.service.kingress()["spec"].clone();
    object["spec"]["rules"][0]["hosts"] = json!(["odd.shop"]);
    object["spec"]["rules"][1]["hosts"] = json!(["odd.example.com"]);
    object["spec"]["tls"] = json!([]);
    object["status"] = json!({"observedGeneration": "one", "conditions": {"Ready": true}});
    world.cluster.apply(object)?;
    let _gateway = world.gateway("one", &[]).await?;
    world.ready("odd").await
}

#[tokio::test]
async fn a_lease_that_is_lost_and_comes_back() -> Result<()> {
    let (world, gateway) = World::with_gateway().await?;
    for _ in 0..2 {
        world.ready("cart").await?;
        world.cluster.hold_lease(NAMESPACE, "postern", "another", 3600)?;
        eventually("it has stopped", async || {
            let metrics = gateway.metrics().await?;
            ensure(metrics.sum("postern_status_is_leader") < 0.5, || "still the leader".to_owned())
        })
        .await?;
        let patches = world.patches();
        world.change()?;
        a_while().await;
        assert_eq!(world.patches(), patches);
        world.cluster.hold_lease(NAMESPACE, "postern", "", 1)?;
        world.ready("cart").await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_may_not_be_written_is_a_fault_that_names_the_rule_until_it_may() -> Result<()> {
    let world = World::new().await?;
    let forbidden = Fault::Status { code: 403, retry_after_seconds: None };
    let rule = world.cluster.faults().add(Rule::on(Verb::Patch, Kind::KIngress, forbidden));
    let gateway = world.gateway("one", &[]).await?;
    let expected = r#"status may not be written: expected a rule with apiGroups: ["networking.internal.knative.dev"]"#;
    eventually("the fault is shown", async || {
        let faults = gateway.admin("/api/v1/faults").await?;
        let is_said = |fault: &Value| fault["message"].as_str().is_some_and(|message| message.starts_with(expected));
        ensure(faults.as_array().is_some_and(|all| all.iter().any(is_said)), || faults.to_string())
    })
    .await?;
    world.cluster.faults().remove(rule);
    // What is new is tried at once, what was denied in a minute.
    let more = KnativeService::new("shop", "more").endpoint(postern_tests::address::unused());
    world.cluster.apply_many(more.objects(world.cluster.ca())?)?;
    world.ready("more").await?;
    assert_eq!(gateway.admin("/api/v1/faults").await?, json!([]));
    Ok(())
}
