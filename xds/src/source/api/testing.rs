//! A scripted API server: what it answers is said beforehand, request by request.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{future, io};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use kube::Client;
use kube::client::Body;
use tokio::time::{Instant, Sleep, sleep};

/// One answer.
#[derive(Debug, Default)]
pub(super) struct Reply {
    status: u16,
    retry_after: Option<u64>,
    frames: VecDeque<Bytes>,
    end: End,
    never: bool,
}

/// How a body ends.
#[derive(Debug, Default)]
enum End {
    #[default]
    Closed,
    /// Nothing more comes, and the connection stays.
    Open,
    Broken,
    /// It ends when the request says.
    Agreed(Option<Pin<Box<Sleep>>>),
    /// Whoever reads on panics.
    Panic,
}

impl Reply {
    /// A whole answer.
    pub(super) fn whole(body: impl Into<String>) -> Self {
        Self { status: 200, frames: [Bytes::from(body.into())].into(), ..Self::default() }
    }

    /// A watch that says these lines and then stays open.
    pub(super) fn watch(lines: &[String]) -> Self {
        let frames = lines.iter().map(|line| Bytes::from(format!("{line}\n"))).collect();
        Self { status: 200, frames, end: End::Open, ..Self::default() }
    }

    /// An answer that says no.
    pub(super) fn refuse(status: u16) -> Self {
        Self { status, ..Self::whole(r#"{"kind":"Status","message":"as scripted"}"#) }
    }

    /// A server that has not reached a version.
    pub(super) fn too_large_version() -> Self {
        let status = r#"{"kind":"Status","message":"Timeout: Too large resource version: 901, current: 3"}"#;
        Self { status: 504, ..Self::whole(status) }
    }

    /// No answer.
    pub(super) fn hang() -> Self {
        Self { never: true, ..Self::default() }
    }

    /// It ends after its lines.
    pub(super) fn closed(self) -> Self {
        Self { end: End::Closed, ..self }
    }

    /// It ends when the request says.
    pub(super) fn closed_in_time(self) -> Self {
        Self { end: End::Agreed(None), ..self }
    }

    /// It breaks after its lines.
    pub(super) fn broken(self) -> Self {
        Self { end: End::Broken, ..self }
    }

    /// Whoever reads beyond its lines panics.
    pub(super) fn panicking(self) -> Self {
        Self { end: End::Panic, ..self }
    }

    /// Asks to be asked later.
    pub(super) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match (self.frames.pop_front(), &mut self.end) {
            (Some(bytes), _) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            (None, End::Closed) => Poll::Ready(None),
            (None, End::Agreed(Some(sleep))) => sleep.as_mut().poll(context).map(|()| None),
            (None, End::Open | End::Agreed(None)) => Poll::Pending,
            (None, End::Panic) => panic!("as scripted"),
            (None, End::Broken) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) uri: String,
    pub(super) accept: String,
    pub(super) at: Instant,
}

impl Seen {
    /// Returns `true` if it asks whether a version was reached.
    pub(super) fn is_check(&self) -> bool {
        !self.uri.contains("watch=true") && self.uri.contains("resourceVersionMatch=NotOlderThan")
    }
}

/// Says what is scripted; lists that are not are empty, watches that are not say nothing, and every version is reached.
#[derive(Clone, Debug, Default)]
pub(super) struct ScriptedApi(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    replies: HashMap<String, VecDeque<Reply>>,
    seen: Vec<Seen>,
}

impl ScriptedApi {
    /// What a resource (the last part of the path, as `services`) answers to `list`, `watch` or `get`, in turn; to `check`
    /// when it is asked whether it has reached a version.
    pub(super) fn script(&self, verb: &str, resource: &str, replies: impl IntoIterator<Item = Reply>) -> &Self {
        self.state().replies.entry(format!("{verb} {resource}")).or_default().extend(replies);
        self
    }

    /// Nothing of this is scripted any more.
    pub(super) fn clear(&self, verb: &str, resource: &str) {
        self.state().replies.remove(&format!("{verb} {resource}"));
    }

    /// The lists and watches of a resource, and the fetches.
    pub(super) fn followed(&self, resource: &str) -> Vec<Seen> {
        let mut seen = self.seen(resource);
        seen.retain(|seen| !seen.is_check());
        seen
    }

    /// The requests for a resource.
    pub(super) fn seen(&self, resource: &str) -> Vec<Seen> {
        let of = |seen: &&Seen| seen.uri.split('?').next().unwrap_or_default().contains(resource);
        self.state().seen.iter().filter(of).cloned().collect()
    }

    pub(super) fn client(&self) -> Client {
        let api = self.clone();
        Client::new(tower::service_fn(move |request| api.clone().answer(request)), "default")
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Reply>, Infallible> {
        let mut reply = self.take(&request);
        if let End::Agreed(end) = &mut reply.end {
            let query = request.uri().query().unwrap_or_default();
            let seconds = query.split('&').find_map(|pair| pair.strip_prefix("timeoutSeconds="));
            *end = Some(Box::pin(sleep(Duration::from_secs(seconds.unwrap().parse().unwrap()))));
        }
        if reply.never {
            future::pending::<()>().await;
        }
        let mut response = Response::builder().status(StatusCode::from_u16(reply.status).unwrap());
        if let Some(seconds) = reply.retry_after {
            response = response.header("retry-after", seconds);
        }
        Ok(response.body(reply).unwrap())
    }

    fn take(&self, request: &Request<Body>) -> Reply {
        let mut state = self.state();
        let accept = request.headers().get("accept").map_or("", |accept| accept.to_str().unwrap()).to_owned();
        state.seen.push(Seen { uri: request.uri().to_string(), accept, at: Instant::now() });
        let parts: Vec<_> = request.uri().path().split('/').collect();
        let asks = |text| request.uri().query().is_some_and(|query| query.contains(text));
        let many = match (asks("watch=true"), asks("resourceVersionMatch")) {
            (true, _) => "watch",
            (false, true) => "check",
            (false, false) => "list",
        };
        let (verb, resource) = match parts[..] {
            [.., "secrets", _] => ("get", "secrets"),
            [.., "version"] => ("get", "version"),
            [.., "networking.internal.knative.dev", _, _] => (many, "kingresses"),
            [.., resource] => (many, resource),
            [] => unreachable!("a path has parts"),
        };
        let scripted = state.replies.get_mut(&format!("{verb} {resource}")).and_then(VecDeque::pop_front);
        scripted.unwrap_or_else(|| match verb {
            "watch" => Reply::watch(&[]),
            "get" => Reply::refuse(404),
            _ => Reply::whole(list(&[], "1", None)),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// One page of a list.
pub(super) fn list(items: &[String], version: &str, token: Option<&str>) -> String {
    let token = token.map(|token| format!(r#","continue":"{token}""#)).unwrap_or_default();
    format!(r#"{{"metadata":{{"resourceVersion":"{version}"{token}}},"items":[{}]}}"#, items.join(","))
}

/// A Service.
pub(super) fn service(name: &str, version: u32) -> String {
    let metadata = format!(r#"{{"namespace":"shop","name":"{name}","resourceVersion":"{version}"}}"#);
    format!(r#"{{"metadata":{metadata},"spec":{{"externalName":"v{version}"}}}}"#)
}

/// A line of a watch.
pub(super) fn line(kind: &str, object: &str) -> String {
    format!(r#"{{"type":"{kind}","object":{object}}}"#)
}

/// A bookmark; with `end`, the one that ends a streamed list.
pub(super) fn bookmark(version: &str, end: bool) -> String {
    let annotations = if end { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
    line("BOOKMARK", &format!(r#"{{"kind":"Service","metadata":{{"resourceVersion":"{version}"{annotations}}}}}"#))
}
