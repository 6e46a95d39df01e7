//! A real memory cgroup: clients push the gateway to its limit, and it is not killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postern_tests::client::Call;
use postern_tests::client::tls::connect;
use postern_tests::gateway::Options;
use postern_tests::patience::{eventually, eventually_within};
use postern_tests::{Result, ensure};
use serde_json::json;

use crate::world::{HOST, World};

/// Below this process's own memory cgroup; removed when dropped.
struct Cgroup {
    directory: PathBuf,
    limit: &'static str,
}

impl Cgroup {
    /// `None`, and a word about it, where this process may not make one.
    fn make(name: &str) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path_of = |controller: &str| {
            own.lines()
                .filter_map(|line| line.split_once(':')?.1.split_once(':'))
                .find(|(names, _)| *names == controller)
        };
        let (root, path, limit) = match (path_of("memory"), path_of("")) {
            (Some((_, path)), _) => ("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"),
            (None, Some((_, path))) => ("/sys/fs/cgroup", path, "memory.max"),
            (None, None) => return Self::skip("there is no memory cgroup"),
        };
        let parent = Path::new(root).join(path.trim_start_matches('/'));
        let parent = if parent.is_dir() { parent } else { PathBuf::from(root) };
        let directory = parent.join(format!("postern-{name}-{}", std::process::id()));
        if let Err(error) = fs::create_dir(&directory) {
            return Self::skip(&format!("{}: {error}", directory.display()));
        }
        let cgroup = Self { directory, limit };
        if !cgroup.directory.join(limit).exists() {
            return Self::skip("the memory controller is not given to cgroups below this one");
        }
        Some(cgroup)
    }

    fn skip(why: &str) -> Option<Self> {
        eprintln!("SKIPPED: no memory cgroup can be made here: {why}");
        None
    }

    fn set_limit(&self, bytes: u64) -> Result<()> {
        Ok(fs::write(self.directory.join(self.limit), bytes.to_string())?)
    }

    /// How often the kernel has killed a process here.
    fn kills(&self) -> u64 {
        let read = |file| fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        let text = read("memory.events") + &read("memory.oom_control");
        text.lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .filter_map(|count| count.parse::<u64>().ok())
            .sum()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A gateway of a case that fails may be in it for a moment longer; an empty directory that stays does no harm.
        let _left_behind = fs::remove_dir(&self.directory);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_in_a_cgroup_refuses_a_source_at_its_share_and_is_never_killed() -> Result<()> {
    const CLIENTS: usize = 4_000;
    let Some(cgroup) = Cgroup::make("sheds") else { return Ok(()) };
    cgroup.set_limit(1 << 30)?;
    let options = Options::default()
        .cgroup(&cgroup.directory)
        .argument(format!("--max-connections-per-client={CLIENTS}"))
        .argument("--max-connections=20000");
    let mut world = World::open(options, &json!({})).await?;
    world.serves_others().await?;
    let overload = world.overload().await?;
    assert_eq!(overload["limitBytes"], 1 << 30);
    let used = overload["workingSetBytes"].as_u64().ok_or("no working set")?;
    // Room for a part of the clients.
    let limit = used + (48 << 20);
    cgroup.set_limit(limit)?;
    eventually_within(Duration::from_secs(40), "the new limit is seen", async || {
        let overload = world.overload().await?;
        let seen = overload["limitBytes"].as_u64().unwrap_or_default();
        ensure(seen.abs_diff(limit) < 1 << 16, || overload.to_string())
    })
    .await?;

    let (address, config) = (world.gateway.address("external-https")?, world.tls.config()?);
    let mut clients = Vec::new();
    let mut refused = 0;
    for _ in 0..CLIENTS {
        match connect(&config, address, Some(HOST)).await {
            Ok((stream, _)) => clients.push(stream),
            Err(_) => refused += 1,
        }
        if refused > 50 {
            break;
        }
    }
    let at_share = world.gateway.metrics().await?.sum_where("postern_listener_refused_total", "source_memory");
    ensure(at_share >= 1.0, || format!("{} clients, {refused} refused, {at_share} at the share", clients.len()))?;
    assert_eq!(cgroup.kills(), 0);
    drop(clients);
    eventually_within(Duration::from_secs(60), "memory recovers", async || {
        let overload = world.overload().await?;
        ensure(overload["stage"] == "calm", || overload.to_string())
    })
    .await?;
    eventually("it serves again", async || world.serves_others().await).await?;
    let get = world.send(&Call::get("https://shop.test/-/bytes/100000")).await?;
    assert_eq!((get.status, get.body.len(), cgroup.kills()), (200, 100_000, 0));
    world.gateway.terminate()?;
    assert!(world.gateway.ended().await?.success());
    Ok(())
}
