//! Whether a request may be sent once more after its connection failed.

use pingora_error::{Error, ErrorSource, ErrorType, RetryType};

/// How often a request is sent again at most; each time a pooled connection may turn out to be dead.
const MOST_REPEATS: u32 = 5;

/// How often a request that may be asked twice is asked again after a fresh connection broke under it: more containers can
/// hardly crash one after the other under one request, and one that makes containers crash is kept from the others.
const MOST_BREAKS: u32 = 3;

/// What is known of a failed exchange.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states")]
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Whether the method asks for nothing to be changed (RFC 9110 §9.2.1).
    pub is_safe: bool,
    /// Whether the method may be executed twice (RFC 9110 §9.2.2).
    pub is_idempotent: bool,
    /// Whether the connection had served a request before: then the upstream may just have closed it.
    pub is_reused: bool,
    /// Whether anything of a response has come.
    pub has_response: bool,
    /// Whether the request's body can be said again.
    pub can_replay: bool,
    /// How often the request was sent again already.
    pub repeats: u32,
    /// How often a fresh connection broke under it already.
    pub breaks: u32,
}

/// True when the upstream says that it did not process the request; when executing it twice does no harm and the
/// connection was stale; when it changes nothing and the connection broke, as it does when a container crashes.
///
/// A request that may have been executed is never repeated otherwise (RFC 9110 §9.2.2, RFC 9113 §8.7).
pub fn may_repeat(error: &Error, exchange: Exchange) -> bool {
    if exchange.has_response || !exchange.can_replay || exchange.repeats >= MOST_REPEATS {
        return false;
    }
    let is_harmless =
        if exchange.is_reused { exchange.is_idempotent } else { exchange.is_safe && exchange.breaks < MOST_BREAKS };
    match error.retry {
        RetryType::Decided(true) => true,
        RetryType::ReusedOnly => is_harmless,
        RetryType::Decided(false) => is_harmless && error.esource == ErrorSource::Upstream && is_broken(&error.etype),
    }
}

fn is_broken(etype: &ErrorType) -> bool {
    matches!(etype, ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed)
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

    fn failed(etype: ErrorType, retry: RetryType) -> Error {
        let mut error = Error::new_up(etype);
        error.retry = retry;
        *error
    }

    #[test]
    fn a_stream_that_was_refused_unprocessed_is_repeated_for_any_method() {
        let refused = failed(ErrorType::H2Error, RetryType::Decided(true));
        assert!(may_repeat(&refused, Exchange { is_reused: false, ..POST }));
    }

    #[test]
    fn a_stale_connection_is_replaced_for_methods_that_may_run_twice() {
        for (etype, retry) in
            [(ErrorType::ConnectionClosed, RetryType::ReusedOnly), (ErrorType::WriteError, RetryType::Decided(false))]
        {
            let stale = failed(etype, retry);
            assert!(may_repeat(&stale, GET) && may_repeat(&stale, DELETE));
            assert!(!may_repeat(&stale, POST), "a POST may have been executed");
        }
    }

    #[test]
    fn a_fresh_connection_that_breaks_is_replaced_a_few_times_for_methods_that_change_nothing() {
        let broken = failed(ErrorType::ConnectionClosed, RetryType::Decided(false));
        let fresh = |exchange| Exchange { is_reused: false, ..exchange };
        assert!(may_repeat(&broken, fresh(GET)));
        assert!(!may_repeat(&broken, fresh(DELETE)) && !may_repeat(&broken, fresh(POST)));
        assert!(!may_repeat(&broken, Exchange { breaks: MOST_BREAKS, ..fresh(GET) }));
    }

    #[test]
    fn nothing_is_repeated_once_an_answer_began_or_the_body_is_gone() {
        let refused = failed(ErrorType::H2Error, RetryType::Decided(true));
        assert!(!may_repeat(&refused, Exchange { has_response: true, ..GET }));
        assert!(!may_repeat(&refused, Exchange { can_replay: false, ..GET }));
        assert!(!may_repeat(&refused, Exchange { repeats: MOST_REPEATS, ..GET }));
    }

    #[test]
    fn a_timeout_is_not_repeated() {
        assert!(!may_repeat(&failed(ErrorType::ReadTimedout, RetryType::Decided(false)), GET));
    }
}
