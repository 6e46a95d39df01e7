//! The chart makes what kustomize makes.

use std::collections::BTreeMap;

use postern_tests::Result;
use postern_tests::deployed;
use serde_json::Value;

use crate::rendered::Rendered;
use crate::schema::missing;

/// Labels that charts have by convention.
const CHART_LABELS: [&str; 2] = ["app.kubernetes.io/managed-by", "helm.sh/chart"];

/// Objects by kind, namespace and name, without what only a chart has, and without the Namespace, which
/// `helm --create-namespace` makes.
fn comparable(rendered: &Rendered) -> BTreeMap<String, Value> {
    let mut objects = BTreeMap::new();
    for object in rendered.0.iter().filter(|object| object["kind"] != "Namespace") {
        let mut object = object.clone();
        if let Some(labels) = object["metadata"]["labels"].as_object_mut() {
            labels.retain(|label, _| !CHART_LABELS.contains(&label.as_str()));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        let key = [text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"])].join(" ");
        objects.insert(key, object);
    }
    objects
}

async fn assert_same(kustomize: Option<Rendered>, values: &[&str]) -> Result<()> {
    let chart = Rendered::chart(values).await?;
    let (Some(kustomize), Some(chart)) = (kustomize, chart) else { return Ok(()) };
    let (kustomize, chart) = (comparable(&kustomize), comparable(&chart));
    assert_eq!(kustomize.keys().collect::<Vec<_>>(), chart.keys().collect::<Vec<_>>());
    for (key, object) in kustomize {
        let (only_kustomize, only_chart) = (missing(&object, &chart[&key]), missing(&chart[&key], &object));
        let nothing = Vec::<String>::new();
        assert_eq!(
            (&only_kustomize, &only_chart),
            (&nothing, &nothing),
            "{key}: by kustomize alone; by the chart alone"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_chart_makes_the_objects_of_the_base() -> Result<()> {
    assert_same(Some(Rendered::base()?), &["--namespace=postern-system"]).await
}

#[tokio::test]
async fn the_chart_makes_the_objects_of_the_namespaced_overlay() -> Result<()> {
    let kustomize = Rendered::kustomize("overlays/namespaced").await?;
    assert_same(kustomize, &["--namespace=postern-system", "--set=namespaces={default}"]).await
}

#[tokio::test]
async fn the_chart_makes_the_objects_of_the_kourier_overlay() -> Result<()> {
    let values = format!("--values={}", deployed::folder().join("helm/postern/values-kourier.yaml").display());
    assert_same(Rendered::kustomize("overlays/kourier").await?, &["--namespace=kourier-system", &values]).await
}

#[tokio::test]
async fn the_chart_makes_the_objects_of_the_component_for_prometheus() -> Result<()> {
    let kustomize = Rendered::with_component("service-monitor").await?;
    assert_same(kustomize, &["--namespace=postern-system", "--set=serviceMonitor.enabled=true"]).await
}

#[tokio::test]
async fn the_chart_makes_the_objects_of_the_component_for_alerts() -> Result<()> {
    let kustomize = Rendered::with_component("alerts").await?;
    assert_same(kustomize, &["--namespace=postern-system", "--set=alerts.enabled=true"]).await
}

#[tokio::test]
async fn the_chart_makes_the_objects_of_the_component_for_sealed_copies() -> Result<()> {
    let kustomize = Rendered::with_component("sealed").await?;
    assert_same(kustomize, &["--namespace=postern-system", "--set=sealed.enabled=true"]).await
}

#[tokio::test]
async fn the_chart_refuses_a_value_that_it_does_not_know() -> Result<()> {
    if Rendered::chart(&["--set=podLabels.team=edge"]).await?.is_some() {
        let refused = Rendered::chart(&["--set=podLabel.team=edge"]).await.unwrap_err().to_string();
        assert!(refused.contains("podLabel"), "{refused}");
    }
    Ok(())
}
