//! Liveness says that the process's own loops turn, whatever the API server does.

use std::path::Path;
use std::time::{Duration, Instant};

use postern_tests::Result;
use postern_tests::client::get_plain;
use postern_tests::cluster::{Cluster, Fault, Options, Rule, Silence};
use postern_tests::gateway::Gateway;

use crate::gateway::{on, postern};
use crate::world::{fill, service};

/// Longer than a loop may stand still (20 s).
const LONG: Duration = Duration::from_secs(22);

/// Asks for liveness until `over`; returns how long that was.
async fn live_until(gateway: &Gateway, over: impl AsyncFn(Duration) -> Result<bool>) -> Result<Duration> {
    let (metrics, begun) = (gateway.address("metrics")?, Instant::now());
    loop {
        let live = get_plain(metrics, "/livez").await?;
        assert_eq!((live.status, live.text().as_str()), (200, "alive\n"), "after {:?}", begun.elapsed());
        if over(begun.elapsed()).await? {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn neither_an_absent_nor_a_slow_api_server_nor_a_backlog_fails_it() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    cluster.silence(Silence::Stalled);
    let mut gateway = Gateway::spawn(&postern(), Path::new("/"), &on(&cluster, "system:admin")?)?;
    gateway.listening().await?;
    let ready = async |gateway: &Gateway| Ok(get_plain(gateway.address("metrics")?, "/readyz").await?.status == 200);
    live_until(&gateway, async |elapsed| {
        assert!(!ready(&gateway).await?, "nothing is known yet");
        Ok(elapsed > LONG)
    })
    .await?;

    fill(&cluster, 5_000);
    cluster.faults().add(Rule::on_all(Fault::Delay { by: Duration::from_secs(2) }));
    cluster.silence(Silence::Answering);
    let patience = Duration::from_secs(60);
    live_until(&gateway, async |elapsed| {
        assert!(elapsed < patience, "it is not ready; its log:\n{}", gateway.log().text());
        ready(&gateway).await
    })
    .await?;
    for round in 0..10 {
        let state = format!("v{round}");
        cluster.apply_many((0..5_000).map(|number| service(&format!("s{number}"), &state)))?;
        tokio::task::yield_now().await;
    }
    live_until(&gateway, async |elapsed| Ok(elapsed > Duration::from_secs(3))).await?;
    Ok(())
}
