//! Payload templates: `${expr}` inside the string values of a payload.
//!
//! A template is parsed once, when the configuration is loaded, and expanded once per step.
//! An expression is a literal (`'text'` or `"text"`), a bare name (`client_ip`, `host`, `tls`)
//! or a function of expressions (`or(header(x-id), uuid(v7))`). What is missing expands to the
//! empty string, and so does what is unknown: [`Template::parse`] reports the latter as a warning.
//!
//! ```
//! use nylon_host::template::{Template, TemplateContext};
//! # use std::borrow::Cow;
//! # struct Request;
//! # impl TemplateContext for Request {
//! #     fn header(&self, name: &str) -> Option<Cow<'_, str>> {
//! #         (name == "x-user").then_some(Cow::Borrowed("ada"))
//! #     }
//! #     fn query(&self) -> &str { "" }
//! #     fn param(&self, _: &str) -> Option<&str> { None }
//! #     fn client_ip(&self) -> Cow<'_, str> { Cow::Borrowed("192.0.2.1") }
//! #     fn host(&self) -> &str { "example.com" }
//! #     fn method(&self) -> &str { "GET" }
//! #     fn path(&self) -> &str { "/" }
//! #     fn tls(&self) -> bool { false }
//! # }
//! let (greeting, warnings) = Template::parse("hello ${upper(header(x-user))}").unwrap();
//! assert!(warnings.is_empty());
//! assert_eq!(greeting.expand(&Request), "hello ADA");
//! ```

mod context;
mod function;
mod parse;
mod payload;
#[cfg(test)]
mod tests;

pub use context::TemplateContext;
pub use parse::{TemplateError, TemplateWarning};
pub use payload::{PayloadNode, PayloadTemplate};

use function::Expr;

/// A string with expressions in it, ready to be expanded.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Literal text and expressions, in order; adjacent literals are joined.
    parts: Vec<Expr>,
}

impl Template {
    /// Parses `source`. The warnings name what is well formed but will expand to nothing.
    pub fn parse(source: &str) -> Result<(Self, Vec<TemplateWarning>), TemplateError> {
        let (parts, warnings) = parse::parse(source)?;
        Ok((Self { parts }, warnings))
    }

    /// The text of a template without expressions that depend on a request, a clock or a dice.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Expr::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The template with every expression replaced by its value for this request.
    pub fn expand(&self, context: &dyn TemplateContext) -> String {
        self.with(context, str::to_owned)
    }

    /// What `use_it` makes of the expanded template: an expression by itself is not copied for it.
    fn with<T>(&self, context: &dyn TemplateContext, use_it: impl FnOnce(&str) -> T) -> T {
        match self.parts.as_slice() {
            [one] => use_it(&one.value(context)),
            parts => use_it(&parts.iter().map(|part| part.value(context)).collect::<String>()),
        }
    }
}
