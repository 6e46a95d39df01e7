//! A small HTTP/1.1 server for the metrics and admin listeners.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::connections::{Connections, Seat};
use super::{Admin, api};
use crate::allocator;
use crate::listener::{ListenerName, source_of};

/// How long a request's header may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last, keep-alive included.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// The most that is read of a request's body.
const MAX_BODY: usize = 1024;

/// Wait after a failed accept; failures come in swarms (no file descriptor left).
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long histograms may collect samples before they are folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// The running server; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct AdminServer {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// Answers on `listeners`, on a thread of its own.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub(crate) fn spawn(admin: Arc<Admin>, listeners: Vec<(ListenerName, TcpListener)>) -> io::Result<AdminServer> {
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new()
        .name("postern-admin".to_owned())
        .spawn(move || runtime.block_on(serve_all(admin, listeners, stopped)))?;
    Ok(AdminServer { stop, thread: Some(thread) })
}

async fn serve_all(admin: Arc<Admin>, listeners: Vec<(ListenerName, TcpListener)>, mut stopped: watch::Receiver<bool>) {
    for (name, listener) in listeners {
        tokio::spawn(serve(Arc::clone(&admin), name, listener));
    }
    tokio::spawn(upkeep(admin));
    // An error means that the handle is gone, which asks for the same.
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn upkeep(admin: Arc<Admin>) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        admin.metrics.run_upkeep();
        allocator::publish();
    }
}

async fn serve(admin: Arc<Admin>, name: ListenerName, listener: TcpListener) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(listener = %name, %error, "cannot serve this listener"),
    };
    let connections = Connections::new(name);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(listener = %name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let seat = connections.enter(source_of(peer.ip()));
        tokio::spawn(converse(Arc::clone(&admin), name, stream, seat));
    }
}

/// Answers what comes on a connection, until it ends, lasts too long, or has to make room.
async fn converse(admin: Arc<Admin>, name: ListenerName, stream: TcpStream, seat: Seat) {
    let local = stream.local_addr().ok();
    let seat = &seat;
    let service = service_fn(move |request| {
        seat.touch();
        answer(Arc::clone(&admin), name, local, request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that goes away or lasts too long is no news.
        _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection) => {}
        () = seat.displaced() => {}
    }
}

async fn answer(
    admin: Arc<Admin>,
    name: ListenerName,
    local: Option<SocketAddr>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    if name != ListenerName::Admin {
        return Ok(api::observe(&admin, &parts));
    }
    // What is larger, or breaks off, is no body that anything here asks for.
    let body = Limited::new(body, MAX_BODY).collect().await.map(Collected::to_bytes).unwrap_or_default();
    Ok(api::administer(&admin, local, &parts, std::str::from_utf8(&body).unwrap_or_default()))
}
