//! The phases of a request, and sets of them.

use nylon_protocol::wire;

/// A step of a request that a plugin may take part in (SPEC.md 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Before the upstream is chosen.
    RequestFilter = wire::PHASE_REQUEST_FILTER,
    /// When response headers exist.
    ResponseFilter = wire::PHASE_RESPONSE_FILTER,
    /// Once per response body piece.
    ResponseBodyFilter = wire::PHASE_RESPONSE_BODY_FILTER,
    /// After the response is complete or failed.
    Logging = wire::PHASE_LOGGING,
    /// Once per request body piece on its way up.
    RequestBodyFilter = wire::PHASE_REQUEST_BODY_FILTER,
}

impl Phase {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 5] = [
        Self::RequestFilter,
        Self::ResponseFilter,
        Self::ResponseBodyFilter,
        Self::Logging,
        Self::RequestBodyFilter,
    ];

    /// Its place in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        usize::from(self.id() - 1)
    }

    /// The phase's number on the wire, 1 ..= 5.
    pub(crate) fn id(self) -> u8 {
        self as u8
    }

    /// The phase's name, as in configuration and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RequestFilter => "request_filter",
            Self::ResponseFilter => "response_filter",
            Self::ResponseBodyFilter => "response_body_filter",
            Self::Logging => "logging",
            Self::RequestBodyFilter => "request_body_filter",
        }
    }
}

/// A set of phases: what a session wants from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct PhaseSet(u32);

impl PhaseSet {
    /// Every phase: what a session that was never asked may want.
    pub(crate) const ALL: Self = Self(0b11_1110);

    /// The set in the `status` of a final REPLY, already checked.
    pub(crate) fn from_wire(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Whether `phase` is in it.
    pub(crate) fn has(self, phase: Phase) -> bool {
        self.0 & (1 << phase.id()) != 0
    }

    /// Whether it is empty.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}
