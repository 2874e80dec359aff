//! What a peer can do wrong, by name: the names are those of `vectors/reject/`.

/// A broken rule of SPEC.md. The host kills the worker for it, the worker exits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Publish word neither published nor "not yet" (3.7).
    #[error("publish word {found} at position {pos}")]
    Seq {
        /// What stood there.
        found: u32,
        /// The consumer's position.
        pos: u64,
    },
    /// `head` behind its last value or past the producer (3.9).
    #[error("head {found} out of {released}..={pos}")]
    Head {
        /// What stood there.
        found: u32,
        /// Last value taken.
        released: u64,
        /// The producer's position.
        pos: u64,
    },
    /// `arena_head` behind its last value or past the producer (3.9).
    #[error("arena_head {found} out of {released}..={pos}")]
    ArenaHead {
        /// What stood there.
        found: u64,
        /// Last value taken.
        released: u64,
        /// The producer's arena position.
        pos: u64,
    },
    /// A kind this side may not send (3.2).
    #[error("kind {0}")]
    Kind(u8),
    /// Unknown flag bits, or a flag on the wrong kind (3.3).
    #[error("flags {0:#06x}")]
    Flags(u16),
    /// Phase out of range, or not the invocation's (3.4).
    #[error("phase {0}")]
    Phase(u8),
    /// INLINE with more than 88 bytes or an arena position (3.5).
    #[error("inline payload of {len} bytes at {arena_pos}")]
    Inline {
        /// Claimed length.
        len: u32,
        /// Claimed position.
        arena_pos: u64,
    },
    /// Arena payload of 0 or more than A/4 bytes (3.5).
    #[error("arena payload of {0} bytes")]
    Len(u32),
    /// `arena_pos` is not where the bump rule puts it (3.6).
    #[error("arena position {found}, not {expected}")]
    ArenaPos {
        /// What stood there.
        found: u64,
        /// What the bump rule gives.
        expected: u64,
    },
    /// Index past the slab or a generation never issued (5.2).
    #[error("token {idx}:{generation} was never issued")]
    Token {
        /// Claimed index.
        idx: u32,
        /// Claimed generation.
        generation: u32,
    },
    /// A sid that is not the invocation's (5.2).
    #[error("session {0} is not the invocation's")]
    Sid(u32),
    /// A method not allowed on this kind (5.4, 5.7, 6).
    #[error("method {0}")]
    Method(u32),
    /// Wanted phases outside 1..=5, or call number 0 (5.4, 5.6).
    #[error("status {0:#x}")]
    Status(u32),
    /// DATA past the window, a bad WINDOW, or a piece too large (5.7, 5.8).
    #[error("window: {0}")]
    Window(&'static str),
    /// ERROR with a payload shorter than its code (7).
    #[error("error payload of {0} bytes")]
    Error(usize),
    /// A malformed record; names the rule (4).
    #[error("record: {0}")]
    Record(&'static str),
    /// A header page that is not as agreed; names the field (2.3, 2.5).
    #[error("segment header: {0}")]
    Header(&'static str),
    /// A control message that does not decode (8.6).
    #[error("control message: {0}")]
    Control(&'static str),
    /// More tolerated faults than the budget allows.
    #[error("too many faults: {0}")]
    Budget(&'static str),
}

impl Violation {
    /// The name vectors and counters use: the same words in every language.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Seq { .. } => "seq",
            Self::Head { .. } => "head",
            Self::ArenaHead { .. } => "arena_head",
            Self::Kind(_) => "kind",
            Self::Flags(_) => "flags",
            Self::Phase(_) => "phase",
            Self::Inline { .. } => "inline",
            Self::Len(_) => "len",
            Self::ArenaPos { .. } => "arena_pos",
            Self::Token { .. } => "token",
            Self::Sid(_) => "sid",
            Self::Method(_) => "method",
            Self::Status(_) => "status",
            Self::Window(_) => "window",
            Self::Error(_) => "error",
            Self::Record(_) => "record",
            Self::Header(_) => "header",
            Self::Control(_) => "control",
            Self::Budget(_) => "budget",
        }
    }

    /// The rule inside that name: the vector's for a record, the field for a header.
    pub fn rule(&self) -> Option<&'static str> {
        match self {
            Self::Window(rule)
            | Self::Record(rule)
            | Self::Header(rule)
            | Self::Control(rule)
            | Self::Budget(rule) => Some(rule),
            _ => None,
        }
    }
}
