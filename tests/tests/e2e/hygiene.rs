//! What no honest client sends, byte by byte.

use postern_tests::backend::Backend;
use postern_tests::client::raw::{Head, RawConnection, exchange};
use postern_tests::patience::eventually;
use postern_tests::{Result, ensure};

use crate::world::{Scene, World};

async fn world() -> Result<(World, Backend)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    Ok((scene.open().await?, backend))
}

/// Asserts that each request is refused with this status (or without a word) and none of it reaches the backend.
async fn assert_refused(status: u16, requests: &[(&str, Vec<u8>)]) -> Result<()> {
    let (world, backend) = world().await?;
    let address = world.gateway.address("external-http")?;
    for (what, request) in requests {
        match exchange(address, request).await.map_err(|error| format!("{what}: {error}"))? {
            Head::Status(answered, _) => assert_eq!(answered, status, "{what}"),
            Head::Closed => {}
        }
        assert_eq!(backend.requests(), 0, "{what} reached the backend");
    }
    assert_eq!(world.status("http://shop.test/").await?, 200, "an honest request");
    Ok(())
}

#[tokio::test]
async fn every_refused_request_has_a_line_in_the_log_and_is_counted() -> Result<()> {
    let (world, _backend) = world().await?;
    let address = world.gateway.address("external-http")?;
    let cases = [
        "GET a HTTP/1.1\nHost: shop.test\n\n",
        "GET / HTTP/1.1\nHost: shop.test\nX-A : 1\n\n",
        "GET / HTTP/1.1\nHost: shop test\n\n",
        "GET / HTTP/1.1\n\n",
        "CONNECT shop.test:443 HTTP/1.1\nHost: shop.test\n\n",
    ];
    for head in cases {
        let Head::Status(400 | 405, fields) = exchange(address, &request(head)).await? else {
            panic!("{head:?} is not refused")
        };
        assert!(!format!("{fields:?}").to_lowercase().contains("server"), "{fields:?}");
    }
    eventually("all are logged and counted", async || {
        let log = world.gateway.log().lines();
        let logged = log.iter().filter(|line| line.contains(r#""target":"access""#)).count();
        let metrics = world.gateway.metrics().await?;
        let counted = [
            metrics.sum("postern_request_failures_total"),
            metrics.sum_where("postern_requests_total", r#"listener="external-http""#),
            metrics.sum_where("postern_responses_total", r#"class="4xx""#),
        ];
        let all = cases.len().to_string();
        let is_all = logged.to_string() == all && counted.iter().all(|count| count.to_string() == all);
        ensure(is_all, || format!("{logged} {counted:?}"))
    })
    .await
}

fn request(head: &str) -> Vec<u8> {
    head.replace('\n', "\r\n").into_bytes()
}

#[tokio::test]
async fn ambiguous_lengths_are_refused() -> Result<()> {
    let cases = [
        ("two lengths", "POST / HTTP/1.1\nHost: shop.test\nContent-Length: 3\nContent-Length: 4\n\nabcd"),
        ("two lengths in one field", "POST / HTTP/1.1\nHost: shop.test\nContent-Length: 3, 4\n\nabcd"),
        ("a signed length", "POST / HTTP/1.1\nHost: shop.test\nContent-Length: +3\n\nabc"),
        ("a coding before chunked", "POST / HTTP/1.1\nHost: shop.test\nTransfer-Encoding: gzip, chunked\n\n0\n\n"),
        ("no chunked at all", "POST / HTTP/1.1\nHost: shop.test\nTransfer-Encoding: xchunked\n\n0\n\n"),
        ("chunked in HTTP/1.0", "POST / HTTP/1.0\nHost: shop.test\nTransfer-Encoding: chunked\n\n0\n\n"),
        ("chunked not last", "POST / HTTP/1.1\nHost: shop.test\nTransfer-Encoding: chunked, identity\n\n0\n\n"),
    ];
    assert_refused(400, &cases.map(|(what, head)| (what, request(head)))).await
}

#[tokio::test]
async fn malformed_lines_are_refused() -> Result<()> {
    let mut cases = [
        ("a space before the colon", "GET / HTTP/1.1\nHost: shop.test\nX-A : 1\n\n"),
        ("a folded line", "GET / HTTP/1.1\nHost: shop.test\nX-A: 1\n 2\n\n"),
        ("NUL in a value", "GET / HTTP/1.1\nHost: shop.test\nX-A: a\0b\n\n"),
        ("an empty field name", "GET / HTTP/1.1\nHost: shop.test\n: x\n\n"),
    ]
    .map(|(what, head)| (what, request(head)))
    .to_vec();
    cases.push(("lines that end in LF alone", b"GET / HTTP/1.1\nHost: shop.test\n\n".to_vec()));
    cases.push(("one line that ends in LF alone", b"GET / HTTP/1.1\r\nHost: shop.test\nX-A: 1\r\n\r\n".to_vec()));
    assert_refused(400, &cases).await
}

#[tokio::test]
async fn requests_without_exactly_one_host_are_refused() -> Result<()> {
    let cases = [
        ("no Host", "GET / HTTP/1.1\n\n"),
        ("two Hosts", "GET / HTTP/1.1\nHost: shop.test\nHost: shop.test\n\n"),
        ("a list of hosts", "GET / HTTP/1.1\nHost: shop.test, shop.test\n\n"),
        ("a space in the host", "GET / HTTP/1.1\nHost: shop test\n\n"),
        ("a path in the host", "GET / HTTP/1.1\nHost: shop.test/x\n\n"),
        ("somebody in the host", "GET / HTTP/1.1\nHost: me@shop.test\n\n"),
        ("another host in the target", "GET http://bank.test/ HTTP/1.1\nHost: shop.test\n\n"),
    ];
    assert_refused(400, &cases.map(|(what, head)| (what, request(head)))).await
}

#[tokio::test]
async fn too_much_header_is_refused() -> Result<()> {
    let long = format!("GET / HTTP/1.1\nHost: shop.test\nX-A: {}\n\n", "a".repeat(200 << 10));
    let many = format!("GET / HTTP/1.1\nHost: shop.test\n{}\n", "X-A: 1\n".repeat(200));
    assert_refused(431, &[("a long field", request(&long)), ("many fields", request(&many))]).await
}

#[tokio::test]
async fn connect_is_not_offered() -> Result<()> {
    assert_refused(405, &[("CONNECT", request("CONNECT shop.test:443 HTTP/1.1\nHost: shop.test:443\n\n"))]).await
}

#[tokio::test]
async fn an_absolute_target_reaches_the_backend_in_origin_form() -> Result<()> {
    let (world, _backend) = world().await?;
    let mut connection = RawConnection::open(world.gateway.address("external-http")?).await?;
    connection.send(request("GET http://shop.test/cart?x HTTP/1.1\nHost: shop.test\nConnection: close\n\n")).await?;
    assert_eq!(connection.status().await?, 200);
    let body = String::from_utf8(connection.rest(postern_tests::patience::PATIENCE).await?)?;
    ensure(body.contains(r#""target":"/cart?x""#), || body.clone())
}

#[tokio::test]
async fn a_length_beside_chunked_is_not_smuggled() -> Result<()> {
    let (world, backend) = world().await?;
    let smuggled = "POST / HTTP/1.1\nHost: shop.test\nContent-Length: 4\nTransfer-Encoding: chunked\n\n0\n\n\
                    GET /smuggled HTTP/1.1\nHost: shop.test\n\n";
    let mut connection = RawConnection::open(world.gateway.address("external-http")?).await?;
    connection.send(request(smuggled)).await?;
    let answers = String::from_utf8_lossy(&connection.rest(postern_tests::patience::PATIENCE).await?).into_owned();
    ensure(!answers.contains("/smuggled"), || answers.clone())?;
    assert!(backend.requests() <= 1);
    Ok(())
}

#[tokio::test]
async fn a_request_sent_before_the_answer_is_not_lost() -> Result<()> {
    let (world, _backend) = world().await?;
    let mut connection = RawConnection::open(world.gateway.address("external-http")?).await?;
    let one = request("GET /-/status/204 HTTP/1.1\nHost: shop.test\n\n");
    connection.send([one.clone(), one].concat()).await?;
    let Head::Status(204, head) = connection.head().await? else { return Err("no first answer".into()) };
    // Whoever is told `close` knows that the second was not taken.
    if !head.to_ascii_lowercase().contains("connection: close") {
        assert_eq!(connection.status().await?, 204);
    }
    Ok(())
}

#[tokio::test]
async fn a_broken_chunk_ends_the_connection() -> Result<()> {
    let (world, _backend) = world().await?;
    for chunk in ["zz\r\nab\r\n", "2\nab\r\n", "ffffffffffffffff1\r\n"] {
        let mut connection = RawConnection::open(world.gateway.address("external-http")?).await?;
        connection.send(request("POST /-/echo HTTP/1.1\nHost: shop.test\nTransfer-Encoding: chunked\n\n")).await?;
        connection.send(chunk).await?;
        let answered = connection.head().await?;
        ensure(
            !matches!(answered, Head::Status(100..=199 | 300.., _)) || matches!(answered, Head::Status(400, _)),
            || format!("{chunk:?}: {answered:?}"),
        )?;
        connection.rest(postern_tests::patience::PATIENCE).await?;
    }
    assert_eq!(world.status("http://shop.test/").await?, 200);
    Ok(())
}
