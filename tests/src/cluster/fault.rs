//! How the API misbehaves: rules that can be added and taken back while it runs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::kind::Kind;
use super::request::{ApiRequest, Verb};

mod plan;

pub use plan::{Distortion, End, Plan, Refusal};

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum Fault {
    /// The answer comes late.
    Delay {
        /// By this long.
        #[serde(rename = "millis", deserialize_with = "millis")]
        by: Duration,
    },
    /// The answer is this status.
    Status {
        /// 429, 500, 503, …
        code: u16,
        /// `Retry-After`.
        #[serde(default)]
        retry_after_seconds: Option<u32>,
    },
    /// The connection is reset instead of an answer.
    Reset,
    /// There is never an answer.
    Stall,
    /// The connection is reset after this many bytes of the answer's body.
    ResetAfter {
        /// How many.
        bytes: u64,
    },
    /// A watch ends.
    DropWatch {
        /// After this many events; bookmarks don't count.
        #[serde(default)]
        events: Option<u64>,
        /// After this long.
        #[serde(default, rename = "millis", deserialize_with = "optional_millis")]
        after: Option<Duration>,
        /// By a reset; otherwise as a watch ends whose time is over.
        #[serde(default)]
        reset: bool,
    },
    /// A watch, or a list's page, is told that its version is no longer known: 410.
    Gone,
    /// A watch gets an error event and ends.
    ErrorEvent {
        /// After this many events.
        #[serde(default)]
        events: u64,
        /// The code in the Status.
        code: u16,
    },
    /// A watch gets events otherwise than they happened.
    Distort {
        /// How.
        how: Distortion,
    },
}

/// Which requests a fault is about, and which of them in turn. The default: every one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Matcher {
    /// Only these verbs, if there are any.
    pub verbs: Vec<Verb>,
    /// Only these kinds, if there are any; in JSON as `secrets` or `ingresses.networking.k8s.io`.
    pub kinds: Vec<Kind>,
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only the object of this name.
    pub name: Option<String>,
    /// Only the pages after the first of a list.
    pub continued: bool,
    /// Not the first so many that match.
    pub skip: u64,
    /// No more than this many.
    pub times: Option<u64>,
}

/// A fault and when it strikes.
#[derive(Clone, Debug, Deserialize)]
pub struct Rule {
    /// When.
    #[serde(default, rename = "match")]
    pub when: Matcher,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
}

/// Identifies a rule that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RuleId(pub u64);

/// The rules in force. Those that match a request work together: delays add up, and the first refusal counts.
#[derive(Debug, Default)]
pub struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    rules: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    id: RuleId,
    rule: Rule,
    matched: u64,
    struck: u64,
}

impl Rule {
    /// A fault for every request with this verb about this kind.
    pub fn on(verb: Verb, kind: Kind, fault: Fault) -> Self {
        Self { when: Matcher { verbs: vec![verb], kinds: vec![kind], ..Matcher::default() }, fault }
    }

    /// A fault for every request.
    pub fn on_all(fault: Fault) -> Self {
        Self { when: Matcher::default(), fault }
    }

    /// Only for the object of this name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.when.name = Some(name.to_owned());
        self
    }

    /// Only in this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.when.namespace = Some(namespace.to_owned());
        self
    }

    /// Not the first so many requests.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.when.skip = count;
        self
    }

    /// No more than so many requests.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.when.times = Some(count);
        self
    }

    /// Only pages after the first.
    #[must_use]
    pub fn continued(mut self) -> Self {
        self.when.continued = true;
        self
    }
}

impl Faults {
    /// Puts a rule into force.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut inner = self.lock();
        let id = RuleId(inner.next);
        inner.next += 1;
        inner.rules.push(Active { id, rule, matched: 0, struck: 0 });
        id
    }

    /// Takes a rule back.
    pub fn remove(&self, id: RuleId) {
        self.lock().rules.retain(|active| active.id != id);
    }

    /// Takes all rules back.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// How often a rule has struck.
    pub fn struck(&self, id: RuleId) -> u64 {
        self.lock().rules.iter().find(|active| active.id == id).map_or(0, |active| active.struck)
    }

    /// What happens to a request.
    pub fn plan(&self, request: &ApiRequest) -> Plan {
        let mut plan = Plan::default();
        for active in &mut self.lock().rules {
            if active.strikes(request) {
                plan.add(&active.rule.fault);
            }
        }
        plan
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    fn strikes(&mut self, request: &ApiRequest) -> bool {
        let when = &self.rule.when;
        if !when.suits(request) {
            return false;
        }
        self.matched += 1;
        let strikes = self.matched > when.skip && when.times.is_none_or(|times| self.struck < times);
        self.struck += u64::from(strikes);
        strikes
    }
}

impl Matcher {
    fn suits(&self, request: &ApiRequest) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(&request.verb))
            && (self.kinds.is_empty() || self.kinds.contains(&request.kind))
            && (self.namespace.is_none() || self.namespace == request.namespace)
            && (self.name.is_none() || self.name == request.name)
            && (!self.continued || !request.query.text("continue").is_empty())
    }
}

fn millis<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    u64::deserialize(input).map(Duration::from_millis)
}

fn optional_millis<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(input)?.map(Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    fn get_secret(name: &str) -> ApiRequest {
        let uri = format!("/api/v1/namespaces/ns/secrets/{name}").parse().unwrap();
        ApiRequest::parse(&Method::GET, &uri, &HeaderMap::new()).unwrap()
    }

    #[test]
    fn a_rule_strikes_the_requests_in_turn_that_it_names() {
        let faults = Faults::default();
        let id = faults.add(Rule::on(Verb::Get, Kind::Secret, Fault::Reset).name("a").skip(1).times(2));
        let struck: Vec<bool> = ["a", "b", "a", "a", "a"]
            .into_iter()
            .map(|name| faults.plan(&get_secret(name)).refusal == Some(Refusal::Reset))
            .collect();
        assert_eq!(struck, [false, false, true, true, false]);
        assert_eq!(faults.struck(id), 2);
    }

    #[test]
    fn rules_can_be_read_from_json() {
        let rule: Rule = serde_json::from_str(
            r#"{"match": {"verbs": ["get"], "kinds": ["secrets"]}, "fault": "status", "code": 429, "retry_after_seconds": 2}"#,
        )
        .unwrap();
        assert_eq!(rule.fault, Fault::Status { code: 429, retry_after_seconds: Some(2) });
        assert_eq!(rule.when.kinds, [Kind::Secret]);
        let rule: Rule = serde_json::from_str(r#"{"fault": "drop-watch", "millis": 5}"#).unwrap();
        let after = Some(Duration::from_millis(5));
        assert_eq!(rule.fault, Fault::DropWatch { events: None, after, reset: false });
    }
}
