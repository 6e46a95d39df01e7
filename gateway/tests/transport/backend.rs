//! A backend that echoes, streams, and waits when it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

type Body = BoxBody<Bytes, Infallible>;

/// Requests for `/wait` and the second half of `/stream` are held until they are released.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    arrived: Semaphore,
    released: Semaphore,
}

impl Backend {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let backend = Arc::new(Self { address, arrived: Semaphore::new(0), released: Semaphore::new(0) });
        let serving = Arc::clone(&backend);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let backend = Arc::clone(&serving);
                let service = service_fn(move |request| Arc::clone(&backend).answer(request));
                let conn = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service);
                tokio::spawn(async move {
                    let _ = conn.await;
                });
            }
        });
        backend
    }

    /// Waits until a request for `/wait` is here.
    pub(crate) async fn arrival(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    /// Lets one held response go.
    pub(crate) fn release(&self) {
        self.released.add_permits(1);
    }

    async fn released(&self) {
        self.released.acquire().await.unwrap().forget();
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path().to_owned();
        let body = match (request.method(), path.as_str()) {
            (&Method::POST, _) => full(
                request.into_body().collect().await.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes),
            ),
            (_, "/stream") => self.two_halves(),
            (_, "/wait") => {
                self.arrived.add_permits(1);
                self.released().await;
                full("waited")
            }
            _ => full(format!("hello {path}")),
        };
        Ok(Response::new(body))
    }

    fn two_halves(self: Arc<Self>) -> Body {
        let frame = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        let halves = stream::unfold(0, move |sent| {
            let backend = Arc::clone(&self);
            async move {
                match sent {
                    0 => Some((frame("first half,"), 1)),
                    1 => {
                        backend.released().await;
                        Some((frame(" second half"), 2))
                    }
                    _ => None,
                }
            }
        });
        BodyExt::boxed(StreamBody::new(SyncStream(Box::pin(halves))))
    }
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}

/// `BoxBody` asks for `Sync`; a mutex that is never contended makes the stream so.
struct SyncStream<S>(std::pin::Pin<Box<S>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}
