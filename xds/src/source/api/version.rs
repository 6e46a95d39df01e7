//! Versions: of the server, and of what it holds.
//!
//! Resource versions are opaque before Kubernetes 1.35. Since then they are decimal integers of any length, which can be
//! compared within one resource (KEP-5504, `CompareResourceVersion` in apimachinery).

use std::cmp::Ordering;
use std::time::Duration;

use kube::Client;
use serde::Deserialize;

use super::metrics::Verb;
use super::request::{self, Failure};

/// The first version that promises comparable resource versions.
const COMPARABLE: ServerVersion = ServerVersion { major: 1, minor: 35 };

/// The answer is smaller.
const MAX_BYTES: usize = 64 << 10;

/// Version of an API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerVersion {
    major: u32,
    minor: u32,
}

#[derive(Deserialize)]
struct Wire {
    major: String,
    minor: String,
}

impl ServerVersion {
    /// Asks the server for its version.
    pub(super) async fn read(client: &Client, deadline: Duration) -> Result<Self, Failure> {
        let unreadable = |reason: String| Failure::Unreadable { reason };
        let request = http::Request::get("/version").body(Vec::new()).map_err(|error| unreadable(error.to_string()))?;
        let body = request::send(client, Verb::Get, request, deadline).await?;
        let read = tokio::time::timeout(deadline, request::collect(body, MAX_BYTES)).await;
        let bytes = read.unwrap_or(Err(Failure::Stalled { after: deadline }))?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| Failure::unreadable(&error))?;
        Self::parse(&wire).ok_or_else(|| unreadable("its version is not two numbers".to_owned()))
    }

    /// Returns `true` if its resource versions can be compared.
    pub(super) fn compares(self) -> bool {
        self >= COMPARABLE
    }

    /// Some distributions write a suffix: `34+`.
    fn parse(wire: &Wire) -> Option<Self> {
        let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok();
        Some(Self { major: number(&wire.major)?, minor: number(&wire.minor)? })
    }
}

/// Compares two resource versions; `None` if one of them is none that can be compared.
pub(super) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let is_one = |text: &str| !text.starts_with('0') && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_one(a) && is_one(b)).then(|| a.len().cmp(&b.len()).then_with(|| a.cmp(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_versions_are_compared_as_integers_of_any_length() {
        let cases = [
            ("7", "7", Some(Ordering::Equal)),
            ("9", "10", Some(Ordering::Less)),
            ("36893488147419103233", "36893488147419103232", Some(Ordering::Greater)),
            ("0", "1", None),
            ("", "1", None),
            ("01", "1", None),
            ("1a", "1", None),
            ("-1", "1", None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(compare(a, b), expected, "{a} and {b}");
        }
    }

    #[test]
    fn resource_versions_compare_from_1_35_on() {
        let compares = |minor: &str| {
            let wire = Wire { major: "1".to_owned(), minor: minor.to_owned() };
            ServerVersion::parse(&wire).map(ServerVersion::compares)
        };
        assert_eq!(
            ["33", "34+", "35", "36+", "x"].map(compares),
            [Some(false), Some(false), Some(true), Some(true), None]
        );
    }
}
