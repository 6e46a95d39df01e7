//! The load: clients of all kinds, and the backends behind the gateway, in a process of their own.

use std::time::Duration;

use postern_tests::Result;
use postern_tests::backend::Backend;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::order::{Order, Target};

mod attack;
mod book;
mod crawl;
mod download;
mod histogram;
mod idle;
mod names;
mod scan;
mod sign;
mod tally;
mod traffic;
mod visits;
mod websocket;
mod world;

use world::World;

/// Backends, among which endpoints change.
const BACKENDS: usize = 4;

/// Takes orders until the input ends.
pub(crate) fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(converse());
    // What clients are still doing is of no interest any more.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

/// Lets this process open as many files as it may; says so if that is less than the load takes.
fn open_many_files(target: &Target) {
    let limit = getrlimit(Resource::Nofile);
    // Without permission it stays as it was, and the clients say so when they run out.
    let _raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    // Each connection to the gateway and the one behind it, and whatever else is open.
    let held = target.websockets + target.idle + 2 * target.downloads + traffic::UNDER_WAY;
    let wanted = 2 * u64::from(held) + 256;
    if limit.maximum.is_some_and(|most| most < wanted) {
        let most = limit.maximum.unwrap_or_default();
        eprintln!(
            "the load may open {most} files and may want {wanted}; raise the limit (ulimit -n) or ask for less load"
        );
    }
}

async fn converse() -> Result<()> {
    let mut backends = Vec::new();
    for number in 0..BACKENDS {
        backends.push(Backend::http1(&format!("backend-{number}")).await?);
    }
    let addresses: Vec<_> = backends.iter().map(Backend::address).collect();
    println!("{}", json!({"ready": true, "backends": addresses}));
    let mut world = None;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = obey(&mut world, serde_json::from_str(&line)?)?;
        println!("{answer}");
    }
    Ok(())
}

fn obey(world: &mut Option<World>, order: Order) -> Result<Value> {
    if let Order::Start(target) = order {
        open_many_files(&target);
        let started = world.insert(World::new(target)?);
        traffic::start(started);
        websocket::start(started);
        download::start(started);
        idle::start(started);
        return Ok(json!({"ok": true}));
    }
    let world = world.as_ref().ok_or("the load has not been started")?;
    match order {
        Order::Renewed { first, serials } => world.book().renewed(first, &serials),
        Order::Outage { silent, recovery_millis } => {
            world.book().outage(silent, Duration::from_millis(recovery_millis));
        }
        Order::Begin { what, millis } => begin(world, what, Duration::from_millis(millis)),
        Order::Tick => return Ok(serde_json::to_value(world.tick())?),
        Order::Start(_) => {}
    }
    Ok(json!({"ok": true}))
}

fn begin(world: &World, what: crate::order::Spell, lasts: Duration) {
    use crate::order::Spell;
    match what {
        Spell::Scan => scan::start(world, lasts),
        Spell::Crawl { first, rate } => crawl::start(world, first, rate, lasts),
        _ => attack::start(world, what, lasts),
    }
}
