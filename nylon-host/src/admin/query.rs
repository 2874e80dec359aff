//! The query of a request, as its endpoint knows it.

use std::borrow::Cow;

use super::answer::Refused;
use super::endpoint::Endpoint;

/// Parameters by their names.
#[derive(Debug)]
pub(super) struct Query<'r>(Vec<(Cow<'r, str>, Cow<'r, str>)>);

impl<'r> Query<'r> {
    /// # Errors
    /// A parameter that the endpoint does not have.
    pub(super) fn parse(text: Option<&'r str>, endpoint: &Endpoint) -> Result<Self, Refused> {
        let all: Vec<_> = form_urlencoded::parse(text.unwrap_or_default().as_bytes()).collect();
        let known = |name: &str| endpoint.query.iter().any(|(known, _)| *known == name);
        match all.iter().find(|(name, _)| !known(name)) {
            Some((name, _)) => Err(Refused::bad(format!("unknown parameter `{name}`"))),
            None => Ok(Self(all)),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    /// # Errors
    /// It is there and neither `true` nor `false`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Refused> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => Err(Refused::bad(format!("`{name}` is true or false, not `{other}`"))),
        }
    }

    /// # Errors
    /// It is there and no whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, Refused> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Refused::bad(format!("`{name}` is a number, not `{text}`")))
        };
        self.text(name).map(parse).transpose()
    }
}
