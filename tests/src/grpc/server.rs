//! The server of the chat service.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::{Line, SAY, TALK};
use crate::{Result, address};

/// A gRPC backend on an address of its own; gone when dropped.
#[derive(Debug)]
pub struct GrpcBackend {
    address: SocketAddr,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl GrpcBackend {
    /// Starts serving.
    pub async fn start() -> Result<Self> {
        let address = address::unused();
        let incoming = TcpIncoming::from(TcpListener::bind(address).await?).with_nodelay(Some(true));
        let serving = tokio::spawn(Server::builder().add_service(Chat).serve_with_incoming(incoming));
        Ok(Self { address, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for GrpcBackend {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone, Copy, Debug)]
struct Chat;

impl NamedService for Chat {
    const NAME: &'static str = "test.Chat";
}

impl Service<http::Request<Body>> for Chat {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Line, Line>::default());
            Ok(match request.uri().path() {
                SAY => grpc.unary(Say, request).await,
                TALK => grpc.streaming(Talk, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

struct Say;

impl UnaryService<Line> for Say {
    type Response = Line;
    type Future = BoxFuture<Response<Line>, Status>;

    fn call(&mut self, request: Request<Line>) -> Self::Future {
        Box::pin(async move { answer(&request.into_inner()).map(Response::new) })
    }
}

struct Talk;

type Lines = Pin<Box<dyn Stream<Item = Result<Line, Status>> + Send>>;

impl StreamingService<Line> for Talk {
    type Response = Line;
    type ResponseStream = Lines;
    type Future = BoxFuture<Response<Lines>, Status>;

    fn call(&mut self, request: Request<Streaming<Line>>) -> Self::Future {
        Box::pin(async move {
            let answers = stream::unfold(request.into_inner(), |mut lines| async move {
                match lines.next().await? {
                    Ok(line) if line.text == "bye" => None,
                    Ok(line) => Some((answer(&line), lines)),
                    Err(status) => Some((Err(status), lines)),
                }
            });
            Ok(Response::new(answers.boxed()))
        })
    }
}

fn answer(line: &Line) -> Result<Line, Status> {
    if line.text != "fail" {
        return Ok(Line::new(&format!("re: {}", line.text)));
    }
    let mut status = Status::new(Code::Aborted, "as was asked");
    status.metadata_mut().insert("x-reason", "because".parse().map_err(|_| Status::internal("a bad trailer"))?);
    Err(status)
}
