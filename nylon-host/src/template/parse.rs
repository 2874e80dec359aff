//! From the text of a template to its parts.

use super::function::{Expr, Function};
use std::fmt;

/// Why a template does not parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The expression at fault, as it stands in the source (from `${` on).
    pub expression: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template `{}` does not parse: {}", self.expression, self.message)
    }
}

impl std::error::Error for TemplateError {}

/// A part of a template that parses but always expands to the empty string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateWarning {
    /// The expression it stands in, as in the source.
    pub expression: String,
    /// What is unknown.
    pub message: String,
}

pub(super) fn parse(source: &str) -> Result<(Vec<Expr>, Vec<TemplateWarning>), TemplateError> {
    let mut parts = Vec::new();
    let mut warnings = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find("${") {
        push_text(&mut parts, &rest[..start]);
        rest = &rest[start..];
        let Some(end) = rest.find('}') else {
            let message = "the closing `}` is missing".to_owned();
            return Err(TemplateError { expression: rest.to_owned(), message });
        };
        let expression = &rest[..=end];
        let mut parser = Parser { rest: &expression[2..end], notes: Vec::new() };
        match parser.whole() {
            Ok(Expr::Text(text)) => push_text(&mut parts, &text),
            Ok(part) => parts.push(part),
            Err(message) => {
                return Err(TemplateError { expression: expression.to_owned(), message });
            }
        }
        warnings.extend(
            parser
                .notes
                .into_iter()
                .map(|message| TemplateWarning { expression: expression.to_owned(), message }),
        );
        rest = &rest[end + 1..];
    }
    push_text(&mut parts, rest);
    Ok((parts, warnings))
}

fn push_text(parts: &mut Vec<Expr>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Expr::Text(last)) => last.push_str(text),
        _ => parts.push(Expr::Text(text.to_owned())),
    }
}

/// Reads one expression, the inside of one `${..}`.
struct Parser<'a> {
    rest: &'a str,
    /// What is unknown and therefore empty.
    notes: Vec<String>,
}

impl Parser<'_> {
    fn whole(&mut self) -> Result<Expr, String> {
        let expr = self.value()?;
        self.skip_spaces();
        match self.rest.chars().next() {
            None => Ok(expr),
            Some(found) => Err(format!("unexpected `{found}` after the expression")),
        }
    }

    /// An expression in a place that wants a value: an unknown bare word is worth a note.
    fn value(&mut self) -> Result<Expr, String> {
        let expr = self.expr()?;
        Ok(match expr.empty_value() {
            Some(note) => self.empty(note),
            None => expr,
        })
    }

    fn expr(&mut self) -> Result<Expr, String> {
        self.skip_spaces();
        match self.rest.chars().next() {
            None => Err("an expression is missing".to_owned()),
            Some(quote @ ('\'' | '"')) => {
                let inside = &self.rest[1..];
                let end = inside.find(quote).ok_or(format!("the closing {quote} is missing"))?;
                self.rest = &inside[end + 1..];
                Ok(Expr::Text(inside[..end].to_owned()))
            }
            Some(first) if is_word(first) => {
                let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                let word = word.to_owned();
                self.rest = rest;
                if self.accept('(') { self.call(&word) } else { Ok(Expr::Word(word)) }
            }
            Some(found) => Err(format!("expected a name, a function or a quote, not `{found}`")),
        }
    }

    /// The arguments of `name`, after its opening parenthesis.
    fn call(&mut self, name: &str) -> Result<Expr, String> {
        let mut args = Vec::new();
        while !self.accept(')') {
            if !args.is_empty() && !self.accept(',') {
                return Err(match self.rest.chars().next() {
                    None => format!("the closing `)` of `{name}(` is missing"),
                    Some(found) => format!("expected `,` or `)`, not `{found}`"),
                });
            }
            let by_name = Function::wants_name(name, args.len());
            args.push(if by_name { self.expr()? } else { self.value()? });
        }
        Ok(Expr::call(name, args).unwrap_or_else(|note| self.empty(note)))
    }

    fn empty(&mut self, note: String) -> Expr {
        self.notes.push(note);
        Expr::Text(String::new())
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_spaces();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}
