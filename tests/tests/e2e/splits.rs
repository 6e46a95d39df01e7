//! Requests are shared out by weight.

use postern_tests::Result;
use postern_tests::manifests::{PathRule, Rule, Split};

use crate::kingress::Backends;
use crate::world::{Scene, World};

async fn after_requests(count: usize, splits: [(&str, u32); 3]) -> Result<[u64; 3]> {
    let scene = Scene::new()?;
    let backends = Backends::start(&scene).await?;
    let path = splits
        .into_iter()
        .fold(PathRule::prefix(""), |path, (service, percent)| path.split(Split::new(service, percent)));
    scene.kingress("shop", |kingress| kingress.rule(Rule::external(&["shop.test"]).path(path)))?;
    let world: World = scene.open().await?;
    for _ in 0..count {
        assert_eq!(world.status("http://shop.test/").await?, 200);
    }
    Ok(backends.requests())
}

#[tokio::test]
async fn a_candidate_with_zero_percent_gets_nothing() -> Result<()> {
    assert_eq!(after_requests(60, [("one", 0), ("two", 100), ("three", 0)]).await?, [0, 60, 0]);
    Ok(())
}

#[tokio::test]
async fn candidates_get_their_share() -> Result<()> {
    // 300 requests at 20 and 80 percent: 60 and 240, with a standard deviation of 7 if drawn at random.
    let [one, two, three] = after_requests(300, [("one", 20), ("two", 80), ("three", 0)]).await?;
    assert!((20..=100).contains(&one), "one: {one}");
    assert_eq!((one + two, three), (300, 0));
    Ok(())
}

#[tokio::test]
async fn a_lone_candidate_without_a_percentage_gets_everything() -> Result<()> {
    let scene = Scene::new()?;
    let _backends = Backends::start(&scene).await?;
    let path = PathRule::prefix("").split(Split::new("one", 0));
    scene.kingress("shop", |kingress| kingress.rule(Rule::external(&["shop.test"]).path(path)))?;
    assert_eq!(scene.open().await?.backend("http://shop.test/").await?, "one");
    Ok(())
}
