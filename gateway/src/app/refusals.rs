//! Carries what the certificate store refuses, and what is wrong with what it serves, to where people look: as faults of the
//! Secrets, and through the translator as faults and status of the objects that refer to them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use certstore::{CertError, CertStore, FaultInfo, Field, Refused, SecretRef, Serving, Warning};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use xds::fault::{Finder, Severity, Subject};
use xds::object::{Judged, Refusal};
use xds::{Fault, Faults, ObjectKey, ObjectKind};

use super::secrets::object_ref;
use crate::tables::Tables;

/// Changes within this are carried together.
const PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked at the clock: a certificate that was not valid yet becomes so by itself.
const PERIOD: Duration = Duration::from_secs(60);

/// Verdicts that may wait for the translator.
pub(super) const QUEUE: usize = 64;

/// What is carried, and where to.
pub(super) struct Carrier {
    pub(super) certs: Arc<CertStore>,
    pub(super) tables: Tables,
    pub(super) faults: Faults,
    pub(super) verdicts: mpsc::Sender<Judged>,
    /// The Secret that is used though no object names it.
    pub(super) default: Box<dyn Fn() -> Option<SecretRef> + Send + Sync>,
}

impl Carrier {
    /// Runs until dropped. `applied` follows the version of the configuration.
    pub(super) async fn run(self, mut applied: watch::Receiver<u64>) {
        let mut changes = self.certs.fault_changes();
        let mut told = HashMap::new();
        loop {
            tokio::select! {
                news = changes.changed() => if news.is_err() { return },
                // What is no longer used is no fault any more.
                news = applied.changed(), if !told.is_empty() => if news.is_err() { return },
                () = sleep(PERIOD), if !told.is_empty() => {}
            }
            sleep(PAUSE).await;
            changes.mark_unchanged();
            applied.mark_unchanged();
            self.carry(&mut told).await;
        }
    }

    /// Says what has changed since the last time.
    async fn carry(&self, told: &mut HashMap<SecretRef, Option<Refusal>>) {
        let now = self.in_use(self.certs.faults());
        let gone: Vec<_> =
            told.keys().filter(|secret| !now.iter().any(|fault| fault.secret == **secret)).cloned().collect();
        for secret in gone {
            told.remove(&secret);
            self.faults.set(Finder::Certificates, subject(&secret), Vec::new());
            self.tell(&secret, None).await;
        }
        for fault in now {
            self.faults.set(Finder::Certificates, subject(&fault.secret), faults_of(&fault));
            let refusal = fault.refused.as_ref().map(|refused| refusal(&fault.secret, refused));
            let before = told.insert(fault.secret.clone(), refusal.clone());
            if before.flatten() != refusal {
                self.tell(&fault.secret, refusal).await;
            }
        }
    }

    /// Those of Secrets that a server name is bound to.
    fn in_use(&self, mut faults: Vec<FaultInfo>) -> Vec<FaultInfo> {
        if faults.is_empty() {
            return faults;
        }
        let wrong: HashSet<_> = faults.iter().map(|fault| fault.secret.clone()).collect();
        let tables = self.tables.load();
        let bound = tables.tls.iter().map(|(_, bound)| bound.secret).filter(|secret| wrong.contains(*secret));
        let mut used: HashSet<_> = bound.cloned().collect();
        used.extend((self.default)());
        faults.retain(|fault| used.contains(&fault.secret));
        faults
    }

    async fn tell(&self, secret: &SecretRef, refusal: Option<Refusal>) {
        // It ends with the translator, and then with the process.
        let _ = timeout(PERIOD, self.verdicts.send((object_ref(secret), refusal))).await;
    }
}

fn subject(secret: &SecretRef) -> Subject {
    Subject::Object(ObjectKey { kind: ObjectKind::Secret, object: object_ref(secret) })
}

fn refusal(secret: &SecretRef, refused: &Refused) -> Refusal {
    let has_last_good = !matches!(refused.serving, Serving::Nothing { .. });
    Refusal { why: without_name(secret, &xds::causes(&refused.error)).into(), has_last_good }
}

/// All that is wrong with a Secret.
fn faults_of(fault: &FaultInfo) -> Vec<Fault> {
    let secret = &fault.secret;
    let of = |field: Option<Field>, message: String, severity| Fault {
        subject: subject(secret),
        field: field.map(|field| format!("data.{field}")),
        message,
        severity,
    };
    let mut faults = Vec::new();
    if let Some(Refused { error, serving, .. }) = &fault.refused {
        let field = if let CertError::Secret(error) = error { error.field() } else { None };
        let why = without_name(secret, &xds::causes(error));
        faults.push(of(field, format!("{why}; {}", in_words(serving)), Severity::Error));
    }
    let now = SystemTime::now();
    let holds = |warning: &&Warning| !matches!(warning, Warning::NotYetValid { not_before, .. } if *not_before <= now);
    faults.extend(
        fault
            .warnings
            .iter()
            .filter(holds)
            .map(|warning| of(None, without_name(secret, &warning.to_string()), Severity::Warning)),
    );
    faults
}

/// What is served instead.
pub(crate) fn in_words(serving: &Serving) -> String {
    match serving {
        Serving::LastGood { version: Some(version) } => format!("the last good version, {version}, is served"),
        Serving::LastGood { version: None } => "the last good version is served".to_owned(),
        Serving::SealedCopy => "the sealed copy of the last good version is served".to_owned(),
        Serving::Nothing { has_sealed_tier: true } => {
            "nothing is served: no earlier version is in memory, nor sealed on disk".to_owned()
        }
        _ => {
            "nothing is served: no earlier version is in memory, and none is kept on disk without sealed-dir".to_owned()
        }
    }
}

/// The subject says which Secret it is.
fn without_name(secret: &SecretRef, text: &str) -> String {
    text.strip_prefix(&format!("secret {secret}: ")).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use certstore::testing::{ScriptedSource, TestCa, TestSecret};
    use certstore::{SniPattern, TlsBinding};
    use xds::resource::Visibility;

    use super::*;

    const NAME: &str = "web.shop.test";

    struct World {
        source: Arc<ScriptedSource>,
        ca: TestCa,
        carrier: Carrier,
        verdicts: mpsc::Receiver<Judged>,
        told: HashMap<SecretRef, Option<Refusal>>,
    }

    impl World {
        fn new() -> Self {
            let source = ScriptedSource::new();
            let (verdict_sender, verdicts) = mpsc::channel(QUEUE);
            let carrier = Carrier {
                certs: CertStore::builder(source.clone()).build(),
                tables: Tables::default(),
                faults: Faults::default(),
                verdicts: verdict_sender,
                default: Box::new(|| None),
            };
            Self { source, ca: TestCa::new(), carrier, verdicts, told: HashMap::new() }
        }

        fn bind(&self, is_bound: bool) {
            let mut tables = (**self.carrier.tables.load()).clone();
            let pattern = SniPattern::try_from(NAME).unwrap();
            if is_bound {
                tables.tls.insert(pattern, TlsBinding { secret: web(), policy: Visibility::External });
            } else {
                tables.tls.remove(&pattern);
            }
            self.carrier.tables.store(Arc::new(tables));
        }

        async fn load(&self, content: TestSecret) {
            self.source.put(&web(), content);
            self.carrier.certs.secret_removed(&web());
            let _ = self.carrier.certs.certificate(&web(), NAME).await;
        }

        /// What is said now, and to the translator.
        async fn carry(&mut self) -> (Vec<String>, Vec<Judged>) {
            self.carrier.carry(&mut self.told).await;
            let faults = self.carrier.faults.all().iter().map(ToString::to_string).collect();
            (faults, std::iter::from_fn(|| self.verdicts.try_recv().ok()).collect())
        }
    }

    fn web() -> SecretRef {
        SecretRef::new("shop", "web")
    }

    #[tokio::test]
    async fn a_refused_secret_is_a_fault_until_it_heals() {
        let mut world = World::new();
        world.bind(true);
        world.load(TestSecret { key: String::new(), ..world.ca.issue(&[NAME]) }).await;
        let (faults, verdicts) = world.carry().await;
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("Secret shop/web: data.tls.key: tls.key holds nothing, expected"), "{faults:?}");
        assert!(faults[0].contains("none is kept on disk without sealed-dir"), "{faults:?}");
        let [(object, Some(refusal))] = &verdicts[..] else { panic!("{verdicts:?}") };
        assert_eq!((object.to_string().as_str(), refusal.has_last_good), ("shop/web", false));
        assert_eq!(world.carry().await.1, [], "it is said once");
        world.load(world.ca.issue(&[NAME])).await;
        let (faults, verdicts) = world.carry().await;
        assert_eq!((faults.len(), verdicts), (0, vec![(object.clone(), None)]));
    }

    #[tokio::test]
    async fn a_secret_that_no_server_name_is_bound_to_is_no_fault() {
        let mut world = World::new();
        world.load(TestSecret { key: String::new(), ..world.ca.issue(&[NAME]) }).await;
        assert_eq!(world.carry().await, (vec![], vec![]));
        world.bind(true);
        assert_eq!(world.carry().await.0.len(), 1);
        world.bind(false);
        assert_eq!(world.carry().await.0.len(), 0);
        world.carrier.default = Box::new(|| Some(web()));
        assert_eq!(world.carry().await.0.len(), 1);
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_served_certificate_is_a_warning_and_no_verdict() {
        let mut world = World::new();
        world.bind(true);
        world.load(world.ca.leaf(&[NAME]).expired().issue()).await;
        let (faults, verdicts) = world.carry().await;
        assert_eq!(faults, ["Secret shop/web: the certificate expired at 2002-01-01T00:00:00Z"]);
        assert_eq!((verdicts, world.carrier.faults.all()[0].severity), (vec![], Severity::Warning));
    }
}
