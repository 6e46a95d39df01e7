//! The directory source, on real files.

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
