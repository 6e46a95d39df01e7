//! One file to events.

use std::path::Path;
use std::sync::Arc;

use super::claims::Reading;
use super::document::{self, Found, Text};
use super::file::{self, ReadError};
use super::index::FileId;
use super::record::Place;
use super::report::Report;
use super::split::{Document, split};
use super::worker::{Stopped, Worker, write};
use crate::fault::Subject;
use crate::object::Object;

/// So many objects of other kinds are named in the log; then only their number is.
const MAX_PASSED_OVER: u32 = 1000;

/// More documents than this in one file are not read.
const MAX_DOCUMENTS: u32 = 100_000;

impl Worker {
    /// Reads a file and says what differs. What cannot be read stays as it was.
    pub(super) fn read_path(&mut self, path: &Path) -> Result<(), Stopped> {
        self.counters.file_read();
        self.retry.remove(path);
        let shown: Arc<str> = path.to_string_lossy().into();
        let opened = match file::open(path) {
            Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return self.forget(path),
            opened => opened,
        };
        let text = opened.and_then(|(file, status)| {
            let stamp = file::stamp(&status, &self.read_index().hasher());
            file::read_text(&file, &status, self.options.max_file_bytes).map(|text| (text, stamp))
        });
        match text {
            Ok((text, stamp)) => {
                let Some(file) = self.file_id(path) else { return Ok(()) };
                self.read_file(file, &shown, path, &text)?;
                write(&self.index).set_stamp(file, stamp);
                Ok(())
            }
            Err(error) => {
                // Known all the same, so that its fault ends with it.
                self.file_id(path);
                if let ReadError::Io(_) = &error {
                    self.retry.insert(path.to_owned());
                }
                self.reports.reject(&shown, error.to_string());
                Ok(())
            }
        }
    }

    /// The file at a path; it is added if its folder is known.
    fn file_id(&self, path: &Path) -> Option<FileId> {
        let name = path.file_name()?.to_str()?;
        let mut index = write(&self.index);
        let dir = index.dir(path.parent()?)?;
        Some(index.file(dir, name).unwrap_or_else(|| index.add_file(dir, name)))
    }

    fn read_file(&mut self, file: FileId, shown: &Arc<str>, path: &Path, text: &str) -> Result<(), Stopped> {
        let reading = Reading::new(&self.read_index(), file, Arc::clone(shown));
        let mut pass = Pass { reading, report: Report::default(), stopped: None };
        if text.is_empty() && pass.reading.held_something() {
            // A file is empty for a moment whenever somebody writes it anew.
            pass.reading.keep_all();
            let subject = Subject::Place { path: Arc::clone(shown), document: None, object: None };
            pass.report.reject(subject, None, "is empty: its objects stay in effect; delete the file to remove them");
        }
        if path.file_name().and_then(|name| name.to_str()).is_some_and(file::is_json) {
            let range = 0..text.len();
            self.read_document(
                &mut pass,
                text,
                true,
                &Document { number: 1, line: 1, range, blank: text.trim().is_empty() },
            );
        } else {
            for document in split(text) {
                if document.number > MAX_DOCUMENTS {
                    pass.unreadable(&document, None, format!("is not read: a file may have {MAX_DOCUMENTS} documents"));
                    break;
                }
                self.read_document(&mut pass, text, false, &document);
            }
        }
        if let Some(stopped) = pass.stopped {
            return Err(stopped);
        }
        let outcome = self.claims.finish(&mut write(&self.index), pass.reading);
        self.reports.replace(shown, pass.report);
        self.conclude(outcome)
    }

    fn read_document(&mut self, pass: &mut Pass, text: &str, json: bool, document: &Document) {
        if document.blank || pass.stopped.is_some() {
            return;
        }
        if document.range.len() > self.options.max_document_bytes as usize {
            let limit = self.options.max_document_bytes;
            return pass.unreadable(document, None, format!("is larger than {limit} bytes, the limit for a document"));
        }
        let hasher = self.read_index().hasher();
        let text = Text { text: &text[document.range.clone()], json };
        let place = |item| Place {
            document: document.number,
            item,
            start: u32::try_from(document.range.start).unwrap_or(u32::MAX),
            length: u32::try_from(document.range.len()).unwrap_or(u32::MAX),
        };
        if pass.reading.unchanged(text.fingerprint(&hasher), place(0)) {
            return;
        }
        document::read(text, &hasher, &mut |found| self.take_in(pass, document, found, &place));
    }

    fn take_in(&mut self, pass: &mut Pass, document: &Document, found: Found, place: &impl Fn(u32) -> Place) {
        match found {
            Found::Object { item, fingerprint, mut loaded } => {
                if let Object::Secret(secret) = &mut loaded.object {
                    self.namespaces.share(&mut secret.object.namespace);
                }
                let key = loaded.key.clone();
                let offered =
                    self.claims.offer(&mut write(&self.index), &mut pass.reading, (loaded, fingerprint, place(item)));
                match offered {
                    Ok(Some(event)) => pass.stopped = pass.stopped.or(self.say(event).err()),
                    Ok(None) => {}
                    Err(first) => {
                        let message = format!("is also in document {first} of this file, which is in effect");
                        let subject = pass.reading.subject(document.number, Some(key));
                        pass.reject(subject, message);
                    }
                }
            }
            Found::Broken { key, error } => {
                let subject = pass.reading.subject(document.number, Some(key.clone()));
                pass.reading.keep(key);
                if !pass.report.is_full() {
                    pass.report.parse_error(subject, document.line, error);
                }
            }
            Found::Unreadable(error) => {
                pass.reading.keep_all();
                let subject = pass.reading.subject(document.number, None);
                if !pass.report.is_full() {
                    pass.report.parse_error(subject, document.line, error);
                }
            }
            Found::PassedOver { api_version, kind } => self.pass_over(pass, document, &api_version, &kind),
        }
    }

    /// Says that an object of another kind is not read; not any number of times.
    fn pass_over(&mut self, pass: &Pass, document: &Document, api_version: &str, kind: &str) {
        self.passed_over = self.passed_over.saturating_add(1);
        if self.passed_over < MAX_PASSED_OVER {
            let (path, document) = (&*pass.reading.path, document.number);
            tracing::info!(path, document, api_version, kind, "passed over: a kind that is not read");
        } else if self.passed_over == MAX_PASSED_OVER {
            tracing::info!("passed over {MAX_PASSED_OVER} objects of kinds that are not read; more are not named");
        }
    }
}

/// One reading of a file and what is found wrong.
struct Pass {
    reading: Reading,
    report: Report,
    stopped: Option<Stopped>,
}

impl Pass {
    fn unreadable(&mut self, document: &Document, field: Option<String>, message: String) {
        self.reading.keep_all();
        let subject = self.reading.subject(document.number, None);
        self.report.reject(subject, field, message);
    }

    fn reject(&mut self, subject: Subject, message: String) {
        if !self.report.is_full() {
            self.report.reject(subject, None, message);
        }
    }
}
