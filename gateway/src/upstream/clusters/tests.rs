use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

const HTTP1: resource::Cluster =
    resource::Cluster { protocol: UpstreamProtocol::Http1, discovery: Discovery::Endpoints };
const H2C: resource::Cluster = resource::Cluster { protocol: UpstreamProtocol::H2c, discovery: Discovery::Endpoints };

fn name(number: usize) -> Arc<str> {
    Arc::from(format!("ns/svc-{number}:80"))
}

fn addresses(ports: &[u16]) -> Arc<[SocketAddr]> {
    ports.iter().map(|port| SocketAddr::from(([10, 0, 0, 1], *port))).collect()
}

/// One cluster with one endpoint.
fn with_one() -> Clusters {
    let clusters = Clusters::default();
    let mut change = clusters.change();
    change.insert(&name(0), &HTTP1);
    assert!(change.set_addresses(&name(0), &addresses(&[1])));
    change.publish();
    clusters
}

fn ports(clusters: &Clusters, name: &str) -> Option<Vec<u16>> {
    Some(clusters.get(name)?.endpoints().addresses().iter().map(SocketAddr::port).collect())
}

#[test]
fn clusters_are_what_a_map_would_hold_after_any_changes() {
    let mut random = fastrand::Rng::with_seed(5);
    let clusters = Clusters::default();
    let mut model = BTreeMap::new();
    for _ in 0..2_000 {
        let mut change = clusters.change();
        for _ in 0..random.usize(1..4) {
            let name = name(random.usize(..50));
            match random.u8(..4) {
                0 => {
                    change.remove(&name);
                    model.remove(&name);
                }
                1 => {
                    change.insert(&name, &HTTP1);
                    model.entry(name).or_insert_with(Vec::new);
                }
                _ => {
                    let ports: Vec<_> = (0..random.u16(..3)).collect();
                    let known = change.set_addresses(&name, &addresses(&ports));
                    assert_eq!(known, model.contains_key(&name));
                    model.entry(name).and_modify(|known| *known = ports);
                }
            }
        }
        change.publish();
        // Some are used on the way and followed from then on, some are not.
        for number in (0..50).step_by(random.usize(1..10)) {
            assert_eq!(ports(&clusters, &name(number)), model.get(&name(number)).cloned());
        }
        assert_eq!(clusters.len(), model.len());
    }
}

#[test]
fn a_cluster_is_made_by_its_first_request_and_then_kept() {
    let clusters = with_one();
    assert!(clusters.contains(&name(0)));
    assert_eq!(clusters.used.load().len(), 0);
    let first = clusters.get(&name(0)).expect("known");
    assert!(Arc::ptr_eq(&first, &clusters.get(&name(0)).expect("known")));
}

#[test]
fn nothing_of_a_change_is_seen_before_it_is_published() {
    let clusters = with_one();
    let mut change = clusters.change();
    change.set_addresses(&name(0), &addresses(&[2]));
    assert_eq!(ports(&clusters, &name(0)), Some(vec![1]));
    change.publish();
    assert_eq!(ports(&clusters, &name(0)), Some(vec![2]));
}

#[test]
fn a_cluster_in_use_follows_its_endpoints() {
    let clusters = with_one();
    let cluster = clusters.get(&name(0)).expect("known");
    let mut change = clusters.change();
    change.set_addresses(&name(0), &addresses(&[2, 3]));
    change.publish();
    assert_eq!(cluster.endpoints().addresses(), &addresses(&[2, 3]));
}

#[test]
fn another_protocol_makes_another_cluster_with_the_same_endpoints() {
    let clusters = with_one();
    let before = clusters.get(&name(0)).expect("known");
    let mut change = clusters.change();
    change.insert(&name(0), &H2C);
    change.publish();
    let after = clusters.get(&name(0)).expect("known");
    assert_eq!((before.protocol(), after.protocol()), (UpstreamProtocol::Http1, UpstreamProtocol::H2c));
    assert_eq!(ports(&clusters, &name(0)), Some(vec![1]));
}

#[test]
fn a_cluster_by_name_takes_no_endpoints_and_loses_those_it_had() {
    let clusters = with_one();
    let discovery = Discovery::Dns { host: Arc::from("name.test"), port: 80 };
    let mut change = clusters.change();
    change.insert(&name(0), &resource::Cluster { protocol: UpstreamProtocol::Http1, discovery });
    assert!(change.set_addresses(&name(0), &addresses(&[2])));
    change.publish();
    let cluster = clusters.get(&name(0)).expect("known");
    assert_eq!(cluster.dns().map(Dns::host), Some("name.test"));
    assert!(cluster.endpoints().addresses().is_empty());
}

#[test]
fn a_removed_cluster_is_given_back_with_what_was_learnt_from_using_it() {
    let clusters = with_one();
    let used = clusters.get(&name(0)).expect("known");
    let mut change = clusters.change();
    change.remove(&name(0));
    change.publish();
    assert!(clusters.get(&name(0)).is_none());
    assert!(clusters.is_empty() && clusters.used.load().len() == 0);
    assert_eq!(Arc::strong_count(&used), 1);
}

/// So many clusters with one endpoint each.
fn with_many(count: usize) -> Clusters {
    let clusters = Clusters::default();
    let mut change = clusters.change();
    for number in 0..count {
        change.insert(&name(number), &HTTP1);
        change.set_addresses(&name(number), &addresses(&[1]));
    }
    change.publish();
    clusters
}

#[tokio::test(start_paused = true)]
async fn a_cluster_stays_in_use_while_it_is_asked_for_and_is_given_up_when_it_is_not() {
    let clusters = with_many(5);
    let busy = clusters.get(&name(0)).expect("known");
    let idle = Arc::downgrade(&clusters.get(&name(1)).expect("known"));
    for other in 2..5 {
        tokio::time::advance(Duration::from_secs(61)).await;
        clusters.get(&name(other)).expect("known");
        assert!(Arc::ptr_eq(&busy, &clusters.get(&name(0)).expect("known")));
    }
    assert!(idle.upgrade().is_none(), "nobody has asked for it in two generations");
    assert_eq!(clusters.used.load().len(), 3);
    assert_eq!(ports(&clusters, &name(1)), Some(vec![1]));
}

#[test]
fn no_number_of_clusters_makes_those_in_use_more_than_two_generations_hold() {
    let clusters = with_many(10_000);
    for number in 0..10_000 {
        assert_eq!(ports(&clusters, &name(number)), Some(vec![1]));
        assert!(clusters.used.load().len() <= 8_192);
    }
    assert!(clusters.used.load().len() > 4_096);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_an_earlier_generation_follows_its_endpoints_too() {
    let clusters = with_many(2);
    let cluster = clusters.get(&name(0)).expect("known");
    tokio::time::advance(Duration::from_secs(61)).await;
    clusters.get(&name(1)).expect("known");
    let mut change = clusters.change();
    change.set_addresses(&name(0), &addresses(&[2]));
    change.publish();
    assert_eq!(cluster.endpoints().addresses(), &addresses(&[2]));
    assert!(Arc::ptr_eq(&cluster, &clusters.get(&name(0)).expect("known")));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_by_name_stays_with_what_was_found_until_it_resolves_another() {
    let clusters = Clusters::default();
    let put = |host: &str| {
        let discovery = Discovery::Dns { host: Arc::from(host), port: 80 };
        let mut change = clusters.change();
        change.insert(&name(0), &resource::Cluster { protocol: UpstreamProtocol::Http1, discovery });
        change.publish();
        clusters.get(&name(0)).expect("known")
    };
    let first = put("name.test");
    tokio::time::advance(Duration::from_secs(600)).await;
    assert!(Arc::ptr_eq(&first, &put("name.test")));
    assert!(!Arc::ptr_eq(&first, &put("other.test")));
}

#[test]
fn a_cluster_with_one_endpoint_is_known_in_48_bytes() {
    assert_eq!(size_of::<certstore::name_map::Entry<Target, UpstreamProtocol>>(), 48);
}
