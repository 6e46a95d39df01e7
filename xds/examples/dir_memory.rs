//! Prints what the directory source keeps of each service, and what reading it costs.
//!
//! `cargo run --release -p xds --example dir_memory -- 100000`
//!
//! A service is what Knative makes of one: a file with a `KIngress`, a Service and an `EndpointSlice`, and a file with
//! its TLS Secret.

use std::alloc::System;
use std::fs;
use std::time::Instant;

use cap::Cap;
use xds::source::dir::{DirSource, Options};
use xds::{Faults, ObjectEvent};

#[path = "../tests/knative/mod.rs"]
#[allow(dead_code, reason = "the translator's part is measured elsewhere")]
mod knative;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(10_000), |count| count.parse())?;
    let dir = tempfile::tempdir()?;
    knative::write(dir.path(), 0..count)?;
    let allocated = MEMORY.allocated();
    let (before, cpu_before, start) = (resident_bytes()?, cpu_seconds()?, Instant::now());

    let mut source = DirSource::open(dir.path(), Options::default(), Faults::default())?;
    let mut events = 0;
    let mut most = 0;
    loop {
        let batch = source.next().await;
        events += batch.len();
        most = most.max(resident_bytes()?);
        if batch.contains(&ObjectEvent::Synced) {
            break;
        }
    }
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu_before);
    let per_service = |bytes: usize| bytes.saturating_sub(before) / count;
    println!("services {count}, events {events}, read in {wall:.1} s, CPU {cpu:.1} s");
    println!("allocated bytes a service: {}", MEMORY.allocated().saturating_sub(allocated) / count);
    println!("resident bytes a service: {} now, {} at most", per_service(resident_bytes()?), per_service(most));

    let reads = 200;
    let cpu_before = cpu_seconds()?;
    let start = Instant::now();
    for n in (0..reads).map(|n| n * 7919 % count) {
        source.secrets().read(&knative::secret(n))?;
    }
    println!("reading a Secret: {:.0} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(reads)?));

    for (n, value) in (0..50).map(|n| (n * 7919 % count, n)) {
        knative::write_secret(dir.path(), n, value + 2)?;
        source.next().await;
    }
    println!("seeing a rotation: {:.0} µs CPU", (cpu_seconds()? - cpu_before) * 1e6 / 50.0);
    Ok(())
}

fn resident_bytes() -> Result<usize, Box<dyn std::error::Error>> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    Ok(pages.split_whitespace().nth(1).ok_or("no resident size")?.parse::<usize>()? * 4096)
}

fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().ok_or("no process name")?.split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
