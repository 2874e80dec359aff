//! The names of headers a plugin sets: the same few with every request, so they are made once.

use std::sync::{PoisonError, RwLock};

use http::HeaderName;
use rustc_hash::FxHashMap;

use crate::error::Failure;

/// Names kept for one item of a chain; what comes after them is made anew each time.
const KEPT: usize = 64;

/// Names by the bytes plugins give them in, in any case.
#[derive(Debug, Default)]
pub(super) struct HeaderNames(RwLock<FxHashMap<Box<[u8]>, HeaderName>>);

impl HeaderNames {
    /// The header name that `bytes` are.
    ///
    /// # Errors
    /// [`Failure::Refused`] when they are none (RFC 9110 section 5.1).
    pub(super) fn get(&self, bytes: &[u8]) -> Result<HeaderName, Failure> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(bytes).cloned();
        if let Some(name) = known {
            return Ok(name);
        }
        let name = HeaderName::from_bytes(bytes).map_err(|_| {
            Failure::Refused(format!("`{}` is no header name", bytes.escape_ascii()))
        })?;
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() < KEPT {
            names.insert(bytes.into(), name.clone());
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_each_time_and_what_is_none_is_refused() {
        let names = HeaderNames::default();
        for _ in 0..2 {
            assert_eq!(names.get(b"X-Plan").expect("a name"), "x-plan");
            assert!(names.get(b"x plan").is_err());
        }
        assert_eq!(names.0.read().unwrap().len(), 1, "only what is one is kept");
    }

    #[test]
    fn a_plugin_that_makes_names_up_fills_no_memory() {
        let names = HeaderNames::default();
        for n in 0..1000 {
            let name = format!("x-{n}");
            assert_eq!(names.get(name.as_bytes()).expect("a name"), name.as_str());
        }
        assert_eq!(names.0.read().unwrap().len(), KEPT);
    }
}
