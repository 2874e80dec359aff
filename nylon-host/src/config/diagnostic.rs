//! Messages about a configuration, and the report that collects them.

use super::source::Location;
use super::suggest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether a problem stops the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is taken; something in it has no effect.
    Warning,
}

/// One problem: where it is, what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// Whether it stops the start.
    pub severity: Severity,
    /// The file, as the user would name it.
    pub file: String,
    /// The line at fault; `None` when the file as a whole is meant.
    #[serde(flatten)]
    pub snippet: Option<Snippet>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The line a diagnostic is about and the characters it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snippet {
    /// The line, from 1.
    pub line: usize,
    /// The first character, from 1.
    pub column: usize,
    /// How many characters, at least 1.
    pub length: usize,
    /// The text of the line.
    pub source_line: String,
}

impl Diagnostic {
    /// An error about a file as a whole.
    pub fn about_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        let (file, message) = (file.into(), message.into());
        Self { severity: Severity::Error, file, snippet: None, message, help: None }
    }

    /// The same problem, taken more or less seriously.
    pub fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// Adds what to do about it.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{severity}: {}", self.message)?;
        let mut margin = " ".to_owned();
        match &self.snippet {
            None => writeln!(f, "{margin}--> {}", self.file)?,
            Some(Snippet { line, column, length, source_line }) => {
                margin = " ".repeat(line.to_string().len());
                let source_line = source_line.replace('\t', " ");
                let (indent, carets) = (" ".repeat(column - 1), "^".repeat(*length));
                writeln!(f, "{margin}--> {}:{line}:{column}", self.file)?;
                writeln!(f, "{margin} |\n{line} | {source_line}\n{margin} | {indent}{carets}")?;
            }
        }
        match &self.help {
            Some(help) => writeln!(f, "{margin} = help: {help}"),
            None => Ok(()),
        }
    }
}

/// Collects every problem of a configuration.
#[derive(Debug)]
pub(super) struct Report {
    diagnostics: Vec<Diagnostic>,
    lenient: bool,
    /// What lenient mode let pass, in order.
    forgiven: Vec<String>,
}

impl Report {
    pub(super) fn new(lenient: bool) -> Self {
        Self { diagnostics: Vec::new(), lenient, forgiven: Vec::new() }
    }

    pub(super) fn add(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(super) fn error(&mut self, at: &Location, message: impl Into<String>) -> &mut Diagnostic {
        self.push(at.diagnostic(Severity::Error, message))
    }

    pub(super) fn warning(&mut self, at: &Location, message: impl Into<String>) -> &mut Diagnostic {
        self.push(at.diagnostic(Severity::Warning, message))
    }

    /// A key that is understood but changes nothing in this release.
    pub(super) fn no_effect(&mut self, at: &Location, what: &str, help: &str) {
        self.warning(at, format!("{what} has no effect yet")).help = Some(help.to_owned());
    }

    /// An error that lenient mode turns into a warning and a broken route.
    pub(super) fn forgivable(&mut self, at: &Location, message: String) -> &mut Diagnostic {
        if !self.lenient {
            return self.error(at, message);
        }
        let place = at.diagnostic(Severity::Warning, message.clone());
        self.forgiven.push(format!("{message} ({}:{})", at.file(), at.line()));
        self.push(place)
    }

    /// A name that means nothing, with the names that would.
    pub(super) fn unknown<'a>(
        &mut self,
        at: &Location,
        kind: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        let list = match known.as_slice() {
            [] => format!("no {kind}s are defined"),
            names => format!("{kind}s defined: {}", names.join(", ")),
        };
        let help = suggest::sentence(name, &known, list);
        self.forgivable(at, format!("unknown {kind} `{name}`")).help = Some(help);
    }

    /// How much was forgiven so far: hand it to [`Report::fault_since`] after reading an item.
    pub(super) fn mark(&self) -> usize {
        self.forgiven.len()
    }

    /// The first problem that was forgiven since `mark`.
    pub(super) fn fault_since(&self, mark: usize) -> Option<String> {
        self.forgiven.get(mark).cloned()
    }

    /// Everything that was reported, in the order of the files.
    pub(super) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        let place = |diagnostic: &Diagnostic| {
            let snippet = diagnostic.snippet.as_ref();
            (diagnostic.file.clone(), snippet.map(|snippet| (snippet.line, snippet.column)))
        };
        self.diagnostics.sort_by_key(place);
        self.diagnostics
    }

    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    fn push(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        self.diagnostics.push(diagnostic);
        let last = self.diagnostics.len() - 1;
        &mut self.diagnostics[last]
    }
}
