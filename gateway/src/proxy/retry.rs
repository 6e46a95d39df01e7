//! The rule by which a request is sent once more after its connection failed.

use http::Method;

use crate::exchange::EndpointError;

/// The most times that a request is sent again; each time a pooled connection may turn out to be dead.
const MOST_REPEATS: u32 = 5;

/// The most times that a request that changes nothing is sent again after a fresh connection broke under it: more containers
/// can hardly crash one after the other under one request, and one that makes containers crash is kept from the others.
const MOST_BREAKS: u32 = 3;

/// The facts of a failed exchange.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states")]
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Whether the method asks for nothing to be changed (RFC 9110 §9.2.1).
    pub is_safe: bool,
    /// Whether the method may be executed twice (RFC 9110 §9.2.2).
    pub is_idempotent: bool,
    /// Whether the connection had served a request before: then the endpoint may just have closed it.
    pub is_reused: bool,
    /// Whether a final response has begun.
    pub has_response: bool,
    /// Whether the request's body can be sent again.
    pub can_replay: bool,
    /// Times that the request was sent again already.
    pub repeats: u32,
    /// Times that a fresh connection broke under it already.
    pub breaks: u32,
}

/// Returns `true` if the endpoint says that it did not process the request; if executing it twice does no harm and the
/// connection was stale; if it changes nothing and the connection broke, as it does when a container crashes.
///
/// A request that may have been executed is never repeated otherwise (RFC 9110 §9.2.2, RFC 9113 §8.7).
pub fn may_repeat(error: EndpointError, exchange: Exchange) -> bool {
    if exchange.has_response || !exchange.can_replay || exchange.repeats >= MOST_REPEATS {
        return false;
    }
    match error {
        EndpointError::NotProcessed => true,
        EndpointError::Broken if exchange.is_reused => exchange.is_idempotent,
        EndpointError::Broken => exchange.is_safe && exchange.breaks < MOST_BREAKS,
        EndpointError::TimedOut | EndpointError::Malformed => false,
    }
}

/// Returns `true` for a safe method of the IANA registry.
pub fn is_safe(method: &Method) -> bool {
    method.is_safe() || matches!(method.as_str(), "PROPFIND" | "QUERY" | "REPORT" | "SEARCH")
}

/// Returns `true` for an idempotent method of the IANA registry. Of those of `WebDAV` (RFC 4918, RFC 3253, RFC 5842) those that
/// write are left out where a retry would answer with another status than the first attempt.
pub fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent() || is_safe(method) || matches!(method.as_str(), "ACL" | "PROPPATCH" | "VERSION-CONTROL")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Exchange = Exchange {
        is_safe: true,
        is_idempotent: true,
        is_reused: true,
        has_response: false,
        can_replay: true,
        repeats: 0,
        breaks: 0,
    };

    const DELETE: Exchange = Exchange { is_safe: false, ..GET };

    const POST: Exchange = Exchange { is_idempotent: false, ..DELETE };

    #[test]
    fn a_request_that_was_not_processed_is_repeated_for_any_method() {
        assert!(may_repeat(EndpointError::NotProcessed, Exchange { is_reused: false, ..POST }));
    }

    #[test]
    fn a_stale_connection_is_replaced_for_methods_that_may_run_twice() {
        assert!(may_repeat(EndpointError::Broken, GET) && may_repeat(EndpointError::Broken, DELETE));
        assert!(!may_repeat(EndpointError::Broken, POST), "a POST may have been executed");
    }

    #[test]
    fn a_fresh_connection_that_breaks_is_replaced_a_few_times_for_methods_that_change_nothing() {
        let fresh = |exchange| Exchange { is_reused: false, ..exchange };
        assert!(may_repeat(EndpointError::Broken, fresh(GET)));
        assert!(!may_repeat(EndpointError::Broken, fresh(DELETE)) && !may_repeat(EndpointError::Broken, fresh(POST)));
        assert!(!may_repeat(EndpointError::Broken, Exchange { breaks: MOST_BREAKS, ..fresh(GET) }));
    }

    #[test]
    fn nothing_is_repeated_once_a_response_began_or_the_body_is_gone() {
        for exchange in [
            Exchange { has_response: true, ..GET },
            Exchange { can_replay: false, ..GET },
            Exchange { repeats: MOST_REPEATS, ..GET },
        ] {
            assert!(!may_repeat(EndpointError::NotProcessed, exchange));
        }
    }

    #[test]
    fn a_timeout_is_not_repeated() {
        assert!(!may_repeat(EndpointError::TimedOut, GET));
    }

    #[test]
    fn webdav_methods_that_read_are_safe_and_unknown_ones_are_nothing() {
        for (method, safe, idempotent) in [
            ("PROPFIND", true, true),
            ("REPORT", true, true),
            ("PUT", false, true),
            ("MOVE", false, false),
            ("X", false, false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).expect("a token");
            assert_eq!((is_safe(&method), is_idempotent(&method)), (safe, idempotent), "{method}");
        }
    }
}
