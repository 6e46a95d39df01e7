//! What is written on a KIngress, and how often.

use postern_tests::address::unused;
use postern_tests::cluster::{Certificates, Fault, Kind, KnativeService, Rule, Silence, Verb};
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
    assert!(kingress["metadata"]["finalizers"].is_null(), "nothing is kept that a finalizer would protect");
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
    assert_eq!(world.patches(), 1);
    world.cluster.annotate(Kind::KIngress, "shop", "cart", "example.com/note", "seen")?;
    world.cluster.compact();
    world.cluster.silence_for(Silence::Refusing, std::time::Duration::from_millis(50)).await;
    a_while().await;
    drop(gateway);
    let _again = world.gateway("one", &[]).await?;
    eventually("it leads again", async || ensure(world.holder() == "one", || world.holder())).await?;
    a_while().await;
    assert_eq!(world.patches(), 1);
    Ok(())
}

/// Applies many services, the KIngress first or last.
fn make(world: &World, prefix: &str, count: usize, first: bool) -> Result<()> {
    let certificates = Certificates::of(world.cluster.ca())?;
    for number in 0..count {
        let service = KnativeService::new("shop", &format!("{prefix}{number}")).endpoint(unused());
        let mut objects = service.objects_with(&certificates.issue(&service)?);
        objects.sort_by_key(|object| (object["apiVersion"] == "networking.internal.knative.dev/v1alpha1") != first);
        world.cluster.apply_many(objects)?;
    }
    Ok(())
}

async fn all_ready(world: &World, prefix: &str, count: usize) -> Result<()> {
    for number in 0..count {
        world.ready(&format!("{prefix}{number}")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_kingress_that_becomes_ready_costs_one_request() -> Result<()> {
    let (world, gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    for first in [false, true] {
        world.cluster.requests().reset();
        let prefix = if first { "first" } else { "last" };
        make(&world, prefix, 150, first)?;
        all_ready(&world, prefix, 150).await.map_err(|error| gateway.explain(error))?;
        a_while().await;
        let requests = world.cluster.requests();
        assert_eq!((world.patches(), requests.count(Verb::Get, Kind::KIngress)), (150, 0), "{prefix}");
    }
    Ok(())
}

/// As on a slow API server: the Lease is lost and retaken while patches are under way.
#[tokio::test]
async fn a_lease_that_is_lost_and_retaken_repeats_no_write() -> Result<()> {
    let (world, gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    world.cluster.requests().reset();
    for round in 0..3 {
        world.cluster.silence(Silence::Stalled);
        make(&world, &format!("r{round}x"), 10, false)?;
        eventually("the lease is lost", async || {
            let metrics = gateway.metrics().await?;
            ensure(metrics.sum("postern_status_is_leader") < 0.5, || "still the leader".to_owned())
        })
        .await?;
        world.cluster.silence(Silence::Answering);
        all_ready(&world, &format!("r{round}x"), 10).await?;
    }
    assert_eq!(world.patches(), 30);
    Ok(())
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_repeated_where_the_watch_shows_it() -> Result<()> {
    let (world, _gateway) = World::with_gateway().await?;
    world.ready("cart").await?;
    world.cluster.requests().reset();
    let lost = Fault::ResetAfter { bytes: 1 };
    let rule = world.cluster.faults().add(Rule::on(Verb::Patch, Kind::KIngress, lost));
    make(&world, "lost", 10, false)?;
    all_ready(&world, "lost", 10).await?;
    a_while().await;
    assert_eq!((world.patches(), world.cluster.faults().struck(rule)), (10, 10));
    Ok(())
}

#[tokio::test]
async fn a_finalizer_of_an_earlier_version_is_removed_and_one_of_another_controller_stays() -> Result<()> {
    let world = World::new().await?;
    let with_finalizer = |manager: &str| -> Result<()> {
        let service = KnativeService::new("shop", manager).endpoint(unused());
        let mut objects = service.objects(world.cluster.ca())?;
        for object in objects.iter_mut().filter(|object| object["spec"]["rules"].is_array()) {
            object["metadata"]["finalizers"] = json!([FINALIZER, "example.com/other"]);
            let set = json!({".": {}, format!("v:\"{FINALIZER}\""): {}});
            object["metadata"]["managedFields"] = json!([{
                "manager": manager, "operation": "Update", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:finalizers": set}},
            }]);
        }
        world.cluster.apply_many(objects)
    };
    with_finalizer("postern")?;
    with_finalizer("controller")?;
    let _gateway = world.gateway("one", &[]).await?;
    let finalizers = |name: &str| {
        world.cluster.get(Kind::KIngress, "shop", name).unwrap_or_default()["metadata"]["finalizers"].clone()
    };
    eventually("ours is removed", async || {
        ensure(finalizers("postern") == json!(["example.com/other"]), || finalizers("postern").to_string())
    })
    .await?;
    world.ready("postern").await?;
    world.ready("controller").await?;
    a_while().await;
    assert_eq!(finalizers("controller"), json!([FINALIZER, "example.com/other"]));
    assert_eq!(world.patches(), 4, "three statuses and one finalizer");
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
