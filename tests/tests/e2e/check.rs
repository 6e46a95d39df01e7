//! `postern check`: what would be served, and every fault.

use std::process::Output;

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::manifests::{PathRule, Rule};
use serde_json::{Value, json};

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
async fn settings_of_config_maps_are_printed_with_their_faults() -> Result<()> {
    let scene = Scene::new()?;
    let map = |namespace, name, data| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}, "data": data});
    scene.write("ours", &[map("edge", "config-postern", json!({"cert-cache": "1MiB", "log-level": "loud"}))])?;
    let kourier = json!({"stream-idle-timeout": "1m", "extauthz-host": "auth:9000", "oops": "1"});
    scene.write("kourier", &[map("knative-serving", "config-kourier", kourier)])?;
    let (output, text) = check(&scene, &["--own-namespace", "edge"]).await?;
    assert_eq!(output.status.code(), Some(1), "{text}");
    for expected in [
        "cert-cache: 1MiB (edge/config-postern cert-cache)",
        "stream-idle-timeout: 60000ms (knative-serving/config-kourier stream-idle-timeout)",
        "knative-serving/config-kourier: known, without effect yet: extauthz-host",
        "ConfigMap edge/config-postern: data.log-level",
        "data.oops",
    ] {
        assert!(text.contains(expected), "{expected} is not in: {text}");
    }
    let (_, text) = check(&scene, &["--output", "json", "--own-namespace", "edge"]).await?;
    let report: Value = serde_json::from_str(&text)?;
    assert_eq!(
        report["settings"][0],
        json!({"name": "cert-cache", "values": ["1MiB"], "configMap": "edge/config-postern cert-cache"})
    );
    assert_eq!(report["keysWithoutEffect"][0]["keys"], json!(["extauthz-host"]));
    Ok(())
}

#[tokio::test]
async fn flags_decide_what_is_ours() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.service("shop", &[&backend])?;
    let rule = Rule::external(&["shop.test"]).path(PathRule::to("shop"));
    scene.kingress("shop", |kingress| {
        kingress.annotation("networking.knative.dev/ingress.class", "theirs").rule(rule)
    })?;
    let (ours, _) = check(&scene, &["--kingress-class", "theirs"]).await?;
    let (not_ours, text) = check(&scene, &[]).await?;
    assert_eq!((ours.status.code(), not_ours.status.code()), (Some(0), Some(1)), "{text}");
    let (wrong, _) = check(&scene, &["--kingress-class", ""]).await?;
    assert_eq!(wrong.status.code(), Some(64));
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
