//! File descriptors: as many as the connections need, or a clear word about it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Held by listeners, logs, watches, DNS, the runtime; with room to spare.
const RESERVED: u64 = 128;

/// A downstream connection and the upstream connection that serves it.
const PER_CONNECTION: u64 = 2;

/// Not even a few connections fit below this.
const MINIMUM: u64 = RESERVED + 32;

/// So many connections serve an ordinary cluster; fewer are worth a warning.
const AMPLE: usize = 2_000;

/// The process may not open enough files.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "only {limit} file descriptors are allowed, and at least {MINIMUM} are needed; raise the limit (ulimit -n, \
     LimitNOFILE= of systemd, or the container runtime's nofile)"
)]
pub(crate) struct TooFewDescriptors {
    limit: u64,
}

/// Raises the soft limit to the hard one and returns how many connections fit, at most `wanted`.
pub(super) fn fit(wanted: usize) -> Result<usize, TooFewDescriptors> {
    let limit = raise();
    let connections = connections_within(limit, wanted)?;
    if is_scarce(connections, wanted) {
        tracing::warn!(
            limit,
            connections,
            wanted,
            "too few file descriptors for max-connections: fewer connections will be accepted; raise the limit \
             (ulimit -Hn, LimitNOFILE= of systemd, or the container runtime's nofile) or lower max-connections"
        );
    } else if connections < wanted {
        tracing::info!(limit, connections, wanted, "accepting as many connections as there are file descriptors for");
    }
    Ok(connections)
}

/// As [`fit`], without a word about it.
pub(super) fn fit_silently(wanted: usize) -> Result<usize, TooFewDescriptors> {
    connections_within(raise(), wanted)
}

fn is_scarce(connections: usize, wanted: usize) -> bool {
    connections < wanted.min(AMPLE)
}

fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let soft = current.unwrap_or(u64::MAX);
    if current == maximum {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, soft, "cannot raise the limit of file descriptors");
            soft
        }
    }
}

fn connections_within(limit: u64, wanted: usize) -> Result<usize, TooFewDescriptors> {
    if limit < MINIMUM {
        return Err(TooFewDescriptors { limit });
    }
    let fitting = (limit - RESERVED) / PER_CONNECTION;
    Ok(usize::try_from(fitting).unwrap_or(usize::MAX).min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_connections_are_promised_than_descriptors_allow() {
        assert_eq!(connections_within(1_000_000, 20_000), Ok(20_000));
        assert_eq!(connections_within(1_024, 20_000), Ok(448));
    }

    #[test]
    fn only_few_connections_are_worth_a_warning() {
        for (connections, wanted, scarce) in
            [(448, 20_000, true), (9_936, 20_000, false), (448, 448, false), (448, 500, true)]
        {
            assert_eq!(is_scarce(connections, wanted), scarce, "{connections} of {wanted}");
        }
    }

    #[test]
    fn too_few_descriptors_are_an_error_that_says_what_to_raise() {
        let error = connections_within(64, 20_000).expect_err("64 are too few");
        assert!(error.to_string().contains("ulimit -n"), "{error}");
    }
}
