//! The account of one request: which plugins failed it, for the log, the response's header and the access log.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::access::Access;
use super::chain::PluginStep;
use crate::error::Failure;
use crate::lane::Lane;
use crate::request_id::RequestId;
use crate::session::Phase;

/// The header that names the plugins that failed on the way of a response.
pub(crate) const FAILURE_HEADER: HeaderName = HeaderName::from_static("x-nylon-plugin-failure");

/// What stands for itself in a name of that header.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// What is told of one request; of most there is nothing to tell.
#[derive(Debug)]
pub(crate) struct Account {
    pub(super) request_id: RequestId,
    failed: Mutex<Vec<Failed>>,
    /// Phases that were run once more.
    retries: AtomicU32,
    /// The request's line of the access log, written when nobody holds the account any more.
    access: Option<Access>,
}

/// A plugin that failed the request.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) plugin: String,
    pub(super) entry: String,
    pub(super) phase: &'static str,
    pub(super) reason: &'static str,
    /// `pass` or `fail`.
    pub(super) action: &'static str,
}

impl Account {
    pub(super) fn new(request_id: RequestId, access: Option<Access>) -> Self {
        Self { request_id, failed: Mutex::default(), retries: AtomicU32::new(0), access }
    }

    /// Where the access log's line comes together, if there is to be one.
    pub(crate) fn access(&self) -> Option<&Access> {
        self.access.as_ref()
    }

    /// Counts and logs that `step` failed in `phase`, and remembers it if that is the plugin's doing.
    pub(super) fn failed(
        &self,
        step: &PluginStep,
        phase: Phase,
        failure: &Failure,
        passed: bool,
        lane: Option<&Lane>,
    ) {
        let action = if passed { "pass" } else { "fail" };
        self.log(step, phase, failure, action, lane);
        if failure.is_of_plugin() {
            let (plugin, entry) = (step.item.plugin.clone(), step.item.entry.clone());
            let (phase, reason) = (phase.name(), failure.reason());
            self.lock().push(Failed { plugin, entry, phase, reason, action });
        }
    }

    /// Counts and logs that `step` failed in `phase` on `lane`, and is run once more.
    pub(super) fn retried(&self, step: &PluginStep, phase: Phase, failure: &Failure, lane: &Lane) {
        step.plugin.board.metrics.retried(phase);
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.log(step, phase, failure, "retry", Some(lane));
    }

    fn log(
        &self,
        step: &PluginStep,
        phase: Phase,
        failure: &Failure,
        action: &'static str,
        lane: Option<&Lane>,
    ) {
        step.plugin.board.metrics.failed(phase, failure);
        let (plugin, entry) = (step.item.plugin.as_str(), step.item.entry.as_str());
        let (phase, reason) = (phase.name(), failure.reason());
        let mut id = uuid::Uuid::encode_buffer();
        tracing::warn!(
            plugin, entry, phase, reason, %failure, action, request_id = self.request_id.shown(&mut id),
            worker = lane.map(|lane| lane.peer.pid),
            generation = lane.map(|lane| lane.peer.generation),
            "failed",
        );
    }

    /// Adds what failed so far to the headers of the response, a value for each.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        for failed in &*self.lock() {
            if let Ok(value) = HeaderValue::from_str(&failed.text()) {
                headers.append(FAILURE_HEADER, value);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Failed>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(access) = &self.access {
            let failed = self.failed.get_mut().unwrap_or_else(PoisonError::into_inner);
            access.log(&self.request_id, failed, *self.retries.get_mut());
        }
    }
}

impl Failed {
    /// `authz/check; phase=request_filter; reason=timeout; action=fail`.
    fn text(&self) -> String {
        let Self { plugin, entry, phase, reason, action } = self;
        let [plugin, entry] = [plugin, entry].map(|name| utf8_percent_encode(name, PLAIN));
        let mut text = String::new();
        let _ = write!(text, "{plugin}/{entry}; phase={phase}; reason={reason}; action={action}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Failed;

    #[test]
    fn a_name_ends_no_part_of_the_header() {
        let failed = Failed {
            plugin: "a/b; x\u{f6}".into(),
            entry: "check-1.b".into(),
            phase: "logging",
            reason: "busy",
            action: "pass",
        };
        let text = "a%2Fb%3B%20x%C3%B6/check-1.b; phase=logging; reason=busy; action=pass";
        assert_eq!(failed.text(), text);
    }
}
