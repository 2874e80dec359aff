//! The echo of the bench as a plugin of nylon-ring.

use nylon_ring::{NrStatus, Plugin, Reply, Session, export_plugin};

/// The largest payload of the bench, bytes.
const MAX: usize = 1 << 20;
static SEVENS: [u8; MAX] = [7; MAX];

struct Echo;

impl Plugin for Echo {
    type Ctx = ();
    const ENTRIES: &'static [&'static str] = &["echo"];

    fn new() -> Self {
        Self
    }

    fn new_ctx(&self) -> Self::Ctx {}

    /// Looks at every byte, and answers with what it was given.
    fn on_call(&self, session: &mut Session<'_>, _ctx: &mut Self::Ctx) -> Reply {
        let payload = session.payload();
        match payload.get(8..) {
            Some(rest) if payload.len() <= MAX && rest == &SEVENS[8..payload.len()] => {
                Reply::Bytes(payload.to_vec())
            }
            _ => Reply::Fail(NrStatus::Invalid),
        }
    }
}

export_plugin!(Echo);
