//! Objects as they would be applied.

use std::fs;

use postern_tests::client::tools::{installed, run};
use postern_tests::deployed;
use postern_tests::{Result, ensure};
use serde_json::{Value, json};

/// Objects that are applied together.
#[derive(Clone, Debug)]
pub(crate) struct Rendered(pub(crate) Vec<Value>);

impl Rendered {
    /// Those of a YAML stream.
    fn parse(text: &str) -> Result<Self> {
        Ok(Self(deployed::parse(text)?))
    }

    /// The base.
    pub(crate) fn base() -> Result<Self> {
        Ok(Self(deployed::base()?))
    }

    /// A folder of `kustomize/`; `None` without kubectl.
    pub(crate) async fn kustomize(folder: &str) -> Result<Option<Self>> {
        if !installed("kubectl").await {
            return Ok(None);
        }
        let folder = deployed::folder().join("kustomize").join(folder);
        render("kubectl", &["kustomize", &folder.to_string_lossy()]).await.map(Some)
    }

    /// The base with a component; `None` without kubectl.
    pub(crate) async fn with_component(component: &str) -> Result<Option<Self>> {
        if !installed("kubectl").await {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        // kustomize takes folders anywhere, but by relative paths only.
        let up = "../".repeat(folder.path().canonicalize()?.components().count() - 1);
        let place = |part: &str| -> Result<String> {
            let folder = deployed::folder().join("kustomize").join(part).canonicalize()?;
            Ok(format!("{up}{}", folder.strip_prefix("/")?.display()))
        };
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": [place("base")?], "components": [place(&format!("components/{component}"))?],
        });
        fs::write(folder.path().join("kustomization.yaml"), kustomization.to_string())?;
        render("kubectl", &["kustomize", &folder.path().to_string_lossy()]).await.map(Some)
    }

    /// The chart as release `postern`, with more arguments of `helm template`; `None` without helm.
    pub(crate) async fn chart(arguments: &[&str]) -> Result<Option<Self>> {
        if !installed("helm").await {
            return Ok(None);
        }
        let chart = deployed::folder().join("helm/postern");
        let first = ["template", "postern", &chart.to_string_lossy(), "--kube-version=1.34.0"];
        render("helm", &[&first, arguments].concat()).await.map(Some)
    }

    /// The objects of a kind.
    pub(crate) fn of<'a>(&'a self, kind: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let kind = kind.to_owned();
        self.0.iter().filter(move |object| object["kind"] == kind.as_str())
    }

    /// The only object of a kind.
    pub(crate) fn one(&self, kind: &str) -> Result<&Value> {
        let mut objects = self.of(kind);
        match (objects.next(), objects.next()) {
            (Some(object), None) => Ok(object),
            _ => Err(format!("expected one {kind}, found {}", self.of(kind).count()).into()),
        }
    }

    /// The object of a kind with this name.
    pub(crate) fn named(&self, kind: &str, name: &str) -> Result<&Value> {
        let found = self.of(kind).find(|object| object["metadata"]["name"] == name);
        found.ok_or_else(|| format!("no {kind} {name}").into())
    }

    /// The Deployment's pods.
    pub(crate) fn pod(&self) -> Result<&Value> {
        Ok(&self.one("Deployment")?["spec"]["template"])
    }

    /// Their only container.
    pub(crate) fn container(&self) -> Result<&Value> {
        let containers = list(&self.pod()?["spec"]["containers"]);
        ensure(containers.len() == 1, || format!("expected one container, found {}", containers.len()))?;
        Ok(&containers[0])
    }

    /// The container's arguments.
    pub(crate) fn arguments(&self) -> Result<Vec<String>> {
        Ok(strings(&self.container()?["args"]))
    }
}

async fn render(tool: &str, arguments: &[&str]) -> Result<Rendered> {
    let output = run(tool, arguments).await?;
    ensure(output.status.success(), || format!("{tool}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Rendered::parse(&String::from_utf8(output.stdout)?)
}

/// Everything that can be applied, with what it is.
pub(crate) async fn variants() -> Result<Vec<(&'static str, Rendered)>> {
    let mut variants = vec![("base", Rendered::base()?)];
    for (name, folder) in [("kourier", "overlays/kourier"), ("namespaced", "overlays/namespaced")] {
        variants.extend(Rendered::kustomize(folder).await?.map(|rendered| (name, rendered)));
    }
    for (name, component) in [("monitored", "service-monitor"), ("sealed", "sealed"), ("alerting", "alerts")] {
        variants.extend(Rendered::with_component(component).await?.map(|rendered| (name, rendered)));
    }
    variants.extend(Rendered::chart(EVERYTHING).await?.map(|rendered| ("chart", rendered)));
    Ok(variants)
}

/// Values that switch on whatever the chart can make.
const EVERYTHING: &[&str] = &[
    "--namespace=postern-system",
    "--set=image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "--set=imagePullSecrets[0].name=registry",
    "--set=settings.trusted-proxies={10.0.0.0/8,192.168.0.0/16}",
    "--set=config.cert-cache=64MiB",
    "--set=service.external.annotations.note=external",
    "--set=service.external.spec.externalTrafficPolicy=Local",
    "--set=service.internal.annotations.note=internal",
    "--set=autoscaling.enabled=false",
    "--set=sealed.enabled=true",
    "--set=serviceMonitor.enabled=true",
    "--set=serviceMonitor.labels.release=prometheus",
    "--set=alerts.enabled=true",
    "--set=alerts.labels.release=prometheus",
    "--set=ingressClass.default=true",
    "--set=podAnnotations.note=pod",
    "--set=podLabels.team=edge",
    "--set=nodeSelector.pool=edge",
    "--set=tolerations[0].operator=Exists",
    "--set-json=affinity={\"podAntiAffinity\": {\"requiredDuringSchedulingIgnoredDuringExecution\": [\
     {\"topologyKey\": \"kubernetes.io/hostname\"}]}}",
    "--set=priorityClassName=system-cluster-critical",
];

/// The items of a list; none of anything else.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The texts of a list.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}
