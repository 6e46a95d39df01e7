//! Clients that take their time (slowloris).

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::client::hello::client_hello;
use postern_tests::client::raw::{Head, RawConnection};
use postern_tests::gateway::Options;
use postern_tests::patience::PATIENCE;

use crate::world::{Scene, World};

/// A gateway that gives its clients a second for everything.
async fn world() -> Result<(World, Backend)> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let options = ["handshake-timeout", "header-timeout", "keepalive-timeout"]
        .into_iter()
        .fold(Options::default(), |options, name| options.argument(format!("--{name}")).argument("1s"));
    Ok((scene.open_with(options).await?, backend))
}

/// A connection that has been served once.
async fn served(world: &World) -> Result<RawConnection> {
    let mut connection = RawConnection::open(world.gateway.address("external-http")?).await?;
    connection.send("GET /-/bytes/2 HTTP/1.1\r\nHost: shop.test\r\n\r\n").await?;
    assert_eq!(connection.status().await?, 200);
    connection.body(2).await?;
    Ok(connection)
}

/// Asserts that the gateway ends the connection, with an answer of 408 or without one.
async fn assert_ended(mut connection: RawConnection) -> Result<()> {
    let head = connection.head().await?;
    assert!(matches!(head, Head::Closed | Head::Status(408, _)), "{head:?}");
    connection.rest(PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn a_first_header_that_never_ends_is_cut_off() -> Result<()> {
    let (world, backend) = world().await?;
    let mut connection = RawConnection::open(world.gateway.address("external-http")?).await?;
    connection.send("GET / HTTP/1.1\r\nHost: shop.te").await?;
    assert_ended(connection).await?;
    assert_eq!(backend.requests(), 0);
    Ok(())
}

#[tokio::test]
async fn a_later_header_that_never_ends_is_cut_off() -> Result<()> {
    let (world, _backend) = world().await?;
    let mut connection = served(&world).await?;
    connection.send("GET / HTTP/1.1\r\nHost: shop.te").await?;
    assert_ended(connection).await
}

#[tokio::test]
async fn a_trickle_of_header_bytes_does_not_put_off_the_end() -> Result<()> {
    let (world, _backend) = world().await?;
    let mut connection = served(&world).await?;
    connection.send("GET / HTTP/1.1\r\nHost: shop.test\r\nX-Slow: ").await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // One byte at a time, until writing fails because the other side has gone.
    while connection.send("a").await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "still open after {PATIENCE:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test]
async fn an_idle_connection_is_closed() -> Result<()> {
    let (world, _backend) = world().await?;
    assert_ended(served(&world).await?).await
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() -> Result<()> {
    let (world, _backend) = world().await?;
    assert_ended(RawConnection::open(world.gateway.address("external-http")?).await?).await
}

#[tokio::test]
async fn a_hello_that_never_ends_is_cut_off_and_holds_nobody_up() -> Result<()> {
    let (world, _backend) = world().await?;
    let address = world.gateway.address("external-https")?;
    let hello = client_hello(Some(b"shop.test"));
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut connection = RawConnection::open(address).await?;
        connection.send(&hello[..20]).await?;
        stalled.push(connection);
    }
    assert!(world.handshake("shop.test").await.is_ok());
    for mut connection in stalled {
        connection.rest(PATIENCE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hello_of_endless_length_is_cut_off() -> Result<()> {
    let (world, _backend) = world().await?;
    let mut connection = RawConnection::open(world.gateway.address("external-https")?).await?;
    // A handshake message of 16 MiB, in full records.
    let mut record = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    record.resize(5 + 0x4000, 0);
    for _ in 0..64 {
        if connection.send(&record).await.is_err() {
            return Ok(());
        }
        record[5..9].fill(0);
    }
    connection.rest(PATIENCE).await?;
    Ok(())
}
