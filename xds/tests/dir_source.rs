//! The directory source, on real files.

#![expect(clippy::unwrap_used, reason = "a helper that fails ends its test")]

mod dir_support;

#[path = "dir_source/broken.rs"]
mod broken;
#[path = "dir_source/changes.rs"]
mod changes;
#[path = "dir_source/content.rs"]
mod content;
#[path = "dir_source/duplicates.rs"]
mod duplicates;
#[path = "dir_source/secrets.rs"]
mod secrets;
