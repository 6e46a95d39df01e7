//! Output of the clients.

use postern_tests::Result;

use super::Outcome;

/// Reads what this executable prints.
pub(super) fn own(text: &str) -> Result<Outcome> {
    Ok(serde_json::from_str(text)?)
}

/// Reads what wrk prints.
pub(super) fn wrk(text: &str) -> Result<Outcome> {
    let line = |begin: &str| text.lines().find_map(|line| line.trim().strip_prefix(begin));
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (requests, _) = requests.ok_or_else(|| format!("wrk prints no number of requests: {text}"))?;
    let refused = line("Non-2xx or 3xx responses: ").map_or(Ok(0), |count| count.trim().parse::<u64>())?;
    // "connect 0, read 3, write 0, timeout 2"
    let errors = line("Socket errors: ").unwrap_or_default();
    let errors: u64 = errors.split(", ").filter_map(|error| error.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    let failed = refused + errors;
    let failures = text.lines().filter(|line| line.contains("Socket errors:") || line.contains("Non-2xx"));
    let failures = (failed > 0).then(|| failures.map(str::trim).collect::<Vec<_>>().join("; "));
    let percentile = |share: &str| line(share).and_then(|time| millis(time.trim()));
    Ok(Outcome {
        succeeded: requests.parse::<u64>()?.saturating_sub(refused),
        failed,
        failures,
        p50: percentile("50%"),
        p99: percentile("99%"),
    })
}

/// A time such as `635.00us`, `1.39ms`, `2.00s` or `1.20m`.
fn millis(text: &str) -> Option<f64> {
    let number_at = text.find(|byte: char| byte.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(number_at);
    let unit = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * unit)
}

/// Reads what h2load prints. A response of another class than 2xx is a failure, whatever h2load says.
pub(super) fn h2load(text: &str) -> Result<Outcome> {
    let counts = |begin: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(begin));
        line.ok_or_else(|| format!("h2load prints no line {begin:?}: {text}"))
    };
    let count = |line: &str, word: &str| -> Result<u64> {
        let found = line.split(", ").find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok());
        Ok(found.ok_or_else(|| format!("h2load prints no number of {word}: {line}"))?)
    };
    let (requests, codes) = (counts("requests: ")?, counts("status codes: ")?);
    let mut failed = 0;
    for word in ["failed", "errored", "timeout"] {
        failed += count(requests, word)?;
    }
    // Those of 4xx and 5xx h2load calls failed too.
    failed += count(codes, "3xx")?;
    let failures = (failed > 0).then(|| format!("{requests}; {codes}"));
    Ok(Outcome { succeeded: count(codes, "2xx")?, failed, failures, p50: None, p99: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_read_with_its_failures() {
        let text = "Running 4s test @ https://localhost:1/\n  Latency Distribution\n     50%  635.00us\n     75%  1.00ms\n     \
                    90%  1.10ms\n     99%    1.39ms\n  22464 requests in 4.00s, 17.76MB read\n  Socket errors: connect 0, \
                    read 3, write 0, timeout 2\n  Non-2xx or 3xx responses: 64\nRequests/sec:    748.06\n";
        let outcome = wrk(text).unwrap();
        assert_eq!((outcome.succeeded, outcome.failed), (22_400, 69));
        assert_eq!((outcome.p50, outcome.p99), (Some(0.635), Some(1.39)));
        assert!(wrk("nothing").is_err());
    }

    #[test]
    fn h2load_is_read_with_its_failures() {
        let text = "finished in 4.00s, 22000 req/s, 25MB/s\nrequests: 88000 total, 88040 started, 88000 done, 87900 \
                    succeeded, 100 failed, 7 errored, 2 timeout\nstatus codes: 87890 2xx, 10 3xx, 60 4xx, 40 5xx\n";
        let outcome = h2load(text).unwrap();
        assert_eq!((outcome.succeeded, outcome.failed), (87_890, 119));
        assert!(outcome.failures.unwrap().contains("40 5xx"));
        assert!(h2load("requests: none").is_err());
    }
}
