//! What is written on a KIngress, and how often.

use postern_tests::cluster::{Kind, KnativeService, Silence};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::world::{World, a_while, condition};

const FINALIZER: &str = "ingresses.networking.internal.knative.dev";

#[tokio::test]
async fn a_served_kingress_reads_as_knative_expects_it() -> Result<()> {
    let (world, _gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    let kingress = world.kingress();
    assert_eq!(kingress["metadata"]["finalizers"], json!([FINALIZER]));
    let status = &kingress["status"];
    let types: Vec<_> = status["conditions"].as_array().into_iter().flatten().map(|c| c["type"].clone()).collect();
    assert_eq!(types, ["LoadBalancerReady", "NetworkConfigured", "Ready"]);
    let domain =
        |service: &str| json!({"ingress": [{"domainInternal": format!("{service}.postern-system.svc.cluster.local")}]});
    assert_eq!(status["publicLoadBalancer"], domain("postern"));
    assert_eq!(status["privateLoadBalancer"], domain("postern-internal"));
    Ok(())
}

#[tokio::test]
async fn nothing_is_written_when_nothing_has_changed() -> Result<()> {
    let (world, gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    assert_eq!(world.patches(), 2, "one for the finalizer, one for the status");
    world.cluster.annotate(Kind::KIngress, "shop", "cart", "example.com/note", "seen")?;
    world.cluster.compact();
    world.cluster.silence_for(Silence::Refusing, std::time::Duration::from_millis(50)).await;
    a_while().await;
    drop(gateway);
    let _again = world.gateway("one", &[]).await?;
    eventually("it leads again", async || ensure(world.holder() == "one", || world.holder())).await?;
    a_while().await;
    assert_eq!(world.patches(), 2);
    Ok(())
}

#[tokio::test]
async fn a_new_generation_keeps_the_times_of_conditions_that_stay() -> Result<()> {
    let (world, _gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    let before = world.kingress()["status"]["conditions"].clone();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.change()?;
    world.ready("cart").await?;
    let kingress = world.kingress();
    assert_eq!(kingress["status"]["observedGeneration"], 2);
    assert_eq!(kingress["status"]["conditions"], before);
    Ok(())
}

#[tokio::test]
async fn a_change_of_one_condition_moves_its_time_alone() -> Result<()> {
    let (world, _gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    let time = |object: &Value, name: &str| condition(object, name)["lastTransitionTime"].clone();
    let before = world.kingress();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.cluster.delete(Kind::Secret, "shop", &world.service.secret_name());
    world.says("cart", "Ready", "Unknown", "ReconcileIngressFailed").await?;
    let after = world.kingress();
    assert_ne!(time(&after, "Ready"), time(&before, "Ready"));
    assert!(condition(&after, "Ready")["message"].as_str().unwrap_or_default().contains(&world.service.secret_name()));
    Ok(())
}

#[tokio::test]
async fn a_kingress_of_another_class_stays_as_it_is() -> Result<()> {
    let world = World::new().await?;
    let mut foreign = KnativeService::new("shop", "foreign").kingress();
    foreign["metadata"]["annotations"]["networking.knative.dev/ingress.class"] = "another".into();
    world.cluster.apply(foreign)?;
    let before = world.cluster.get(Kind::KIngress, "shop", "foreign");
    let _gateway = world.gateway("one", &[]).await?;
    world.ready("cart").await?;
    a_while().await;
    assert_eq!(world.cluster.get(Kind::KIngress, "shop", "foreign"), before);
    Ok(())
}

#[tokio::test]
async fn a_deleted_kingress_is_let_go_and_other_finalizers_stay() -> Result<()> {
    let (world, _gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    let mut object = world.kingress();
    object["metadata"]["finalizers"] = json!(["example.com/first", FINALIZER]);
    world.cluster.apply(object)?;
    world.cluster.delete(Kind::KIngress, "shop", "cart");
    eventually("our finalizer is gone", async || {
        let finalizers = world.kingress()["metadata"]["finalizers"].clone();
        ensure(finalizers == json!(["example.com/first"]), || finalizers.to_string())
    })
    .await?;
    let mut object = world.kingress();
    object["metadata"]["finalizers"] = json!([FINALIZER]);
    world.cluster.apply(object)?;
    eventually("it is gone", async || ensure(world.kingress().is_null(), || world.kingress().to_string())).await
}

#[tokio::test]
async fn without_status_nothing_is_written() -> Result<()> {
    let world = World::new().await?;
    let _gateway = world.gateway("one", &["--status=off"]).await?;
    a_while().await;
    assert_eq!((world.patches(), world.holder().as_str()), (0, ""));
    Ok(())
}

#[tokio::test]
async fn names_of_kourier_can_be_told_and_take_the_place_of_ours() -> Result<()> {
    let (world, gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    drop(gateway);
    let names = ["--public-service=kourier", "--internal-service=kourier-internal", "--cluster-domain=cluster.test"];
    let _swapped = world.gateway("one", &names).await?;
    eventually("the names are told", async || {
        let status = world.kingress()["status"].clone();
        let name = |balancer: &str| status[balancer]["ingress"][0]["domainInternal"].clone();
        let is_so = name("publicLoadBalancer") == "kourier.postern-system.svc.cluster.test"
            && name("privateLoadBalancer") == "kourier-internal.postern-system.svc.cluster.test";
        ensure(is_so, || status.to_string())
    })
    .await
}
