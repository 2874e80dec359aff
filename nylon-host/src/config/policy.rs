//! How long a phase may take and what happens when it fails.

use super::diagnostic::Report;
use super::fields::Fields;
use std::time::Duration;

/// Deadline and failure policy of one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long the plugin may take; the time it waits for the host does not count.
    pub timeout: Duration,
    /// What happens to the request when the plugin is late, dead or not there.
    pub on_failure: OnFailure,
}

/// What a failed phase does to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The request fails: 502, 503 or 504, or the response is cut off if it has begun.
    Closed,
    /// The request or response goes on without this plugin.
    Open,
}

/// The policies of every phase of one use of a plugin: those of the middleware item, else of the
/// plugin's phase, else of the plugin, else 5 s and closed (open for logging).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhasePolicies {
    /// Phase 1.
    pub request_filter: Policy,
    /// Phase 2.
    pub response_filter: Policy,
    /// Phase 3.
    pub response_body_filter: Policy,
    /// Phase 4.
    pub logging: Policy,
    /// Phase 5.
    pub request_body_filter: Policy,
}

impl Default for PhasePolicies {
    fn default() -> Self {
        let closed = Policy { timeout: Duration::from_secs(5), on_failure: OnFailure::Closed };
        Self {
            request_filter: closed,
            response_filter: closed,
            response_body_filter: closed,
            logging: Policy { on_failure: OnFailure::Open, ..closed },
            request_body_filter: closed,
        }
    }
}

/// The keys `timeout` and `on_failure`, where they are given.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PolicyChange {
    timeout: Option<Duration>,
    on_failure: Option<OnFailure>,
}

impl PolicyChange {
    pub(super) fn read(fields: &mut Fields<'_>, report: &mut Report) -> Self {
        let choices = [("closed", OnFailure::Closed), ("open", OnFailure::Open)];
        Self {
            timeout: fields.duration("timeout", report),
            on_failure: fields.choice("on_failure", &choices, report).map(|found| found.value),
        }
    }

    fn apply(self, policy: &mut Policy) {
        policy.timeout = self.timeout.unwrap_or(policy.timeout);
        policy.on_failure = self.on_failure.unwrap_or(policy.on_failure);
    }
}

impl PhasePolicies {
    /// These policies with `change` applied to every phase.
    pub(super) fn with(mut self, change: PolicyChange) -> Self {
        for (_, policy) in self.by_key() {
            change.apply(policy);
        }
        self
    }

    /// Reads the keys `timeout`, `on_failure` and `phases` of a plugin.
    pub(super) fn read(fields: &mut Fields<'_>, report: &mut Report) -> Self {
        let mut policies = Self::default().with(PolicyChange::read(fields, report));
        if let Some(mut phases) = fields.map("phases", "phase list", report) {
            for (key, policy) in policies.by_key() {
                if let Some(mut phase) = phases.map(key, "phase", report) {
                    PolicyChange::read(&mut phase, report).apply(policy);
                    phase.finish(report);
                }
            }
            phases.finish(report);
        }
        policies
    }

    fn by_key(&mut self) -> [(&'static str, &mut Policy); 5] {
        [
            ("request_filter", &mut self.request_filter),
            ("request_body_filter", &mut self.request_body_filter),
            ("response_filter", &mut self.response_filter),
            ("response_body_filter", &mut self.response_body_filter),
            ("logging", &mut self.logging),
        ]
    }
}
