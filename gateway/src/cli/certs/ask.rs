//! A client of the admin listener.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long an answer may take; the longest list takes the admin listener some tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of an answer: a page of 1000 certificates is under 2 MiB.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The address is no address.
    #[error("{0:?} is no address of an admin listener; write it as HOST:PORT, for example 127.0.0.1:9901")]
    Address(String),
    /// The client could not be set up.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// Nothing answers there.
    #[error(
        "no gateway's admin listener answers at {address}; it is 127.0.0.1:9901 where the gateway runs, unless \
         --listen admin=… says otherwise (set --admin or POSTERN_ADMIN; in a cluster: kubectl port-forward \
         deployment/postern 9901)"
    )]
    Unreachable {
        /// As the user wrote it.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("the admin listener at {address} did not answer within {} s", PATIENCE.as_secs())]
    TimedOut {
        /// As the user wrote it.
        address: String,
    },
    /// It is something else that answers.
    #[error("what answers there is no gateway's admin listener: {0}")]
    NoGateway(String),
    /// It said no.
    #[error("the gateway refused ({status}): {message}")]
    Refused {
        /// HTTP's word.
        status: StatusCode,
        /// The gateway's.
        message: String,
    },
    /// There is no such thing, in the gateway's own words.
    #[error("not found")]
    NotFound(Value),
}

/// A gateway's admin listener.
#[derive(Debug)]
pub(super) struct Admin {
    address: String,
    runtime: tokio::runtime::Runtime,
}

impl Admin {
    /// Does not connect yet.
    pub(super) fn new(address: &str) -> Result<Self, AskError> {
        let is_address =
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !is_address || address.parse::<http::uri::Authority>().is_err() {
            return Err(AskError::Address(address.to_owned()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AskError::Runtime)?;
        Ok(Self { address: address.to_owned(), runtime })
    }

    /// What it answers at `path`.
    pub(super) fn get(&self, path: &str) -> Result<Value, AskError> {
        self.ask(Method::GET, path, "")
    }

    /// What it answers to `body` at `path`.
    pub(super) fn post(&self, path: &str, body: &str) -> Result<Value, AskError> {
        self.ask(Method::POST, path, body)
    }

    fn ask(&self, method: Method, path: &str, body: &str) -> Result<Value, AskError> {
        let exchange = async {
            let asked = tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await;
            asked.unwrap_or_else(|_| Err(AskError::TimedOut { address: self.address.clone() }))
        };
        let (status, text) = self.runtime.block_on(exchange)?;
        let answer = serde_json::from_str::<Value>(&text);
        match (status, answer) {
            (StatusCode::OK, Ok(answer)) => Ok(answer),
            (StatusCode::NOT_FOUND, Ok(answer)) => Err(AskError::NotFound(answer)),
            (StatusCode::OK, Err(error)) => Err(AskError::NoGateway(error.to_string())),
            (status, _) => Err(AskError::Refused { status, message: text.trim_end().to_owned() }),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: &str) -> Result<(StatusCode, String), AskError> {
        let no_gateway = |error: &dyn std::error::Error| AskError::NoGateway(xds::causes(error));
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(|source| AskError::Unreachable { address: self.address.clone(), source })?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| no_gateway(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, &self.address)
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|error| no_gateway(&error))?;
        let response = sender.send_request(request).await.map_err(|error| no_gateway(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| AskError::NoGateway(error.to_string()))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
