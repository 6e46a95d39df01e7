use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// A server with one Lease, whose answers to one client can be stopped.
#[derive(Clone, Debug, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    lease: Option<Value>,
    version: u64,
    /// Clients that get no answer.
    cut: Vec<&'static str>,
    /// Clients that are answered 500.
    broken: Vec<&'static str>,
    writes: usize,
}

impl Server {
    fn client(&self, name: &'static str) -> Client {
        let server = self.clone();
        Client::new(tower::service_fn(move |request| server.clone().answer(name, request)), "default")
    }

    async fn answer(self, name: &'static str, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let method = request.method().clone();
        let body = request.into_body().collect().await.expect("a body in memory").to_bytes();
        if self.state().cut.contains(&name) {
            std::future::pending::<()>().await;
        }
        let (status, value) = self.state().handle(name, &method, &body);
        let answer = Response::builder().status(status).body(Body::from(value.to_string().into_bytes()));
        Ok(answer.expect("a valid answer"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn holder(&self) -> Option<String> {
        self.state().lease.as_ref()?["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    /// Makes somebody else the holder, by a clock that is wrong.
    fn give_to(&self, holder: &str, seconds: u32) {
        let mut state = self.state();
        let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": "1999-01-01T00:00:00.000000Z"});
        state.put(json!({"metadata": {"name": "postern"}, "spec": spec}));
    }
}

impl State {
    fn handle(&mut self, name: &str, method: &Method, body: &[u8]) -> (u16, Value) {
        if self.broken.contains(&name) {
            return (500, json!({"code": 500}));
        }
        let sent = || serde_json::from_slice::<Value>(body).expect("JSON");
        match (method, &self.lease) {
            (&Method::GET, Some(lease)) => (200, lease.clone()),
            (&Method::GET, None) => (404, json!({"code": 404})),
            (&Method::POST, None) => (201, self.put(sent())),
            (&Method::PUT, Some(lease))
                if sent()["metadata"]["resourceVersion"] == lease["metadata"]["resourceVersion"] =>
            {
                (200, self.put(sent()))
            }
            _ => (409, json!({"code": 409})),
        }
    }

    fn put(&mut self, mut lease: Value) -> Value {
        self.version += 1;
        self.writes += 1;
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.lease = Some(lease.clone());
        lease
    }
}

/// A gateway that tries for the Lease.
struct Candidate {
    leadership: Leadership,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Candidate {
    fn start(server: &Server, name: &'static str) -> Self {
        let (elector, leadership) = Elector::new(server.client(name), "default", name.into(), LeaseOptions::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(elector.run(async {
            let _ = stopped.await;
        }));
        Self { leadership, stop, running }
    }

    async fn gains(&mut self) {
        tokio::time::timeout(Duration::from_secs(3600), self.leadership.gained())
            .await
            .expect("it leads within an hour");
    }

    async fn loses(&mut self) {
        tokio::time::timeout(Duration::from_secs(3600), self.leadership.lost()).await.expect("it stops within an hour");
    }

    async fn stop(self) {
        drop(self.stop);
        self.running.await.expect("it ends");
    }
}

async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_one_holds_it_and_the_second_waits() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "first");
    first.gains().await;
    let second = Candidate::start(&server, "second");
    for _ in 0..600 {
        pass(1).await;
        assert!(first.leadership.is_held() && !second.leadership.is_held());
    }
    assert_eq!(server.holder().as_deref(), Some("first"));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_gone_is_followed_when_its_lease_is_over() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "first");
    first.gains().await;
    let mut second = Candidate::start(&server, "second");
    pass(30).await;
    first.running.abort();
    let begun = Instant::now();
    second.gains().await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(11) && took <= Duration::from_secs(21), "{took:?}");
    assert_eq!(server.state().lease.as_ref().unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_hears_nothing_stops_before_another_begins() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "first");
    first.gains().await;
    let mut second = Candidate::start(&server, "second");
    pass(30).await;
    server.state().cut.push("first");
    let begun = Instant::now();
    first.loses().await;
    assert!(begun.elapsed() <= Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!second.leadership.is_held());
    second.gains().await;
    assert!(!first.leadership.is_held());
    server.state().cut.clear();
    pass(60).await;
    assert!(second.leadership.is_held() && !first.leadership.is_held(), "who comes back waits");
}

#[tokio::test(start_paused = true)]
async fn errors_shorter_than_the_deadline_change_nothing() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "first");
    first.gains().await;
    for _ in 0..5 {
        server.state().broken.push("first");
        pass(5).await;
        server.state().broken.clear();
        assert!(first.leadership.is_held());
        pass(10).await;
        assert!(first.leadership.is_held());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_taken_at_the_next_try() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "first");
    first.gains().await;
    let mut second = Candidate::start(&server, "second");
    pass(30).await;
    first.stop().await;
    assert_eq!(server.holder().as_deref(), Some(""));
    let begun = Instant::now();
    second.gains().await;
    assert!(begun.elapsed() <= Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_taken_away_ends_it_at_the_next_renewal() {
    let server = Server::default();
    let mut first = Candidate::start(&server, "first");
    first.gains().await;
    server.give_to("thief", 15);
    let begun = Instant::now();
    first.loses().await;
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_clocks_of_others_mean_nothing() {
    let server = Server::default();
    server.give_to("other", 15);
    let first = Candidate::start(&server, "first");
    for _ in 0..20 {
        pass(10).await;
        server.give_to("other", 15);
        assert!(!first.leadership.is_held(), "it is renewed, whatever time it says");
    }
    pass(30).await;
    assert!(first.leadership.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_starts_again_goes_on_with_its_own_lease() {
    let server = Server::default();
    server.give_to("first", 15);
    let mut first = Candidate::start(&server, "first");
    let begun = Instant::now();
    first.gains().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}
