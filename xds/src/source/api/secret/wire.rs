//! A Secret as the API writes it, read in place.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use zeroize::Zeroize;

#[derive(Deserialize)]
pub(super) struct Wire<'a> {
    pub(super) metadata: Metadata,
    #[serde(rename = "type", default)]
    pub(super) secret_type: Option<Arc<str>>,
    #[serde(borrow, default)]
    pub(super) data: Option<Data<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) resource_version: Arc<str>,
}

#[derive(Default, Deserialize)]
pub(super) struct Data<'a> {
    #[serde(rename = "tls.crt", borrow, default)]
    pub(super) chain: Option<Text<'a>>,
    #[serde(rename = "tls.key", borrow, default)]
    pub(super) key: Option<Text<'a>>,
}

/// A value in base64. Where it had to be copied, because something in it is escaped, the copy is wiped when dropped.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            text.zeroize();
        }
    }
}
