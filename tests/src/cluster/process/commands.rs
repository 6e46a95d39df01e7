//! What the cluster's process can be told.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::request::Shape;
use super::super::{Certificates, Cluster, Kind, Rule, RuleId, Silence};
use super::fill;
use crate::Result;

/// A command, as `{"command":"renew","count":10}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command", deny_unknown_fields)]
pub(super) enum Command {
    /// Creates or replaces an object.
    Apply { object: Value },
    /// Deletes an object.
    Delete(Object),
    /// Answers with an object.
    Get(Object),
    /// Creates services with all their objects, the KIngress last.
    Create {
        #[serde(flatten)]
        services: Services,
        endpoints: Vec<SocketAddr>,
    },
    /// Gives services new certificates; the answer has their `serials`, in the services' order.
    Renew(Services),
    /// Changes the KIngresses of services.
    ChangeIngresses(Services),
    /// Gives services these endpoints.
    ChangeEndpoints {
        #[serde(flatten)]
        services: Services,
        endpoints: Vec<SocketAddr>,
    },
    /// Sets how many pods a Service has; needs stages.
    Scale { namespace: String, service: String, replicas: u32 },
    /// Lets a stage's event happen: `crash`, `oom`, `renew`, `revoke`, `idle`, `wake`.
    Happen {
        #[serde(flatten)]
        object: Object,
        what: String,
    },
    /// Adds a fault; the answer has its `rule`.
    Fault { rule: Rule },
    /// Takes a fault back.
    RemoveFault { rule: RuleId },
    /// Takes all faults back.
    ClearFaults,
    /// Stops answering (`stalled`, `refusing`), or answers again (`answering`).
    Silence { how: Silence },
    /// Forgets the past.
    Compact,
    /// Answers with the counters of requests, and starts them again if asked.
    Requests {
        #[serde(default)]
        reset: bool,
    },
}

/// An object.
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    kind: Kind,
    #[serde(default)]
    namespace: String,
    name: String,
}

/// Services by number, and the time over which their changes are spread.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Services {
    #[serde(default)]
    first: usize,
    count: usize,
    #[serde(default)]
    over_millis: u64,
}

/// Carries a command out.
pub(super) async fn obey(cluster: &Cluster, command: Command) -> Result<Value> {
    let mut answer = json!({"ok": true});
    match command {
        Command::Apply { object } => answer["version"] = cluster.apply(object)?.revision.to_string().into(),
        Command::Delete(Object { kind, namespace, name }) => {
            answer["found"] = cluster.delete(kind, &namespace, &name).into();
        }
        Command::Get(Object { kind, namespace, name }) => {
            answer["object"] = cluster.get(kind, &namespace, &name).unwrap_or_default();
        }
        Command::Create { services, endpoints } => create(cluster, services, &endpoints).await?,
        Command::Renew(services) => answer["serials"] = renew(cluster, services).await?.into(),
        Command::ChangeIngresses(services) => change_ingresses(cluster, services).await?,
        Command::ChangeEndpoints { services, endpoints } => change_endpoints(cluster, services, &endpoints).await?,
        Command::Scale { namespace, service, replicas } => cluster.scale(&namespace, &service, replicas)?,
        Command::Happen { object: Object { kind, namespace, name }, what } => {
            cluster.happen(kind, &namespace, &name, &what)?;
        }
        Command::Fault { rule } => answer["rule"] = serde_json::to_value(cluster.faults().add(rule))?,
        Command::RemoveFault { rule } => cluster.faults().remove(rule),
        Command::ClearFaults => cluster.faults().clear(),
        Command::Silence { how } => cluster.silence(how),
        Command::Compact => cluster.compact(),
        Command::Requests { reset } => answer["requests"] = requests(cluster, reset),
    }
    Ok(answer)
}

impl Services {
    /// Calls for each number, spread over the time.
    async fn each(self, mut change: impl FnMut(usize) -> Result<()>) -> Result<()> {
        let began = tokio::time::Instant::now();
        let over = Duration::from_millis(self.over_millis);
        for index in 0..self.count {
            change(self.first + index)?;
            if !over.is_zero() {
                let share = (index + 1) as f64 / self.count as f64;
                tokio::time::sleep_until(began + over.mul_f64(share)).await;
            }
        }
        Ok(())
    }
}

async fn create(cluster: &Cluster, services: Services, endpoints: &[SocketAddr]) -> Result<()> {
    let certificates = Certificates::of(cluster.ca())?;
    let create = |number| {
        let service = fill::numbered_service(number, endpoints);
        cluster.apply_many(service.objects_with(&certificates.issue(&service)?))
    };
    services.each(create).await
}

async fn renew(cluster: &Cluster, services: Services) -> Result<Vec<u64>> {
    let certificates = Certificates::of(cluster.ca())?;
    let mut serials = Vec::new();
    let renew = |number| {
        let service = fill::numbered_service(number, &[]);
        let issued = certificates.issue(&service)?;
        serials.push(issued.serial);
        cluster.apply(service.secret_with(&issued)).map(drop)
    };
    services.each(renew).await?;
    Ok(serials)
}

async fn change_ingresses(cluster: &Cluster, services: Services) -> Result<()> {
    let change = |number| {
        let mut kingress = fill::numbered_service(number, &[]).kingress();
        let headers = &mut kingress["spec"]["rules"][0]["http"]["paths"][0]["splits"][0]["appendHeaders"];
        headers["Changed"] = cluster.clock().micro_time().into();
        cluster.apply(kingress).map(drop)
    };
    services.each(change).await
}

async fn change_endpoints(cluster: &Cluster, services: Services, endpoints: &[SocketAddr]) -> Result<()> {
    let change = |number| {
        let service = fill::numbered_service(number, &[]);
        let service = endpoints.iter().fold(service, |service, endpoint| service.endpoint(*endpoint));
        cluster.apply(service.endpoint_slice()).map(drop)
    };
    services.each(change).await
}

fn requests(cluster: &Cluster, reset: bool) -> Value {
    let counts = cluster.requests().counts().into_iter().map(|(verb, kind, shape, count)| {
        let metadata_only = shape == Shape::Metadata;
        json!({"verb": verb.word(), "resource": kind.to_string(), "metadata_only": metadata_only, "count": count})
    });
    let counts = counts.collect();
    if reset {
        cluster.requests().reset();
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Options;

    async fn tell(cluster: &Cluster, command: Value) -> Value {
        obey(cluster, serde_json::from_value(command).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn renewing_changes_the_secrets_of_the_services_that_are_named() {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        fill::services(&cluster, 3, &["127.0.0.1:8080".parse().unwrap()]).unwrap();
        let secret = |number| {
            let service = fill::numbered_service(number, &[]);
            cluster.get(Kind::Secret, &format!("tenant-{number:02}"), &service.secret_name()).unwrap()
        };
        let before: Vec<_> = (0..3).map(secret).collect();
        let answer = tell(&cluster, json!({"command": "renew", "first": 1, "count": 1})).await;
        assert_eq!(answer["serials"].as_array().unwrap().len(), 1);
        let changed: Vec<_> = (0..3).map(|number| secret(number)["data"] != before[number]["data"]).collect();
        assert_eq!(changed, [false, true, false]);
    }

    #[tokio::test]
    async fn created_services_have_their_objects_and_endpoints() {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let command = json!({"command": "create", "first": 7, "count": 2, "endpoints": ["127.0.0.1:8080"]});
        tell(&cluster, command).await;
        assert_eq!([Kind::KIngress, Kind::Secret].map(|kind| cluster.count(kind)), [2, 2]);
        let slice = cluster.get(Kind::EndpointSlice, "tenant-07", "service-000007-00001").unwrap();
        assert_eq!(slice["endpoints"][0]["addresses"], json!(["127.0.0.1"]));
    }

    #[tokio::test]
    async fn a_fault_can_be_added_and_taken_back() {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let fault = json!({"match": {"verbs": ["get"], "kinds": ["secrets"]}, "fault": "stall"});
        let rule = tell(&cluster, json!({"command": "fault", "rule": fault})).await["rule"].clone();
        assert_eq!(tell(&cluster, json!({"command": "remove-fault", "rule": rule})).await, json!({"ok": true}));
    }
}
