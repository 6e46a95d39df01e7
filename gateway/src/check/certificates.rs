//! Reads and checks the certificate of every TLS binding.

use std::collections::BTreeMap;
use std::time::SystemTime;

use certstore::{Inspection, Warning};
use serde_json::{Value, json};
use xds::source::dir::{SecretFiles, SecretReadError};
use xds::{ObjectRef, Update};

use crate::app::secrets;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// A Secret that TLS bindings name, and what is in it.
pub(super) struct Checked {
    /// The server names that are bound to it.
    pub(super) names: Vec<String>,
    outcome: Result<Inspection, Unfit>,
}

/// Why there is nothing to serve.
enum Unfit {
    /// There is no such Secret; translation has said so, with the object that names it.
    Missing,
    /// What is wrong with it.
    Faulty(String),
}

/// Checks each Secret that a TLS binding of `update` names, once.
pub(super) fn inspect(update: &Update, files: &SecretFiles) -> BTreeMap<ObjectRef, Checked> {
    let mut names: BTreeMap<ObjectRef, Vec<String>> = BTreeMap::new();
    for (host, binding) in &update.tls_bindings {
        if let Some(binding) = binding {
            names.entry(binding.secret.clone()).or_default().push(host.as_str().to_owned());
        }
    }
    let check = |(secret, names): (ObjectRef, Vec<String>)| {
        let outcome = inspect_one(&secret, &names, files);
        (secret, Checked { names, outcome })
    };
    names.into_iter().map(check).collect()
}

fn inspect_one(secret: &ObjectRef, names: &[String], files: &SecretFiles) -> Result<Inspection, Unfit> {
    let content = files.read(secret).map_err(|error| match error {
        SecretReadError::NotFound { .. } => Unfit::Missing,
        other => Unfit::Faulty(xds::causes(&other)),
    })?;
    let reference = crate::apply::secret_ref(secret);
    certstore::inspect(&reference, &secrets::secret_data(content), names)
        .map_err(|error| Unfit::Faulty(xds::causes(&error)))
}

impl Checked {
    /// What is wrong, each with the Secret's name.
    pub(super) fn faults(&self, secret: &ObjectRef) -> Vec<String> {
        match &self.outcome {
            Ok(inspection) => inspection.warnings.iter().map(Warning::to_string).collect(),
            Err(Unfit::Missing) => Vec::new(),
            Err(Unfit::Faulty(error)) if error.contains(&secret.to_string()) => vec![error.clone()],
            Err(Unfit::Faulty(error)) => vec![format!("secret {secret}: {error}")],
        }
    }

    /// The certificate in a line.
    pub(super) fn summary(&self) -> String {
        match &self.outcome {
            Ok(Inspection { details, .. }) => {
                let names = details.names.join(", ");
                format!("for {names}; issued by {}; {}", details.issuer, remaining(details.not_after))
            }
            Err(Unfit::Missing) => "missing".to_owned(),
            Err(Unfit::Faulty(_)) => "cannot be served, see the faults".to_owned(),
        }
    }

    /// The same for programs.
    pub(super) fn to_json(&self, secret: &ObjectRef) -> Value {
        let details = self.outcome.as_ref().ok().map(|inspection| &inspection.details);
        json!({
            "secret": secret.to_string(),
            "serverNames": self.names,
            "certificateNames": details.map(|details| &details.names),
            "issuer": details.map(|details| &details.issuer),
            "serial": details.map(|details| &details.serial),
            "daysLeft": details.map(|details| days_left(details.not_after)),
        })
    }
}

fn remaining(not_after: SystemTime) -> String {
    match days_left(not_after) {
        days if not_after < SystemTime::now() => format!("EXPIRED {} days ago", -days),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    }
}

/// Whole days until then; negative when it is over.
fn days_left(not_after: SystemTime) -> i64 {
    let days = |duration: std::time::Duration| i64::try_from(duration.as_secs() / SECONDS_PER_DAY).unwrap_or(i64::MAX);
    match not_after.duration_since(SystemTime::now()) {
        Ok(left) => days(left),
        Err(over) => -days(over.duration()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_left_are_counted_in_whole_days_and_turn_negative_afterwards() {
        let day = Duration::from_secs(SECONDS_PER_DAY);
        assert_eq!(days_left(SystemTime::now() + day * 3 + day / 2), 3);
        assert_eq!(days_left(SystemTime::now() - day * 2 - day / 2), -2);
        assert_eq!(remaining(SystemTime::now() - day * 2), "EXPIRED 2 days ago");
    }
}
