//! What an object refers to or contends for and does not get.
//!
//! Looked at again whenever one of these things appears or vanishes, so each fault ends when its reason does.

use super::Options;
use super::backends::Lack;
use super::classes::{Classes, Standing};
use super::effect::{State, clusters, paths_of};
use super::merge;
use super::objects::{Claim, Record};
use super::problem::Problems;
use super::secrets::SecretId;
use crate::object::{ObjectRef, Refusal};
use crate::resource::cluster_parts;

/// Says what keeps parts of the object from being served.
pub(super) fn check(record: &Record<'_>, state: &State, classes: &Classes, on: &Options, problems: &mut Problems) {
    let part = state.objects.part(record.id);
    if let Some(part) = part
        && !record.in_effect()
    {
        unknown_class(part.class.as_deref(), classes, on, problems);
        return;
    }
    if let Some((host, owner)) = state.blocker(record).filter(|_| record.is_kingress()) {
        let message = format_args!(
            "host {:?} belongs to {}, which is older; nothing of this object is served until one of them gives it up",
            host,
            owner.key()
        );
        problems.error("spec.rules", message);
        return;
    }
    check_clusters(record, state, problems);
    check_secrets(record, state, problems);
    if part.is_some() {
        check_hosts(record, state, on.limits.routes_per_host, problems);
    }
}

fn unknown_class(class: Option<&str>, classes: &Classes, on: &Options, problems: &mut Problems) {
    if !on.report_unknown_class || classes.standing(class, on) != Standing::Unknown {
        return;
    }
    let ours = &on.ingress_class;
    match class {
        Some(class) => problems.warn(
            "spec.ingressClassName",
            format_args!("nobody serves class {class:?}: no IngressClass has that name; ours is {ours:?}"),
        ),
        None => problems.warn(
            "spec.ingressClassName",
            format_args!("no class is named and no IngressClass is the default one; ours is {ours:?}"),
        ),
    }
}

fn check_clusters(record: &Record<'_>, state: &State, problems: &mut Problems) {
    for cluster in &clusters(record) {
        let (namespace, service, port) = cluster_parts(cluster.as_str());
        match state.backends.lack(cluster) {
            None => {}
            Some(Lack::Service) => {
                problems
                    .error("", format_args!("Service {namespace}/{service} does not exist; it is used once it does"));
            }
            Some(Lack::Port) => {
                let has = state.backends.ports_of(cluster);
                let message = format_args!("Service {namespace}/{service} has no TCP port {port}; it has: {has}");
                problems.error("", message);
            }
            Some(Lack::Tls("")) => {
                let message = format_args!(
                    "Service {namespace}/{service}: port {port} is named https, and TLS to endpoints is not implemented, so \
                     nothing is sent to it; if it speaks HTTP without TLS, set its appProtocol to http"
                );
                problems.error("", message);
            }
            Some(Lack::Tls(protocol)) => {
                let message = format_args!(
                    "Service {namespace}/{service}: port {port} has appProtocol {protocol:?}, and TLS to endpoints is not \
                     implemented, so nothing is sent to it; expected a protocol without TLS, such as http or \
                     kubernetes.io/h2c"
                );
                problems.error("", message);
            }
        }
    }
}

/// A Secret that cannot be served while an earlier version of it is: a KIngress is ready all the same, and says so in its
/// status.
fn check_refusal(record: &Record<'_>, mine: SecretId, state: &State, problems: &mut Problems) {
    let Some(refusal) = state.secrets.refusal(mine) else { return };
    let message = refused(&state.secrets.object(mine), refusal);
    if refusal.has_last_good && record.is_kingress() {
        problems.warn("spec.tls", message);
    } else {
        problems.error("spec.tls", message);
    }
}

/// What is said of a Secret that is refused.
pub(super) fn refused(secret: &ObjectRef, refusal: &Refusal) -> String {
    let Refusal { why, has_last_good } = refusal;
    let instead = if *has_last_good { "; its last good version is served" } else { "" };
    format!("Secret {secret} cannot be served: {why}{instead}")
}

fn check_secrets(record: &Record<'_>, state: &State, problems: &mut Problems) {
    let (mut missing, mut checked) = (Vec::new(), Vec::new());
    for claim in record.claims() {
        let Some(mine) = claim.secret() else { continue };
        let secret = state.secrets.object(mine);
        if !state.secrets.exists(mine) && !missing.contains(&mine) {
            missing.push(mine);
            problems.error("spec.tls", format_args!("Secret {secret} does not exist; it is used once it does"));
        }
        if !checked.contains(&mine) {
            checked.push(mine);
            check_refusal(record, mine, state, problems);
        }
        let sni = claim.host();
        let Some((winner, theirs)) = state.binding_claim(&sni) else { continue };
        if let Some(theirs) = theirs.secret().filter(|theirs| *theirs != mine) {
            let (in_use, winner) = (state.secrets.object(theirs), winner.key());
            let message =
                format_args!("host {sni:?} is bound to Secret {in_use} by {winner}, so Secret {secret} is not used");
            problems.error("spec.tls", message);
        }
    }
}

fn check_hosts(record: &Record<'_>, state: &State, route_limit: usize, problems: &mut Problems) {
    for claim in record.claims().filter(Claim::has_routes) {
        let host = &*claim.host();
        if let Some(owner) = state.owner(host) {
            let message = format_args!("host {host:?} belongs to {}, which is older", owner.key());
            problems.error("spec.rules", message);
            continue;
        }
        if state.is_left_out(record, host, route_limit) {
            let message = format_args!("host {host:?} has more than {route_limit} paths with older objects' ones");
            problems.error("spec.rules", message);
            continue;
        }
        let mine = paths_of(record, &claim);
        let others = state.objects.host_claims(host).filter(|(other, _)| other.id != record.id);
        for (older, theirs) in others.filter(|(other, _)| other.in_effect() && other.is_older(record)) {
            let theirs = paths_of(&older, &theirs);
            for path in merge::shared_paths(&mine, &theirs) {
                let (path, key) = (path.as_str(), older.key());
                let message = format_args!("path {path:?} of host {host:?} is served by {key}, which is older");
                problems.warn("spec.rules", message);
            }
        }
    }
}
