//! How the pods run: with little power, and without losing a request when they go.

use postern_tests::gateway::Program;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::rendered::{Rendered, list, variants};

/// What `postern gateway --print-config` says of a setting with the Deployment's arguments.
async fn setting(rendered: &Rendered, name: &str) -> Result<String> {
    let mut arguments = rendered.arguments()?;
    arguments.push("--print-config".to_owned());
    let output = Program::new(env!("CARGO_BIN_EXE_postern-under-test")).run(arguments).await?;
    ensure(output.status.success(), || format!("refused: {}", String::from_utf8_lossy(&output.stderr)))?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Ok(line.and_then(|line| line.split(" # ").next()).ok_or_else(|| format!("no {name} in {text}"))?.to_owned())
}

#[tokio::test]
async fn the_gateway_accepts_its_arguments() -> Result<()> {
    for (variant, rendered) in variants().await? {
        let source = setting(&rendered, "source").await.map_err(|error| format!("{variant}: {error}"))?;
        assert_eq!(source, "kube", "{variant}");
    }
    Ok(())
}

#[tokio::test]
async fn pods_have_time_to_drain_and_need_no_hook() -> Result<()> {
    const MARGIN: u64 = 3;
    for (variant, rendered) in variants().await? {
        let drain = setting(&rendered, "drain-timeout").await?;
        let drain: u64 = drain.strip_suffix('s').ok_or("not in seconds")?.parse()?;
        let grace = rendered.pod()?["spec"]["terminationGracePeriodSeconds"].as_u64().ok_or("no grace period")?;
        assert!(grace >= drain + MARGIN, "{variant}: {grace} s for a drain of {drain} s");
        assert!(rendered.container()?.get("lifecycle").is_none(), "{variant}");
    }
    Ok(())
}

/// The Pod Security Standard `restricted`, a root file system that is read-only, and a user who is not root.
#[tokio::test]
async fn pods_have_no_power_that_they_do_not_need() -> Result<()> {
    for (variant, rendered) in variants().await? {
        let container = json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(rendered.container()?["securityContext"], container, "{variant}");
        let pod = &rendered.pod()?["spec"];
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{variant}");
        assert_eq!(security["seccompProfile"], json!({"type": "RuntimeDefault"}), "{variant}");
        assert!(security["runAsUser"].as_u64().is_some_and(|user| user > 0), "{variant}");
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod.get(field).is_none(), "{variant}: {field}");
        }
        for volume in list(&pod["volumes"]) {
            let harmless = ["emptyDir", "configMap", "projected"].iter().any(|kind| volume.get(kind).is_some());
            assert!(harmless, "{variant}: {volume}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn sealed_copies_have_a_place_of_their_own_that_they_cannot_fill() -> Result<()> {
    let mebibytes =
        |text: &str, unit: &str| -> Result<u64> { Ok(text.strip_suffix(unit).ok_or("another unit")?.parse()?) };
    for (variant, rendered) in variants().await? {
        let volumes = list(&rendered.pod()?["spec"]["volumes"]);
        if volumes.is_empty() {
            assert!(setting(&rendered, "sealed-dir").await?.is_empty(), "{variant}");
            continue;
        }
        let mount = &rendered.container()?["volumeMounts"][0];
        assert_eq!(mount["name"], volumes[0]["name"], "{variant}");
        assert_eq!(mount["mountPath"], setting(&rendered, "sealed-dir").await?, "{variant}");
        let limit = volumes[0]["emptyDir"]["sizeLimit"].as_str().ok_or("no limit")?;
        let bytes = setting(&rendered, "sealed-bytes").await?;
        assert!(mebibytes(limit, "Mi")? >= 2 * mebibytes(&bytes, "MiB")?, "{variant}: {limit} for {bytes}");
    }
    Ok(())
}

#[tokio::test]
async fn a_single_replica_can_be_evicted() -> Result<()> {
    for (variant, rendered) in variants().await? {
        let budget = &rendered.one("PodDisruptionBudget")?["spec"];
        assert!(budget.get("minAvailable").is_none(), "{variant}");
        assert!(budget["maxUnavailable"].as_u64().is_some_and(|pods| pods >= 1), "{variant}");
    }
    Ok(())
}

#[tokio::test]
async fn replicas_are_set_by_the_autoscaler_alone_and_by_the_cpu_that_is_requested() -> Result<()> {
    for (variant, rendered) in variants().await? {
        let deployment = rendered.one("Deployment")?;
        let autoscaled = rendered.of("HorizontalPodAutoscaler").next();
        assert_eq!(deployment["spec"].get("replicas").is_some(), autoscaled.is_none(), "{variant}");
        let resources = &rendered.container()?["resources"];
        for (kind, resource) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")] {
            assert!(resources[kind][resource].is_string(), "{variant}: {kind} of {resource}");
        }
        // A node that runs short of memory kills first who uses more than was requested.
        assert_eq!(resources["requests"]["memory"], resources["limits"]["memory"], "{variant}");
        if let Some(autoscaler) = autoscaled {
            let target = &autoscaler["spec"]["scaleTargetRef"];
            let expected = ["apiVersion", "kind"].map(|field| &deployment[field]);
            assert_eq!(["apiVersion", "kind"].map(|field| &target[field]), expected, "{variant}");
            assert_eq!(target["name"], deployment["metadata"]["name"], "{variant}");
            assert!(autoscaler["spec"]["minReplicas"].as_u64() >= Some(2), "{variant}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn pods_are_spread_and_replaced_one_at_a_time() -> Result<()> {
    for (variant, rendered) in variants().await? {
        let keys: Vec<_> = list(&rendered.pod()?["spec"]["topologySpreadConstraints"])
            .iter()
            .map(|constraint| constraint["topologyKey"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"], "{variant}");
        let rolling = &rendered.one("Deployment")?["spec"]["strategy"]["rollingUpdate"];
        assert_eq!(rolling, &json!({"maxSurge": 1, "maxUnavailable": 0}) as &Value, "{variant}");
    }
    Ok(())
}
