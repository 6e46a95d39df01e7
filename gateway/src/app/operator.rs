//! An operator's word about a setting: it stands above the setting until that says something else.

use crate::config::{Effective, GATEWAY_SETTINGS, Setting};

/// The setting that an operator can change while the process runs.
pub(super) const CERT_CACHE: &str = "cert-cache";

/// What an operator has said about the certificate cache.
#[derive(Debug, Default)]
pub(super) struct Word {
    size: Option<String>,
    /// What the setting said then.
    over: Vec<String>,
}

impl Word {
    /// Said while the setting is so; `None` takes an earlier word back.
    pub(super) fn new(size: Option<String>, setting: &Effective) -> Self {
        Self { size, over: setting.values.clone() }
    }

    /// The size that is in effect above the setting as it is now, if any. A setting that has changed ends it.
    pub(super) fn in_effect(&mut self, setting: &Effective) -> Option<String> {
        if self.size.is_some() && self.over != setting.values {
            tracing::info!(setting = CERT_CACHE, "the setting has changed, which ends what an operator had set");
            self.size = None;
        }
        self.size.clone()
    }
}

/// The certificate cache's setting.
pub(super) fn cert_cache() -> &'static Setting {
    GATEWAY_SETTINGS.iter().find(|setting| setting.name == CERT_CACHE).expect("it is in the table")
}

#[cfg(test)]
mod tests {
    use xds::settings::Effect;

    use super::*;
    use crate::config::Origin;

    fn setting(value: &str) -> Effective {
        let values = vec![value.to_owned()];
        Effective { name: CERT_CACHE, values, origin: Origin::File, place: None, effect: Effect::Now, waiting: None }
    }

    #[test]
    fn a_word_lasts_until_the_setting_changes_and_does_not_come_back() {
        let mut word = Word::new(Some("3MiB".to_owned()), &setting("1MiB"));
        assert_eq!(word.in_effect(&setting("1MiB")).as_deref(), Some("3MiB"));
        assert_eq!(word.in_effect(&setting("2MiB")), None);
        assert_eq!(word.in_effect(&setting("1MiB")), None);
    }

    #[test]
    fn a_word_can_be_taken_back() {
        let mut word = Word::new(None, &setting("1MiB"));
        assert_eq!(word.in_effect(&setting("1MiB")), None);
    }
}
