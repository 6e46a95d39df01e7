//! Measures the translator: bytes that it keeps per Knative service, and time per change.
//!
//! Each service has the shape that Knative makes: a KIngress with three cluster-local hosts and an external one with
//! its own certificate, a Service, an EndpointSlice with one pod, a Secret. What the translator tells is kept by
//! nobody here; of the texts that a gateway would share with it, it holds routes and the names of clusters and Secrets
//! itself.
//!
//! ```text
//! cargo run --release -p xds --example translate_memory -- 100000
//! ```

use std::alloc::System;
use std::time::Instant;

use cap::Cap;
use xds::object::Object;
use xds::translate::{Options, Translator};
use xds::{Faults, ObjectEvent};

#[path = "../tests/knative/mod.rs"]
#[allow(dead_code, reason = "the directory's part is measured elsewhere")]
mod knative;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Services between two flushes while they are read.
const BATCH: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = std::env::args().nth(1).map_or(Ok(20_000), |count| count.parse())?;
    let mut translator = Translator::new(Options::default(), Faults::default());
    // What building objects costs is paid before counting.
    translator.accept(ObjectEvent::Synced);
    feed(&mut translator, count..count + BATCH);
    let before = (MEMORY.allocated(), resident_bytes()?);
    let started = Instant::now();
    feed(&mut translator, 0..count);
    let (elapsed, after) = (started.elapsed(), (MEMORY.allocated(), resident_bytes()?));
    let per_service = |bytes: usize| bytes as f64 / count as f64;
    println!("services                      {count:>8}");
    println!("bytes allocated per service   {:>8.0}", per_service(after.0.saturating_sub(before.0)));
    println!("bytes resident per service    {:>8.0}", per_service(after.1.saturating_sub(before.1)));
    println!("us per service, objects made  {:>8.1}", elapsed.as_secs_f64() * 1e6 / count as f64);
    for (what, event) in [("KIngress", 0), ("Service", 1), ("EndpointSlice", 2), ("Secret", 3)] {
        let edits: Vec<_> = (0..1_000).map(|n| knative::objects(n * count / 1_000, 2).swap_remove(event)).collect();
        let started = Instant::now();
        let changed: usize = edits.into_iter().map(|object| change(&mut translator, object)).sum();
        let each = started.elapsed().as_secs_f64() * 1e6 / 1_000.0;
        println!("us per changed {what:<13}{each:>10.1}   ({changed} resources told)");
    }
    Ok(())
}

/// Takes services in.
fn feed(translator: &mut Translator, services: std::ops::Range<usize>) {
    for n in services {
        for object in knative::objects(n, 1) {
            translator.accept(ObjectEvent::Applied(object));
        }
        if n % BATCH == BATCH - 1 {
            translator.flush();
        }
    }
    translator.flush();
}

fn change(translator: &mut Translator, object: Object) -> usize {
    translator.accept(ObjectEvent::Applied(object));
    translator.flush().map_or(0, |update| update.len())
}

/// Memory that this process has in use, as Linux counts it.
fn resident_bytes() -> Result<usize, Box<dyn std::error::Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split(' ').nth(1).ok_or("statm has no second field")?.parse()?;
    Ok(pages * 4096)
}
