//! How header names stand in a record: spelled out, or as ids of the table both sides have (SPEC.md 4.8).

use crate::wire;

/// What was agreed about header names in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// All are spelled out.
    #[default]
    Spelled,
    /// Those of `wire::NAMES` are ids.
    Ids,
}

impl Names {
    /// What follows from the features of a connection, `wire::FEATURE_*` bits.
    pub fn agreed(features: u64) -> Self {
        if features & wire::FEATURE_HEADER_NAMES != 0 { Self::Ids } else { Self::Spelled }
    }

    /// The id `name` is written as; 0 = it is spelled out.
    pub(super) fn id(self, name: &[u8]) -> u32 {
        match self {
            Self::Spelled => 0,
            Self::Ids => wire::name_id(name),
        }
    }
}

/// The name of an id of the table.
pub(super) fn name_of(id: u32) -> Option<&'static [u8]> {
    let at = usize::try_from(id).ok()?.checked_sub(1)?;
    wire::NAMES.get(at).map(|name| name.as_bytes())
}
