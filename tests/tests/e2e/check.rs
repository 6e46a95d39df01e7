//! `postern check`: what would be served, and every fault.

use std::process::Output;

use postern_tests::Result;
use postern_tests::backend::Backend;
use postern_tests::manifests::{Ingress, PathRule, Rule};
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
    let kourier =
        json!({"stream-idle-timeout": "1m", "extauthz-host": "auth:9000", "tracing-endpoint": "t:1", "oops": "1"});
    scene.write("kourier", &[map("knative-serving", "config-kourier", kourier)])?;
    let (output, text) = check(&scene, &["--own-namespace", "edge"]).await?;
    assert_eq!(output.status.code(), Some(1), "{text}");
    for expected in [
        "cert-cache: 1MiB (edge/config-postern cert-cache)",
        "stream-idle-timeout: 60000ms (knative-serving/config-kourier stream-idle-timeout)",
        "knative-serving/config-kourier: known, without effect yet: tracing-endpoint",
        "ConfigMap knative-serving/config-kourier: data.extauthz-host: is not implemented",
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
    assert_eq!(report["keysWithoutEffect"][0]["keys"], json!(["tracing-endpoint"]));
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

#[tokio::test]
async fn a_key_that_closes_something_keeps_everything_from_being_served_unless_accepted() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.site("shop.test", &backend)?;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "knative-serving", "name": "config-network"},
        "data": {"system-internal-tls": "enabled"},
    });
    scene.write("network", &[map])?;
    let (output, text) = check(&scene, &[]).await?;
    assert!(output.status.code() == Some(1) && text.contains("Hosts (0)"), "{text}");
    assert!(text.contains("data.system-internal-tls: is not implemented"), "{text}");
    let (_, text) = check(&scene, &["--accept-unsupported", "system-internal-tls"]).await?;
    assert!(text.contains("Hosts (1)") && text.contains("accept-unsupported names it"), "{text}");
    Ok(())
}

/// An Ingress of ingress-nginx's class with some of its annotations.
fn of_nginx(name: &str, annotations: &[(&str, &str)]) -> Value {
    let host = format!("{name}.test");
    let mut ingress = Ingress::new("shop", name).rule(Some(&host), &[("Prefix", "/", "shop")]).object();
    ingress["spec"]["ingressClassName"] = "nginx".into();
    for (name, value) in annotations {
        ingress["metadata"]["annotations"][format!("nginx.ingress.kubernetes.io/{name}")] = (*value).into();
    }
    ingress
}

#[tokio::test]
async fn somebody_elses_class_is_looked_at_with_its_annotations() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.service("shop", &[&backend])?;
    let class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "nginx"},
        "spec": {"controller": "k8s.io/ingress-nginx"}});
    let ingresses = [
        class,
        of_nginx("plain", &[("proxy-read-timeout", "60"), ("ssl-redirect", "false")]),
        of_nginx("rewritten", &[("rewrite-target", "/")]),
        of_nginx("members", &[("auth-url", "https://auth.test"), ("rewrite-target", "/")]),
    ];
    scene.write("ingresses", &ingresses)?;
    let (_, text) = check(&scene, &[]).await?;
    assert!(text.contains("Hosts (0)") && !text.contains("Annotations"), "they are somebody else's: {text}");
    let (output, text) = check(&scene, &["--class", "nginx"]).await?;
    assert_eq!(output.status.code(), Some(1), "{text}");
    for expected in [
        "Hosts (2)",
        "Annotations of ingress-nginx (2 of 3 Ingresses would behave differently)",
        "auth-url: not served (error): clients are not authenticated\n    shop/members\n",
        "rewrite-target: changes behaviour (warning): ",
        "    shop/members, shop/rewritten\n",
        "proxy-read-timeout: without effect here: ",
        "ssl-redirect: honoured\n    shop/plain\n",
        "Ingress shop/members: metadata.annotations[nginx.ingress.kubernetes.io/auth-url]: is not honoured",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in: {text}");
    }
    let (_, text) = check(&scene, &["--class", "nginx", "--output", "json"]).await?;
    let report: Value = serde_json::from_str(&text)?;
    let expected = json!({"annotation": "auth-url", "effect": "not served", "severity": "error",
        "lost": "clients are not authenticated", "ingresses": ["shop/members"]});
    assert_eq!(report["ingressNginx"]["annotations"][0], expected);
    assert_eq!(report["ingressNginx"]["differing"], json!(["shop/members", "shop/rewritten"]));
    Ok(())
}

#[tokio::test]
async fn a_port_that_says_tls_is_a_fault_that_names_service_and_protocol() -> Result<()> {
    let scene = Scene::new()?;
    let backend = Backend::http1("shop").await?;
    scene.service("shop", &[&backend])?;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"ports": [{"name": "web", "port": 443, "appProtocol": "HTTPS"}]}});
    let rule = Ingress::new("shop", "web").rule(Some("web.test"), &[("Prefix", "/", "web")]);
    let mut ingress = rule.object();
    ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = json!({"number": 443});
    scene.write("tls", &[service, ingress])?;
    let (output, text) = check(&scene, &[]).await?;
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(r#"Service shop/web: port 443 has appProtocol "HTTPS""#), "{text}");
    Ok(())
}
