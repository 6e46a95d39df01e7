//! The client of the chat service.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use futures_util::Stream;
use hyper_util::rt::TokioIo;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::{Line, SAY, TALK};
use crate::client::{Stream as ByteStream, TlsClient};
use crate::{Error, Result};

/// A client with one connection.
#[derive(Clone, Debug)]
pub struct ChatClient {
    grpc: Grpc<Channel>,
}

impl ChatClient {
    /// Connects to a gateway's address in the name of a host: with TLS, or with h2c.
    pub async fn connect(address: SocketAddr, host: &str, tls: Option<&TlsClient>) -> Result<Self> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{host}"))?;
        let connector = Connector { address, host: host.to_owned(), tls: tls.map(|tls| tls.alpn(&["h2"])) };
        Ok(Self { grpc: Grpc::new(endpoint.connect_with_connector(connector).await?) })
    }

    /// Says one line and returns the answer.
    pub async fn say(&mut self, text: &str) -> Result<String, Status> {
        self.ready().await?;
        let request = tonic::Request::new(Line::new(text));
        let answer = self.grpc.unary(request, PathAndQuery::from_static(SAY), ProstCodec::<Line, Line>::default());
        Ok(answer.await?.into_inner().text)
    }

    /// Talks both ways at once.
    pub async fn talk(&mut self, lines: impl Stream<Item = Line> + Send + 'static) -> Result<Streaming<Line>, Status> {
        self.ready().await?;
        let request = tonic::Request::new(lines);
        let answer = self.grpc.streaming(request, PathAndQuery::from_static(TALK), ProstCodec::<Line, Line>::default());
        Ok(answer.await?.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// Connects to the gateway whatever the URI says.
#[derive(Clone, Debug)]
struct Connector {
    address: SocketAddr,
    host: String,
    tls: Option<TlsClient>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn ByteStream>>;
    type Error = Error;
    type Future = BoxFuture<Self::Response, Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { address, host, tls } = self.clone();
        Box::pin(async move {
            let stream: Box<dyn ByteStream> = match tls {
                Some(tls) => Box::new(tls.connect(address, Some(&host)).await?.0),
                None => Box::new(tokio::net::TcpStream::connect(address).await?),
            };
            Ok(TokioIo::new(stream))
        })
    }
}
