//! What may be read, and what is not there.

use postern_tests::cluster::{Cluster, Fault, Kind, Options, PolicyRule, Rule, Verb};
use xds::source::api::{Access, Scope, connect};

use crate::world::{World, client, fill, options, service};

const USER: &str = "system:serviceaccount:postern-system:postern";

fn rule(group: &str, resources: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: vec![group.to_owned()],
        resources: resources.iter().map(|resource| (*resource).to_owned()).collect(),
        verbs: vec!["list".to_owned(), "watch".to_owned()],
        resource_names: Vec::new(),
    }
}

fn all_but_slices() -> Vec<PolicyRule> {
    vec![
        rule("", &["services", "secrets"]),
        rule("networking.k8s.io", &["ingresses", "ingressclasses"]),
        rule("networking.internal.knative.dev", &["ingresses"]),
    ]
}

async fn cluster() -> (Cluster, String) {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    fill(&cluster, 5);
    let token = cluster.add_user(USER);
    (cluster, token)
}

#[tokio::test]
async fn a_rule_that_is_missing_is_named_and_what_it_would_allow_is_read_once_it_is_there() {
    let (cluster, token) = cluster().await;
    cluster.grant(USER, None, all_but_slices());
    let client = client(&cluster, &token);
    let mut world = World::follow_as(cluster, client, options());
    world.synced().await;
    assert_eq!(world.services(), 5);
    let faults: Vec<_> = world.faults.all().iter().map(ToString::to_string).collect();
    assert!(faults.len() == 1 && faults[0].contains(r#"resources: ["endpointslices"], verbs: ["list", "watch"]"#));
    world.cluster.grant(USER, None, vec![rule("discovery.k8s.io", &["endpointslices"])]);
    let slice = serde_json::json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"namespace": "shop", "name": "web-1"},
        "addressType": "IPv4", "endpoints": [],
    });
    world.cluster.apply(slice).unwrap();
    world.until("the slice is read", |world| world.objects.contains_key("EndpointSlice shop/web-1")).await;
    assert!(world.faults.is_empty());
}

#[tokio::test]
async fn roles_in_two_namespaces_are_enough_for_these_two() {
    let (cluster, token) = cluster().await;
    let mut elsewhere = service("s0", "elsewhere");
    elsewhere["metadata"]["namespace"] = "news".into();
    cluster.apply(elsewhere).unwrap();
    let mut rules = all_but_slices();
    rules.push(rule("discovery.k8s.io", &["endpointslices"]));
    for namespace in ["shop", "empty"] {
        cluster.grant(USER, Some(namespace), rules.clone());
    }
    cluster.grant(USER, None, vec![rule("networking.k8s.io", &["ingressclasses"])]);
    let mut options = options();
    options.scope = Scope::Namespaces(vec!["shop".into(), "empty".into()]);
    let client = client(&cluster, &token);
    let mut world = World::follow_as(cluster, client, options);
    world.synced().await;
    assert_eq!((world.services(), world.faults.all()), (5, vec![]));
}

#[tokio::test]
async fn a_cluster_without_knative_is_complete_without_it() {
    let (cluster, _) = cluster().await;
    let absent = Fault::Status { code: 404, retry_after_seconds: None };
    let rules =
        [Verb::List, Verb::Watch].map(|verb| cluster.faults().add(Rule::on(verb, Kind::KIngress, absent.clone())));
    let mut world = World::follow(cluster, options());
    world.synced().await;
    assert!(world.faults.is_empty());
    let kingress = serde_json::json!({
        "apiVersion": "networking.internal.knative.dev/v1alpha1", "kind": "Ingress",
        "metadata": {"namespace": "shop", "name": "web"}, "spec": {},
    });
    world.cluster.apply(kingress).unwrap();
    for rule in rules {
        world.cluster.faults().remove(rule);
    }
    world.until("the KIngress is read", |world| world.objects.contains_key("KIngress shop/web")).await;
}

#[tokio::test]
async fn a_token_that_is_no_longer_accepted_is_reported_and_takes_nothing_away() {
    let (cluster, _) = cluster().await;
    cluster.grant(USER, None, vec![PolicyRule::everything()]);
    let access = Access { kubeconfig: Some(cluster.kubeconfig_of(USER).unwrap()), context: None };
    let client = connect(&access).await.unwrap();
    let mut world = World::follow_as(cluster, client, options());
    world.synced().await;
    world.cluster.remove_user(USER);
    world.cut().await;
    let faults = world.faults.clone();
    postern_tests::patience::eventually("the fault is reported", async || {
        let said = faults.all().iter().any(|fault| fault.message.contains("does not accept the credentials (401)"));
        postern_tests::ensure(said, || format!("{:?}", faults.all()))
    })
    .await
    .unwrap();
    assert_eq!((world.services(), world.deletions), (5, 0));
    world.cluster.add_user(USER);
    world.cluster.grant(USER, None, vec![PolicyRule::everything()]);
    world.cluster.apply(service("s1", "after")).unwrap();
    world.sees("s1", "after").await;
}
