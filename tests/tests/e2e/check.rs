//! `postern check`: what would be served, and every fault.

use std::process::Output;

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::manifests::{PathRule, Rule};
use serde_json::Value;

use crate::world::{Scene, postern};

async fn check(scene: &Scene, more: &[&str]) -> Result<(Output, String)> {
    let mut arguments = vec!["check".into(), scene.manifests.path().as_os_str().to_owned()];
    arguments.extend(more.iter().map(Into::into));
    let output = postern().run(arguments).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((output, text))
}

#[tokio::test]
async fn what_would_be_served_is_printed_and_no_fault_is_exit_0() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let (output, text) = check(&scene, &[]).await?;
    assert!(output.status.success(), "{text}");
    for expected in ["shop.test", "shop/shop.test:80", "Postern test CA", "days"] {
        assert!(text.contains(expected), "{expected} is not in: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn json_says_the_same_to_programs() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let (output, text) = check(&scene, &["--output", "json"]).await?;
    let report: Value = serde_json::from_str(&text)?;
    assert_eq!((output.status.code(), &report["hosts"][0]["host"]), (Some(0), &Value::from("shop.test")));
    assert_eq!(report["hosts"][0]["routes"][0]["splits"][0]["cluster"], "shop/shop.test:80");
    assert_eq!(report["certificates"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["faults"].as_array().map(Vec::len), Some(0));
    Ok(())
}

#[tokio::test]
async fn all_faults_are_told_at_once_and_exit_1() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    scene.kingress("lost", |kingress| {
        kingress.tls(&["lost.test"], "no-secret").rule(Rule::external(&["lost.test"]).path(PathRule::to("no-service")))
    })?;
    scene.manifests.write_text("broken.yaml", "kind: [")?;
    for (more, all) in [(&[][..], "human"), (&["--output", "json"][..], "json")] {
        let (output, text) = check(&scene, more).await?;
        assert_eq!(output.status.code(), Some(1), "{text}");
        for expected in ["shop/no-secret", "shop/no-service", "broken.yaml", "shop.test"] {
            assert!(text.contains(expected), "{expected} is not in the {all} output: {text}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_path_that_is_not_there_is_exit_64() -> Result<()> {
    let output = postern().run(["check", "/no/such/folder"]).await?;
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("/no/such/folder"), "{text}");
    Ok(())
}
