//! Settings that keep everything from being served.

use tokio::sync::watch;

use super::*;
use crate::settings::Withheld;

fn world() -> (World, watch::Sender<Withheld>) {
    let mut world = World::new();
    let keys = watch::Sender::new(Withheld::default());
    world.translator.withhold(keys.subscribe());
    (world, keys)
}

fn key() -> Withheld {
    Withheld::from(vec!["config-kourier extauthz-host".to_owned()])
}

#[test]
fn nothing_is_served_while_a_key_withholds_it_and_everything_is_back_afterwards() {
    let (mut world, keys) = world();
    let tls = json!([{"hosts": ["a.test"], "secretName": "cert"}]);
    let of_tls = json!({"rules": [rule(&["a.test"], "", "s0")], "tls": tls});
    let site = json!({"rules": [ingress_rule("site.test", &[("Prefix", "/")])]});
    world.apply([plain_service("s0"), secret("cert", "1"), kingress("a", of_tls), ingress("site", site)]);
    let (hosts, bindings) = (world.hosts.clone(), world.bindings.clone());
    assert_eq!((world.host_names(), bindings.len()), (vec!["a.test", "site.test"], 1));
    for _ in 0..2 {
        keys.send_replace(key());
        world.flush();
        assert!(world.hosts.is_empty() && world.bindings.is_empty());
        world.apply([one_host("late", 1, "late.test")]);
        assert!(world.hosts.is_empty(), "what comes meanwhile is not served either");
        world.delete(ObjectKind::KIngress, "late");
        keys.send_replace(Withheld::default());
        world.flush();
        assert_eq!((&world.hosts, &world.bindings), (&hosts, &bindings));
        assert!(world.flush().is_empty());
    }
}
