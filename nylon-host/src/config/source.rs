//! Where something stands in a configuration file.

use super::diagnostic::{Diagnostic, Severity, Snippet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One configuration file, kept for its messages.
#[derive(Debug)]
pub(super) struct Source {
    /// The file as the user would name it.
    pub(super) name: String,
    pub(super) text: String,
}

/// A piece of text in a configuration file. Cheap to clone.
#[derive(Clone)]
pub struct Location {
    source: Arc<Source>,
    /// Bytes of the file's text; empty for "about here".
    range: Range<usize>,
}

impl Location {
    pub(super) fn new(source: &Arc<Source>, range: Range<usize>) -> Self {
        let end = source.text.floor_char_boundary(range.end);
        let start = source.text.floor_char_boundary(range.start.min(end));
        Self { source: Arc::clone(source), range: start..end }
    }

    /// The place of a line and column, both counted from 1 in characters.
    pub(super) fn at_line(source: &Arc<Source>, line: usize, column: usize) -> Self {
        let mut lines = source.text.split_inclusive('\n');
        let before: usize = lines.by_ref().take(line.saturating_sub(1)).map(str::len).sum();
        let text = lines.next().unwrap_or_default();
        let start: usize =
            text.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>() + before;
        Self::new(source, start..start)
    }

    /// The file, as the user would name it.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.source.text[..self.range.start].matches('\n').count() + 1
    }

    /// The text itself.
    pub(super) fn text(&self) -> &str {
        &self.source.text[self.range.clone()]
    }

    /// The place of `needle` inside this piece, or the whole piece if it stands there escaped.
    pub(super) fn narrow(&self, needle: &str) -> Self {
        let mut narrowed = self.clone();
        if let Some(at) = self.text().find(needle) {
            let start = self.range.start + at;
            narrowed.range = start..start + needle.len();
        }
        narrowed
    }

    /// A message about this place, rendered with its line and a caret.
    pub fn diagnostic(&self, severity: Severity, message: impl Into<String>) -> Diagnostic {
        let text = &self.source.text;
        let line_start = text[..self.range.start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let visible = self.range.start - line_start..self.range.end - line_start;
        let marked = line.get(visible.start..visible.end.min(line.len())).unwrap_or_default();
        Diagnostic {
            severity,
            file: self.source.name.clone(),
            snippet: Some(Snippet {
                line: self.line(),
                column: text[line_start..self.range.start].chars().count() + 1,
                length: marked.trim_end().chars().count().max(1),
                source_line: line.to_owned(),
            }),
            message: message.into(),
            help: None,
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file(), self.line())
    }
}

#[cfg(test)]
mod tests {
    use super::{Location, Severity, Source};
    use std::sync::Arc;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source { name: "a.yaml".into(), text: text.into() })
    }

    #[test]
    fn columns_count_characters_and_carets_stay_on_the_line() {
        let source = source("é: x\nkey: |\n  two\n  lines\n");
        let diagnostic = Location::new(&source, 4..5).diagnostic(Severity::Error, "m");
        let snippet = diagnostic.snippet.unwrap();
        assert_eq!((snippet.line, snippet.column, snippet.length), (1, 4, 1));
        let block = Location::new(&source, 15..27).diagnostic(Severity::Error, "m");
        let snippet = block.snippet.unwrap();
        assert_eq!((snippet.line, snippet.column, snippet.length), (3, 3, 3));
    }

    #[test]
    fn a_place_past_the_end_is_the_end() {
        let source = source("a\n");
        let snippet = Location::at_line(&source, 9, 9).diagnostic(Severity::Error, "m").snippet;
        assert_eq!(snippet.unwrap().line, 2);
        assert_eq!(Location::at_line(&source, 1, 1).line(), 1);
    }
}
