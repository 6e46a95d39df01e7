//! `postern demo`: the whole idea on loopback, with nothing prepared. Writes manifests for many services with a CA of
//! its own, starts backends and the real gateway as a process, sends traffic, and renews a certificate every second.

mod backends;
mod ca;
mod folder;
mod gateway;
mod live;
mod manifests;
mod traffic;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Arg, ArgMatches, Command, value_parser};

use crate::cli::output::say;
use crate::cli::{EXIT_FAILED, EXIT_USAGE};
use crate::demo::ca::DemoCa;
use crate::demo::gateway::{GatewayProcess, StartError};
use crate::demo::manifests::Manifests;
use crate::demo::traffic::Tally;

/// More than this takes minutes to write and shows nothing new; the benchmarks go further.
const MAX_SERVICES: u32 = 20_000;

/// The subcommand and its flags.
pub(crate) fn command() -> Command {
    Command::new("demo")
        .about("A self-contained demonstration on loopback: services, certificates, backends, traffic")
        .arg(
            Arg::new("services")
                .long("services")
                .value_name("COUNT")
                .value_parser(value_parser!(u32).range(1..=i64::from(MAX_SERVICES)))
                .default_value("200")
                .help("How many services, each with a host and a certificate of its own"),
        )
        .arg(
            Arg::new("cert-cache")
                .long("cert-cache")
                .value_name("SIZE")
                .default_value("128KiB")
                .help("Memory that the gateway may hold certificates in"),
        )
        .arg(
            Arg::new("duration")
                .long("duration")
                .value_name("TIME")
                .help("Stop after this time, for example 30s; without it, on Ctrl-C"),
        )
}

/// Why the demonstration could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum DemoError {
    /// A file or directory could not be written, or a socket not be had.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The gateway did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The clients ended, which they never should.
    #[error("the demonstration's own clients ended")]
    TrafficEnded,
    /// The gateway ended before it was told to.
    #[error("the gateway ended by itself with {0}")]
    GatewayEnded(std::process::ExitStatus),
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> DemoError {
    move |source| DemoError::Io { what, source }
}

/// What the user asked for.
struct Options {
    services: u32,
    cert_cache: ByteSize,
    duration: Option<Duration>,
}

impl Options {
    fn parse(matches: &ArgMatches) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name);
        let cert_cache = text("cert-cache").expect("it has a default");
        Ok(Self {
            services: *matches.get_one("services").expect("it has a default"),
            cert_cache: crate::config::parse_cache_size(cert_cache)
                .map_err(|fault| format!("--cert-cache: {fault}"))?,
            duration: text("duration")
                .map(|text| crate::config::parse_time(text))
                .transpose()
                .map_err(|fault| format!("--duration: {fault}"))?,
        })
    }
}

/// Runs the demonstration until Ctrl-C, or for the time asked for.
pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let options = match Options::parse(matches) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("error: {fault}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    match runtime.block_on(demonstrate(&options)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("error: {failed} requests failed");
            ExitCode::from(EXIT_FAILED)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Returns how many requests failed.
async fn demonstrate(options: &Options) -> Result<u64, DemoError> {
    // Dropped last, which removes it.
    let folder = folder::make().map_err(io("make a temporary directory"))?;
    let backends = backends::start().await.map_err(io("start the backends"))?;
    let ca = DemoCa::new()?;
    say(&format!("writing manifests and certificates for {} services ...", options.services));
    let manifests = Arc::new(Manifests::write(folder.path(), options.services, ca, &backends)?);
    let mut gateway = GatewayProcess::start(&manifests.root, options.cert_cache).await?;
    let over = over(options.duration);
    introduce(options, &manifests, &gateway);

    let tally = Arc::new(Tally::default());
    let https = gateway.address("external-https")?;
    let mut clients = tokio::spawn(traffic::send(Arc::clone(&manifests), https, Arc::clone(&tally)));
    let mut renewals = tokio::spawn(traffic::renew(Arc::clone(&manifests), https, Arc::clone(&tally)));
    let watched =
        live::Watched { pid: gateway.pid(), metrics: gateway.address("metrics")?, services: options.services };
    let outcome = tokio::select! {
        status = gateway.ended() => Err(DemoError::GatewayEnded(status)),
        () = live::show(&watched, &tally) => Ok(()),
        () = over => Ok(()),
        _ = &mut clients => Err(DemoError::TrafficEnded),
        _ = &mut renewals => Err(DemoError::TrafficEnded),
    };
    clients.abort();
    renewals.abort();
    say("\nstopping ...");
    gateway.stop().await;
    outcome?;
    say(&tally.summary());
    Ok(tally.failed())
}

/// Ends after the time asked for, or with Ctrl-C or SIGTERM, which are listened for from the call on.
fn over(duration: Option<Duration>) -> impl Future<Output = ()> {
    let termination = crate::app::termination();
    async move {
        let timer = async {
            match duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = termination => {}
            () = timer => {}
        }
    }
}

fn introduce(options: &Options, manifests: &Manifests, gateway: &GatewayProcess) {
    let port = |name: &str| gateway.address(name).as_ref().map_or(0, SocketAddr::port);
    let (https, http) = (port("external-https"), port("external-http"));
    let (metrics, admin) = (port("metrics"), port("admin"));
    let ca = manifests.ca_file.display();
    let host = manifests.host(0);
    say(&format!(
        "\nPostern serves {services} services, one certificate each, from {root}\n\
         in a certificate cache of {cache} (gateway: process {pid}).\n\nTry, in another terminal:\n\n  \
         curl --cacert {ca} --resolve {host}:{https}:127.0.0.1 https://{host}:{https}/hello\n  \
         curl --resolve {host}:{http}:127.0.0.1 http://{host}:{http}/hello\n  \
         curl -s http://127.0.0.1:{metrics}/metrics | grep postern_certstore\n  \
         curl -s http://127.0.0.1:{admin}/api/v1/certificates\n\nCtrl-C stops it and removes the directory.\n",
        services = options.services,
        root = manifests.root.display(),
        cache = options.cert_cache,
        pid = gateway.pid(),
    ));
}
