use std::sync::atomic::Ordering;

use ipnet::IpNet;
use postern::listener::ListenerName;
use postern::proxy::Settings;
use postern::proxy::trust::Hops;
use xds::resource::{HeaderMatch, Route, RouteSet, SetHeader, UpstreamProtocol};

use crate::rig::{Gateway, echo, forward, prefix, status, virtual_host};

fn set(name: &str, value: &str) -> SetHeader {
    SetHeader { name: name.into(), value: value.into() }
}

async fn with_shop() -> Gateway {
    let mut gateway = Gateway::start();
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[echo("a").await]);
    gateway.route("shop.test", "ns/a:80");
    gateway
}

#[tokio::test]
async fn a_request_goes_to_the_service_of_its_host() {
    let gateway = with_shop().await;
    let answer = gateway.get("Shop.Test:8080", "/cart?x=1").await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("backend: a\nGET /cart?x=1 HTTP/1.1\n"), "{answer}");
    assert!(answer.contains("host: Shop.Test:8080"), "{answer}");
}

#[tokio::test]
async fn a_host_that_nobody_serves_is_404_and_the_connection_goes_on() {
    let gateway = with_shop().await;
    let two =
        "GET / HTTP/1.1\r\nHost: other.test\r\n\r\nGET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";
    let answer = gateway.exchange(two).await;
    assert_eq!(status(&answer), 404);
    assert!(answer.contains("no service has this host"), "{answer}");
    assert!(answer.contains("x-request-id: ") || answer.contains("X-Request-Id: "), "{answer}");
    assert!(answer.contains("backend: a"), "{answer}");
}

#[tokio::test]
async fn a_path_without_a_route_is_404() {
    let mut gateway = Gateway::start();
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[echo("a").await]);
    gateway.route_with(
        "shop.test",
        Route { path: prefix("/cart"), headers: Vec::new(), action: forward(&[("ns/a:80", 1)]) },
    );
    assert_eq!(status(&gateway.get("shop.test", "/cart").await), 200);
    assert_eq!(status(&gateway.get("shop.test", "/").await), 404);
}

#[tokio::test]
async fn routes_are_taken_by_header_and_in_their_order() {
    let mut gateway = Gateway::start();
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[echo("a").await]);
    gateway.cluster("ns/b:80", UpstreamProtocol::Http1, &[echo("b").await]);
    let tagged = HeaderMatch { name: "knative-serving-tag".into(), exact: Some("blue".into()) };
    let routes = vec![
        Route { path: prefix("/"), headers: vec![tagged], action: forward(&[("ns/b:80", 1)]) },
        Route { path: prefix("/"), headers: Vec::new(), action: forward(&[("ns/a:80", 1)]) },
    ];
    gateway.host("shop.test", virtual_host(&RouteSet { routes, probe_hash: None }));
    for (tag, backend) in [("blue", "backend: b"), ("Blue", "backend: a"), ("", "backend: a")] {
        let request =
            format!("GET / HTTP/1.1\r\nHost: shop.test\r\nKnative-Serving-Tag: {tag}\r\nConnection: close\r\n\r\n");
        let answer = gateway.exchange(&request).await;
        assert!(answer.contains(backend), "tag {tag:?}: {answer}");
    }
}

#[tokio::test]
async fn headers_of_split_and_route_replace_the_clients_and_the_routes_win() {
    let mut gateway = Gateway::start();
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[echo("a").await]);
    let mut action = forward(&[("ns/a:80", 1)]);
    action.splits[0].set_headers = vec![set("x-split", "split"), set("x-both", "split")];
    action.set_headers = vec![set("x-both", "route")];
    action.rewrite_host = Some("inner.test".into());
    gateway.route_with("shop.test", Route { path: prefix("/"), headers: Vec::new(), action });
    let request = "GET / HTTP/1.1\r\nHost: shop.test\r\nX-Split: bogus\r\nX-Both: bogus\r\nConnection: close, X-Both, X-Request-Id\r\n\r\n";
    let answer = gateway.exchange(request).await;
    for line in
        ["x-split: split\n", "x-both: route\n", "host: inner.test\n", "x-forwarded-host: shop.test\n", "x-request-id: "]
    {
        assert!(answer.contains(line), "{line:?} is missing: {answer}");
    }
    assert!(!answer.contains("bogus"), "{answer}");
}

#[tokio::test]
async fn a_probe_is_answered_with_the_hash_and_other_values_pass() {
    let gateway = with_shop().await;
    let hash = "ab".repeat(32);
    for (sent, seen) in [("override", hash.as_str()), ("someone-elses", "someone-elses")] {
        let request =
            format!("GET /healthz HTTP/1.1\r\nHost: shop.test\r\nK-Network-Hash: {sent}\r\nConnection: close\r\n\r\n");
        let answer = gateway.exchange(&request).await;
        assert!(answer.contains(&format!("k-network-hash: {seen}\n")), "{answer}");
    }
}

#[tokio::test]
async fn plain_requests_for_a_redirected_host_are_sent_to_https() {
    let mut gateway = Gateway::start();
    let routes = vec![Route { path: prefix("/"), headers: Vec::new(), action: forward(&[("ns/a:80", 1)]) }];
    let mut host = virtual_host(&RouteSet { routes, probe_hash: None });
    host.redirect_to_https = true;
    gateway.host("shop.test", host);
    let answer = gateway.get("shop.test:8080", "/cart?x=1").await;
    assert_eq!(status(&answer), 301);
    assert!(answer.to_lowercase().contains("\r\nlocation: https://shop.test/cart?x=1\r\n"), "{answer}");
}

#[tokio::test]
async fn a_host_is_not_redirected_where_a_trusted_proxy_says_that_its_client_came_by_https() {
    let loopback: IpNet = "127.0.0.0/8".parse().expect("a range");
    let elsewhere: IpNet = "192.0.2.0/24".parse().expect("a range");
    let hops = |count| Some(Hops { count, appends_peer: true });
    for (ranges, hops, believed) in [
        (vec![], None, false),
        (vec![loopback], None, true),
        (vec![elsewhere], None, false),
        (vec![], hops(1), true),
        (vec![], hops(0), false),
        (vec![elsewhere], hops(1), false),
    ] {
        let settings = Settings { trusted_proxies: ranges, hops, ..Settings::default() };
        let name = format!("{settings:?}");
        let mut gateway = Gateway::start_with(ListenerName::ExternalHttp, settings);
        gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[echo("a").await]);
        let routes = vec![Route { path: prefix("/"), headers: Vec::new(), action: forward(&[("ns/a:80", 1)]) }];
        let mut host = virtual_host(&RouteSet { routes, probe_hash: None });
        host.redirect_to_https = true;
        gateway.host("shop.test", host);
        for (scheme, is_secure) in [
            ("", false),
            ("HTTPS", true),
            ("http", false),
            ("https, http", true),
            ("http, https", false),
            ("wss", true),
        ] {
            let said = if scheme.is_empty() { String::new() } else { format!("X-Forwarded-Proto: {scheme}\r\n") };
            let expected = if believed && is_secure { 200 } else { 301 };
            let request = format!("GET / HTTP/1.1\r\nHost: shop.test\r\n{said}Connection: close\r\n\r\n");
            assert_eq!(status(&gateway.exchange(&request).await), expected, "{said:?} {name}");
        }
    }
}

#[tokio::test]
async fn readiness_is_answered_on_the_internal_listener() {
    let gateway = Gateway::start_with(ListenerName::InternalHttp, Settings::default());
    assert_eq!(status(&gateway.get("internalkourier", "/ready").await), 503);
    gateway.ready.store(true, Ordering::Relaxed);
    assert_eq!(status(&gateway.get("internalkourier", "/ready").await), 200);
    assert_eq!(status(&gateway.get("internalkourier", "/other").await), 404);
    let external = Gateway::start();
    assert_eq!(status(&external.get("internalkourier", "/ready").await), 404);
}

#[tokio::test]
async fn what_a_client_says_about_itself_is_replaced_unless_it_is_trusted() {
    let request = "GET / HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 203.0.113.1\r\nForwarded: for=203.0.113.1\r\nX_Forwarded_For: 203.0.113.1\r\nConnection: close\r\n\r\n";
    let answer = with_shop().await.exchange(request).await;
    assert!(answer.contains("x-forwarded-for: 127.0.0.1\n"), "{answer}");
    assert!(answer.contains("x-forwarded-proto: http\n"), "{answer}");
    assert!(!answer.contains("203.0.113.1"), "{answer}");

    let loopback: IpNet = "127.0.0.0/8".parse().expect("a range");
    let settings = Settings { trusted_proxies: vec![loopback], ..Settings::default() };
    let mut gateway = Gateway::start_with(ListenerName::ExternalHttp, settings);
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[echo("a").await]);
    gateway.route("shop.test", "ns/a:80");
    let answer = gateway.exchange(request).await;
    assert!(answer.contains("x-forwarded-for: 203.0.113.1, 127.0.0.1\n"), "{answer}");
    assert!(answer.contains("forwarded: for=203.0.113.1\n"), "{answer}");
}
