use postern::listener::ListenerName;
use postern::proxy::Settings;
use xds::resource::UpstreamProtocol;

use crate::rig::{Gateway, echo, status};

async fn with_shop(settings: Settings) -> Gateway {
    let mut gateway = Gateway::start_with(ListenerName::ExternalHttp, settings);
    gateway.cluster("ns/a:80", UpstreamProtocol::Http1, &[echo("a").await]);
    gateway.route("shop.test", "ns/a:80");
    gateway
}

#[tokio::test]
async fn what_parsers_differ_about_is_refused_with_400_and_the_connection_closed() {
    let gateway = with_shop(Settings::default()).await;
    for request in [
        "GET / HTTP/1.1\nHost: shop.test\n\n",
        "GET / HTTP/1.1\r\nHost: shop.test\nX: y\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.test, other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.test\r\nHost: shop.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@shop.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.test/x\r\n\r\n",
        "GET http://other.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ] {
        let answer = gateway.exchange(request).await;
        assert_eq!(status(&answer), 400, "{request:?}: {answer}");
        assert!(!answer.contains("backend"), "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn what_connection_names_is_stripped_even_if_the_gateway_sets_it() {
    let gateway = with_shop(Settings::default()).await;
    let request =
        "GET / HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close, X-Forwarded-For\r\n\r\n";
    let answer = gateway.exchange(request).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("x-forwarded-for: 127.0.0.1") && !answer.contains("6.6.6.6"), "{answer}");
}

#[tokio::test]
async fn a_header_that_is_too_large_is_431() {
    let gateway = with_shop(Settings { max_header_bytes: 4096, ..Settings::default() }).await;
    let request = format!("GET / HTTP/1.1\r\nHost: shop.test\r\nX: {}\r\n\r\n", "a".repeat(5000));
    assert_eq!(status(&gateway.exchange(&request).await), 431);
    let many = "X: y\r\n".repeat(101);
    let request = format!("GET / HTTP/1.1\r\nHost: shop.test\r\n{many}\r\n");
    assert_eq!(status(&gateway.exchange(&request).await), 431);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_with_or_without_a_length() {
    let gateway = with_shop(Settings { max_request_body: Some(4), ..Settings::default() }).await;
    let sized = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(status(&gateway.exchange(sized).await), 413);
    let chunked = "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(status(&gateway.exchange(chunked).await), 413);
    let fits = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhell";
    assert_eq!(status(&gateway.exchange(fits).await), 200);
}

#[tokio::test]
async fn absolute_form_reaches_the_service_as_origin_form() {
    let gateway = with_shop(Settings::default()).await;
    for (target, path) in
        [("http://shop.test/cart?x=1", "/cart?x=1"), ("http://shop.test", "/"), ("http://shop.test?x=1", "/?x=1")]
    {
        let request = format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
        let answer = gateway.exchange(&request).await;
        assert!(answer.contains(&format!("GET {path} HTTP/1.1\n")), "{target}: {answer}");
    }
}

#[tokio::test]
async fn a_connection_asked_to_close_is_closed() {
    let gateway = with_shop(Settings::default()).await;
    let answer = gateway.get("shop.test", "/").await;
    assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_space_or_a_control_character_in_the_target_reaches_no_service() {
    let gateway = with_shop(Settings::default()).await;
    for target in ["/a b", "/a\tb", "/a\rb", "/a\x7fb", "/a\0b"] {
        let answer = gateway.exchange(&format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\n\r\n")).await;
        assert_eq!(status(&answer), 400, "{target:?}: {answer}");
        assert!(!answer.contains("backend"), "{target:?}: {answer}");
    }
}

/// What is answered to a request behind another one, sent with it or, where the first has a body, with the body.
async fn second_answer(gateway: &Gateway, second: &str) -> String {
    let first = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhello";
    let answers = gateway.exchange(&format!("{first}{second}")).await;
    let (first, second) = answers.split_once("\n\nhello").unwrap_or_else(|| panic!("not answered: {answers}"));
    assert_eq!(status(first), 200, "{first}");
    second.to_owned()
}

#[tokio::test]
async fn a_space_in_the_target_of_a_pipelined_request_reaches_no_service() {
    let gateway = with_shop(Settings::default()).await;
    let answer = second_answer(&gateway, "GET /a b HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
    assert_eq!(status(&answer), 400, "{answer}");
    let answer = second_answer(&gateway, "GET /a HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn more_header_fields_than_the_parser_takes_are_431() {
    let gateway = with_shop(Settings::default()).await;
    for fields in [101, 256, 257, 2_000] {
        let many = "X: y\r\n".repeat(fields);
        let request = format!("GET / HTTP/1.1\r\nHost: shop.test\r\n{many}\r\n");
        let answer = gateway.exchange(&request).await;
        assert_eq!(status(&answer), 431, "{fields}: {answer}");
        let answer = second_answer(&gateway, &request).await;
        assert_eq!(status(&answer), 431, "{fields}: {answer}");
    }
}
