//! Request metrics: handles registered once, so that a request formats no label.

use std::time::Duration;

use metrics::{Counter, Histogram};

use crate::listener::ListenerName;

/// Classes of status codes; requests without a response are `none`.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// The maker of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Responder {
    Gateway,
    Upstream,
}

/// All request metrics.
pub(super) struct Metrics {
    by_listener: [OfListener; ListenerName::ALL.len()],
    by_gateway: [Counter; CLASSES.len()],
    by_upstream: [Counter; CLASSES.len()],
    connect_failures: Counter,
    retries: Counter,
}

struct OfListener {
    requests: [Counter; CLASSES.len()],
    seconds: Histogram,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let responses = |origin: &'static str| {
            CLASSES.map(|class| metrics::counter!("postern_responses_total", "origin" => origin, "class" => class))
        };
        Self {
            by_listener: ListenerName::ALL.map(OfListener::new),
            by_gateway: responses("gateway"),
            by_upstream: responses("upstream"),
            connect_failures: metrics::counter!("postern_upstream_connect_failures_total"),
            retries: metrics::counter!("postern_upstream_retries_total"),
        }
    }

    pub(super) fn responded(&self, listener: ListenerName, status: Option<u16>, by: Responder, took: Duration) {
        let class = class_of(status);
        let of_listener = &self.by_listener[listener as usize];
        of_listener.requests[class].increment(1);
        of_listener.seconds.record(took);
        match by {
            Responder::Gateway => self.by_gateway[class].increment(1),
            Responder::Upstream => self.by_upstream[class].increment(1),
        }
    }

    pub(super) fn connect_failed(&self) {
        self.connect_failures.increment(1);
    }

    pub(super) fn retried(&self) {
        self.retries.increment(1);
    }
}

impl OfListener {
    fn new(listener: ListenerName) -> Self {
        let listener = listener.as_str();
        Self {
            requests: CLASSES.map(
                |class| metrics::counter!("postern_requests_total", "listener" => listener, "code_class" => class),
            ),
            seconds: metrics::histogram!("postern_request_seconds", "listener" => listener),
        }
    }
}

fn class_of(status: Option<u16>) -> usize {
    let hundreds = status.map_or(0, |status| usize::from(status / 100));
    if (1..CLASSES.len()).contains(&hundreds) { hundreds - 1 } else { CLASSES.len() - 1 }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Describes the metrics of proxying.
pub fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("postern_requests_total", "Requests, by listener and class of the status code");
    describe_histogram!(
        "postern_request_seconds",
        Unit::Seconds,
        "Time from a request's head to the end of its answer"
    );
    describe_counter!("postern_responses_total", "Answers, by who gave them and class of the status code");
    describe_counter!("postern_request_failures_total", "Requests that failed in the gateway, by reason");
    describe_counter!("postern_upstream_connect_failures_total", "Connections to endpoints that did not come about");
    describe_counter!("postern_upstream_retries_total", "Requests that were sent again on another connection");
    describe_counter!("postern_upstream_dns_failures_total", "Names of clusters that could not be resolved");
    describe_counter!(
        "postern_upstream_refused_addresses_total",
        "Addresses of endpoints that were left out, as they are this host's own or of its link"
    );
    // From the beginning: a rate has to see the first one, too.
    metrics::counter!("postern_upstream_refused_addresses_total").absolute(0);
    describe_gauge!("postern_upstream_waiting_requests", "Requests that wait for an endpoint");
    describe_gauge!("postern_routes_unpacked", "Route sets that requests came for in the last minute or two");
    describe_gauge!("postern_upstream_clusters_in_use", "Clusters that were used in the last minute or two");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_class() {
        for (status, class) in
            [(Some(101), "1xx"), (Some(200), "2xx"), (Some(599), "5xx"), (None, "none"), (Some(999), "none")]
        {
            assert_eq!(CLASSES[class_of(status)], class);
        }
    }
}
