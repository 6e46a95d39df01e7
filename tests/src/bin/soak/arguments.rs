//! What is asked for on the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Parser, ValueEnum};
use jiff::SignedDuration;
use serde::Serialize;

/// Runs the gateway on a simulated cluster under a memory limit and all kinds of load, and says whether it held.
///
/// Exits with 0 if everything held, with 1 if not or if it could not be tried.
#[derive(Clone, Debug, Parser, Serialize)]
#[command(name = "soak")]
pub(crate) struct Arguments {
    /// Knative services, each with four hosts and a certificate of its own.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub(crate) services: u32,
    /// Memory limit of the gateway, such as 300MiB.
    #[arg(long, default_value = "300MiB", value_parser = size)]
    pub(crate) limit: u64,
    /// CPU quota of the gateway in percent of one processor; by default none.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpu: Option<u32>,
    /// How long the load goes on, such as 90s or 30m.
    #[arg(long, default_value = "30m", value_parser = time)]
    #[serde(serialize_with = "seconds")]
    pub(crate) duration: Duration,
    /// The gateway's budget for certificates; `auto` leaves it to the gateway.
    #[arg(long, default_value = "32MiB")]
    pub(crate) cert_cache: String,
    /// What the script and the load are made of: the same seed makes the same.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// New connections a second of the everyday load.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Certificates renewed a second; by default all services in an hour, at least one a second.
    #[arg(long)]
    pub(crate) renewals: Option<u32>,
    /// Certificates renewed in a burst; by default 10,000, or a tenth of the services if these are fewer.
    #[arg(long)]
    pub(crate) burst: Option<u32>,
    /// `WebSockets` held open.
    #[arg(long, default_value_t = 50)]
    pub(crate) websockets: u32,
    /// Idle connections held open.
    #[arg(long, default_value_t = 200)]
    pub(crate) idle: u32,
    /// Clients that download, one answer after the other; and as many that read slowly.
    #[arg(long, default_value_t = 4)]
    pub(crate) downloads: u32,
    /// How far a served certificate may be behind the newest, outside of outages.
    #[arg(long, default_value = "5s", value_parser = time)]
    #[serde(serialize_with = "seconds")]
    pub(crate) staleness: Duration,
    /// Only this part of the script.
    #[arg(long, value_enum)]
    pub(crate) only: Option<Part>,
    /// Where report.json and report.html are written.
    #[arg(long)]
    pub(crate) report: Option<PathBuf>,
    /// The verdict for people, or the whole report for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    pub(crate) output: Output,
    /// Runs this peer too, under the same limit and load.
    #[arg(long, value_enum)]
    pub(crate) peer: Option<Peer>,
    /// The executable of Envoy; `.ci/install-peers` gets one.
    #[arg(long, default_value = "envoy")]
    pub(crate) envoy: PathBuf,
    /// Another executable as the gateway, instead of the one built with the soak.
    #[arg(long)]
    pub(crate) gateway: Option<PathBuf>,
    /// More arguments for `postern gateway`.
    #[arg(last = true)]
    #[serde(skip)]
    pub(crate) more: Vec<OsString>,
}

/// A part of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Renewals in two bursts, of certificates that are not cached and of such that are, and nothing else.
    Burst,
    /// Everyday load, and nothing scheduled.
    Traffic,
}

/// Another gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Peer {
    /// Envoy, configured as Kourier does it.
    Envoy,
}

#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Output {
    Human,
    Json,
}

impl Arguments {
    /// Certificates renewed in a burst.
    pub(crate) fn burst(&self) -> u32 {
        self.burst.unwrap_or_else(|| (self.services / 10).min(10_000)).clamp(1, self.services)
    }

    /// Certificates renewed a second.
    pub(crate) fn renewals(&self) -> u32 {
        self.renewals.unwrap_or_else(|| (self.services / 3_600).max(1)).min(self.services)
    }
}

fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        _ => Err(format!("{text:?} is not a size; write it like 300MiB")),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| !time.is_zero()).ok_or_else(|| format!("{text:?} is not a time; write it like 90s or 30m"))
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_a_tenth_of_few_services_and_ten_thousand_of_many() {
        for (services, burst) in [("300", 30), ("100000", 10_000), ("200000", 10_000)] {
            let arguments = Arguments::parse_from(["soak", "--services", services]);
            assert_eq!(arguments.burst(), burst, "{services}");
        }
    }

    #[test]
    fn sizes_and_times_that_mean_nothing_are_refused() {
        for wrong in
            [["--limit", "0"], ["--limit", "much"], ["--duration", "0s"], ["--duration", "5"], ["--services", "3"]]
        {
            assert!(Arguments::try_parse_from(["soak", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
        }
    }
}
