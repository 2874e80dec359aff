//! What can go wrong, and whose move is next.

use std::io;

/// A plugin could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program is not there, or cannot be executed.
    #[error("plugin `{plugin}`: cannot run {program}: {source}")]
    Spawn {
        /// Name of the plugin.
        plugin: String,
        /// What was to be run.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It ran, and never became a worker.
    #[error("plugin `{plugin}`: {why}")]
    Handshake {
        /// Name of the plugin.
        plugin: String,
        /// What happened, and what to do.
        why: String,
        /// Whether it will be the same next time.
        permanent: bool,
    },
    /// It cannot be run as it is specified.
    #[error("plugin `{plugin}`: {why}")]
    Spec {
        /// Name of the plugin.
        plugin: String,
        /// What is wrong with its specification.
        why: &'static str,
    },
    /// It is not run: the program is not the one that was named by its hash, or its sandbox cannot be had.
    #[error("plugin `{plugin}`: {why}")]
    Refused {
        /// Name of the plugin.
        plugin: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The host itself lacks something: descriptors, memory, a runtime.
    #[error("{what}: {source}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl StartError {
    /// Whether starting the same program again can help.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::Handshake { permanent: true, .. } | Self::Spec { .. } | Self::Refused { .. }
        )
    }
}

/// Why a host did not start: every plugin that could not be started, one per line.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct StartErrors(Vec<StartError>);

fn lines(errors: &[StartError]) -> String {
    errors.iter().map(StartError::to_string).collect::<Vec<_>>().join("\n")
}

impl StartErrors {
    /// All of them, in the order of the plugins; at least one.
    pub fn as_slice(&self) -> &[StartError] {
        &self.0
    }
}

impl From<Vec<StartError>> for StartErrors {
    fn from(errors: Vec<StartError>) -> Self {
        Self(errors)
    }
}

impl From<StartError> for StartErrors {
    fn from(error: StartError) -> Self {
        Self(vec![error])
    }
}

impl IntoIterator for StartErrors {
    type Item = StartError;
    type IntoIter = std::vec::IntoIter<StartError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What an operator or a reload asked for was not done; everything is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no such plugin.
    #[error("there is no plugin `{0}`")]
    UnknownPlugin(String),
    /// The workers of the new build did not become ready.
    #[error(transparent)]
    NotStarted(#[from] StartError),
    /// It was given up before it was ready: the plugin was drained or stopped.
    #[error("given up before it was ready")]
    Abandoned,
    /// Another build is on its way into service.
    #[error("another upgrade, restart or reload of this plugin is under way")]
    Replacing,
    /// The plugin never served: there is nothing to start anew.
    #[error("the plugin has never served")]
    NothingServes,
    /// There was no upgrade to take back.
    #[error("there is no earlier build to go back to")]
    NoPrevious,
    /// The plugin is being removed, or the host stops.
    #[error("the plugin is stopping")]
    Gone,
}

/// A run of a handler that gave no result. Nothing of it is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No worker of the plugin is ready: 503.
    #[error("no worker is ready")]
    NotReady,
    /// All workers have as much to do as they may: 503.
    #[error("all workers are busy")]
    Busy,
    /// As many requests wait for the plugin as may, [`crate::Limits::queue`]: 503.
    #[error("too many requests at a time: {0} wait for the plugin already (limits.queue)")]
    QueueFull(u32),
    /// The request waited so long for its turn in the plugin, [`crate::Limits::queue_wait`], and did not get it: 503.
    #[error(
        "too many requests at a time: waited {0:?} in vain for a turn in the plugin (limits.queue_wait)"
    )]
    QueueWait(std::time::Duration),
    /// The handler was not done in time: 504.
    #[error("no answer in time")]
    Late,
    /// The worker died or was retired while the handler ran: 502.
    #[error("the worker is gone: {0}")]
    Crashed(String),
    /// The handler panicked or ended its goroutine: 502.
    #[error("the handler failed: {0}")]
    Panicked(String),
    /// The plugin has no such entry: 500.
    #[error("the plugin has no entry `{0}`")]
    UnknownEntry(String),
    /// The plugin asked for something this host does not know: 500.
    #[error("unknown method {0}")]
    UnknownMethod(u32),
    /// What the plugin wants applied is not allowed, and was refused as a whole: 502.
    #[error("refused: {0}")]
    Refused(String),
    /// The client's body is over the limit for RawBody: 413.
    #[error("request body over {0} bytes")]
    BodyTooLarge(usize),
    /// A plugin service said NEXT: there is nowhere to go on to. 500.
    #[error("{0}")]
    NoAnswer(String),
    /// The client went away.
    #[error("the client left")]
    ClientGone,
}

impl Failure {
    /// The status a client sees for it, if no response was begun.
    pub fn status(&self) -> http::StatusCode {
        use http::StatusCode as S;
        match self {
            Self::NotReady | Self::Busy | Self::QueueFull(_) | Self::QueueWait(_) => {
                S::SERVICE_UNAVAILABLE
            }
            Self::Late => S::GATEWAY_TIMEOUT,
            Self::Crashed(_) | Self::Panicked(_) | Self::Refused(_) => S::BAD_GATEWAY,
            Self::UnknownEntry(_) | Self::UnknownMethod(_) | Self::NoAnswer(_) => {
                S::INTERNAL_SERVER_ERROR
            }
            Self::BodyTooLarge(_) => S::PAYLOAD_TOO_LARGE,
            Self::ClientGone => S::BAD_REQUEST,
        }
    }

    /// Every word [`Self::reason`] may answer, for tables and labels made beforehand.
    pub const REASONS: [&str; 13] = [
        "not_ready",
        "busy",
        "queue_full",
        "queue_wait",
        "timeout",
        "crashed",
        "panicked",
        "unknown_entry",
        "unknown_method",
        "refused",
        "body_too_large",
        "no_answer",
        "client_gone",
    ];

    /// It in one word of [`Self::REASONS`]: the same in response headers, logs and metrics, and free of what a plugin
    /// or a client said.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Busy => "busy",
            Self::QueueFull(_) => "queue_full",
            Self::QueueWait(_) => "queue_wait",
            Self::Late => "timeout",
            Self::Crashed(_) => "crashed",
            Self::Panicked(_) => "panicked",
            Self::UnknownEntry(_) => "unknown_entry",
            Self::UnknownMethod(_) => "unknown_method",
            Self::Refused(_) => "refused",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::NoAnswer(_) => "no_answer",
            Self::ClientGone => "client_gone",
        }
    }

    /// Whether it is the plugin's doing: policies, headers and counters of failed plugins pass the others by.
    pub(crate) fn is_of_plugin(&self) -> bool {
        !matches!(self, Self::ClientGone | Self::BodyTooLarge(_))
    }

    /// The code in the error body a client sees (CONTRACT 3).
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotReady | Self::Busy | Self::QueueFull(_) | Self::QueueWait(_) => {
                "PLUGIN_UNAVAILABLE"
            }
            Self::Late => "PLUGIN_TIMEOUT",
            Self::Crashed(_) => "PLUGIN_CRASHED",
            Self::Panicked(_) => "PLUGIN_PANICKED",
            Self::Refused(_) => "PLUGIN_REFUSED",
            Self::UnknownEntry(_) => "CONFIG_ERROR",
            Self::UnknownMethod(_) | Self::NoAnswer(_) => "RUNTIME_ERROR",
            Self::BodyTooLarge(_) => "PAYLOAD_TOO_LARGE",
            Self::ClientGone => "BAD_REQUEST",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn the_words_for_failures_are_a_closed_list() {
        let text = String::new;
        let all = [
            Failure::NotReady,
            Failure::Busy,
            Failure::QueueFull(1),
            Failure::QueueWait(std::time::Duration::ZERO),
            Failure::Late,
            Failure::Crashed(text()),
            Failure::Panicked(text()),
            Failure::UnknownEntry(text()),
            Failure::UnknownMethod(1),
            Failure::Refused(text()),
            Failure::BodyTooLarge(1),
            Failure::NoAnswer(text()),
            Failure::ClientGone,
        ];
        assert_eq!(all.map(|failure| failure.reason()), Failure::REASONS);
    }
}
