//! Where the documents of a YAML file begin and end, found without parsing them.
//!
//! A line that starts with `---` or `...` and goes on with white space (or ends) is a marker wherever it stands, also
//! inside a block scalar (YAML 1.2.2 §9.1.2). So an error stays in its document, and one document can be read again by
//! its byte range alone.

use std::ops::Range;

/// One document of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// Counted from 1.
    pub(super) number: u32,
    /// The line of the file on which it begins, counted from 1.
    pub(super) line: u32,
    /// Its bytes, with the `---` that opens it.
    pub(super) range: Range<usize>,
    /// There is nothing in it but white space, comments and markers.
    pub(super) blank: bool,
}

/// Splits a text into its documents.
pub(super) fn split(text: &str) -> Splitter<'_> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    Splitter { text, at: start, line: 1, count: 0 }
}

/// Yields the documents of a text, in order.
#[derive(Debug)]
pub(super) struct Splitter<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    count: u32,
}

/// What a line means for the borders between documents.
enum Line {
    Start { content: bool },
    End,
    Directive,
    Blank,
    Content,
}

/// The document that is being collected.
struct Open {
    start: usize,
    line: u32,
    explicit: bool,
    directive: bool,
    content: bool,
}

impl Open {
    fn at(start: usize, line: u32) -> Self {
        Self { start, line, explicit: false, directive: false, content: false }
    }

    /// True when a `---` here opens this very document instead of ending it.
    fn is_prologue(&self) -> bool {
        !self.explicit && !self.content
    }
}

impl Iterator for Splitter<'_> {
    type Item = Document;

    fn next(&mut self) -> Option<Document> {
        let mut open = Open::at(self.at, self.line);
        while self.at < self.text.len() {
            let rest = &self.text[self.at..];
            let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
            match classify(&rest[..length]) {
                Line::Start { .. } if !open.is_prologue() => return Some(self.close(&open)),
                Line::Start { content } => {
                    if !open.directive {
                        open = Open::at(self.at, self.line);
                    }
                    open.explicit = true;
                    open.content = content;
                }
                Line::End => {
                    let document = (!open.is_prologue()).then(|| self.close(&open));
                    self.advance(length);
                    if document.is_some() {
                        return document;
                    }
                    open = Open::at(self.at, self.line);
                    continue;
                }
                Line::Directive if open.is_prologue() => open.directive = true,
                Line::Directive | Line::Content => open.content = true,
                Line::Blank => {}
            }
            self.advance(length);
        }
        (!open.is_prologue() || open.directive).then(|| self.close(&open))
    }
}

impl Splitter<'_> {
    fn advance(&mut self, length: usize) {
        self.at += length;
        self.line = self.line.saturating_add(1);
    }

    /// Ends the open document before the present line.
    fn close(&mut self, open: &Open) -> Document {
        self.count = self.count.saturating_add(1);
        Document {
            number: self.count,
            line: open.line,
            range: open.start..self.at,
            blank: !open.content && !open.directive,
        }
    }
}

fn classify(line: &str) -> Line {
    if let Some(rest) = marker(line, "---") {
        let rest = rest.trim();
        return Line::Start { content: !rest.is_empty() && !rest.starts_with('#') };
    }
    if marker(line, "...").is_some() {
        return Line::End;
    }
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        Line::Blank
    } else if line.starts_with('%') {
        Line::Directive
    } else {
        Line::Content
    }
}

/// What follows a marker on its line, if the line begins with it.
fn marker<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(marker)?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(number, first line, text, blank)` of every document.
    fn documents(text: &str) -> Vec<(u32, u32, &str, bool)> {
        split(text).map(|d| (d.number, d.line, &text[d.range.clone()], d.blank)).collect()
    }

    #[test]
    fn a_file_without_markers_is_one_document() {
        assert_eq!(documents("a: 1\nb: 2\n"), [(1, 1, "a: 1\nb: 2\n", false)]);
    }

    #[test]
    fn each_marker_begins_a_document_that_knows_its_line() {
        assert_eq!(
            documents("# head\n---\na: 1\n--- # two\nb: 2"),
            [(1, 2, "---\na: 1\n", false), (2, 4, "--- # two\nb: 2", false)]
        );
    }

    #[test]
    fn content_may_follow_the_marker() {
        assert_eq!(documents("--- {a: 1}\n---\tb\n").len(), 2);
        assert!(documents("--- {a: 1}\n").iter().all(|d| !d.3));
    }

    #[test]
    fn a_marker_ends_a_block_scalar_at_its_first_column_only() {
        assert_eq!(documents("a: |\n  ---\n  x\n").len(), 1);
        assert_eq!(documents("a: |\n---\nx\n").len(), 2);
    }

    #[test]
    fn longer_dashes_are_no_marker() {
        assert_eq!(documents("a: |\n  x\n----\n---x\n").len(), 1);
    }

    #[test]
    fn three_dots_end_a_document() {
        assert_eq!(documents("a: 1\n...\n# nothing\n...\nb: 2\n"), [(1, 1, "a: 1\n", false), (2, 5, "b: 2\n", false)]);
    }

    #[test]
    fn directives_belong_to_the_document_they_precede() {
        assert_eq!(documents("%YAML 1.2\n---\na: 1\n"), [(1, 1, "%YAML 1.2\n---\na: 1\n", false)]);
    }

    #[test]
    fn documents_without_content_are_blank_and_counted() {
        assert_eq!(
            documents("---\n# nothing\n---\na: 1\n---\n"),
            [(1, 1, "---\n# nothing\n", true), (2, 3, "---\na: 1\n", false), (3, 5, "---\n", true)]
        );
        assert_eq!(documents("\n# only a comment\n"), []);
        assert_eq!(documents(""), []);
    }

    #[test]
    fn windows_line_ends_and_a_byte_order_mark_are_taken() {
        assert_eq!(documents("\u{feff}---\r\na: 1\r\n---\r\nb: 2\r\n").len(), 2);
        assert_eq!(documents("\u{feff}a: 1\n"), [(1, 1, "a: 1\n", false)]);
    }

    #[test]
    fn every_text_is_covered_in_order_without_overlap() {
        let pieces = ["---", "...", "--- ", "\n", "\r\n", "a: 1", " b", "%X", "#", "\u{feff}", "é", "|", "----"];
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let text: String = (0..random.usize(0..14)).map(|_| pieces[random.usize(0..pieces.len())]).collect();
            let mut end = 0;
            for (n, document) in split(&text).enumerate() {
                assert_eq!(document.number as usize, n + 1, "{text:?}");
                assert!(document.range.start >= end && document.range.end <= text.len(), "{text:?}");
                assert!(text.is_char_boundary(document.range.start) && text.is_char_boundary(document.range.end));
                assert_eq!(document.line as usize, 1 + text[..document.range.start].matches('\n').count(), "{text:?}");
                end = document.range.end;
            }
        }
    }
}
