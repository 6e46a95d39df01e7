//! The demonstration's backends: small HTTP servers that say who was asked.

use std::convert::Infallible;
use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// Enough to show that requests are spread.
const BACKENDS: usize = 3;

/// Starts the backends, which live as long as the runtime. Returns their addresses.
pub(super) async fn start() -> std::io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for number in 0..BACKENDS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        addresses.push(listener.local_addr()?);
        tokio::spawn(serve(number, listener));
    }
    Ok(addresses)
}

async fn serve(number: usize, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        tokio::spawn(async move {
            let answer = service_fn(move |request| ready(Ok::<_, Infallible>(answer(number, &request))));
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A client that goes away is no news.
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn answer(number: usize, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let text = format!(
        "hello from backend {number}\nservice: {}\nhost: {}\npath: {}\nx-forwarded-for: {}\nx-forwarded-proto: {}\n",
        field(headers, "demo-service"),
        field(headers, "host"),
        request.uri().path(),
        field(headers, "x-forwarded-for"),
        field(headers, "x-forwarded-proto"),
    );
    Response::new(Full::new(Bytes::from(text)))
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-")
}
