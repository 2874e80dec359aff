//! DATA over time: how much of it is on its way, and in a conversation which piece may follow which.

use crate::frame::Frame;
use crate::violation::Violation;
use crate::wire;

/// What a DATA costs of its window: in a conversation also for the frame itself, so that many small messages are bound
/// too, and nothing when it says that the conversation ends (SPEC.md 5.8).
pub fn cost(frame: &Frame) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "64")]
    let frame_cost = wire::LIMIT_MESSAGE_COST as u32;
    match frame.phase {
        wire::PHASE_NONE if ends(frame.method) => 0,
        wire::PHASE_NONE => frame.len.saturating_add(frame_cost),
        _ => frame.len,
    }
}

/// DATA by which a conversation comes to its end, each sent once at most.
fn ends(method: u32) -> bool {
    method == wire::METHOD_WEBSOCKET_ON_ERROR || closes(method)
}

/// The last of a conversation's messages in its direction.
fn closes(method: u32) -> bool {
    matches!(
        method,
        wire::METHOD_WEBSOCKET_CLOSE
            | wire::METHOD_WEBSOCKET_ON_CLOSE
            | wire::METHOD_WEBSOCKET_HAND_OVER
    )
}

/// The order of the DATA of one conversation in one direction: message by message, and what ends it last (SPEC.md 5.11).
/// The receiver calls `take` for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// Method of the message whose last piece is still to come, or ON_ERROR, behind which only ON_CLOSE comes; else 0.
    open: u32,
    /// This side has closed.
    closed: bool,
}

impl Messages {
    /// `frame`, DATA that was checked, is next; gives whether it is the first piece of its message.
    ///
    /// # Errors
    /// `Violation::Method` when it stands between the pieces of another message, or after the end.
    pub fn take(&mut self, frame: &Frame) -> Result<bool, Violation> {
        let method = frame.method;
        let fits = match (self.open, method) {
            (0, _) | (_, wire::METHOD_WEBSOCKET_ON_CLOSE) => true,
            (wire::METHOD_WEBSOCKET_ON_ERROR, _) => false,
            (open, _) => open == method || ends(method),
        };
        let from_host = method > wire::METHOD_WEBSOCKET_ON_OPEN;
        if !fits || self.closed && (from_host || closes(method)) {
            return Err(Violation::Method(method));
        }
        let first = self.open != method;
        let goes_on = frame.has(wire::FLAG_MORE) || method == wire::METHOD_WEBSOCKET_ON_ERROR;
        self.open = if goes_on { method } else { 0 };
        self.closed |= closes(method);
        Ok(first)
    }
}

/// The DATA of one invocation in one direction, as either end counts it (SPEC.md 5.8).
///
/// The sender calls `take` before it sends and `on_total` for each WINDOW; the receiver calls `take` for each DATA
/// and `give` once bytes are handed on. What is counted are bytes, and in a conversation [`cost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    limit: u64,
    sent: u64,
    taken: u64,
}

impl Window {
    /// A direction in which `limit` bytes may be outstanding; a conversation's is `wire::LIMIT_CONVERSATION`.
    pub fn new(limit: u32) -> Self {
        Self { limit: limit.into(), sent: 0, taken: 0 }
    }

    /// Bytes that may still be sent.
    pub fn room(&self) -> u64 {
        self.limit.saturating_sub(self.sent - self.taken)
    }

    /// `len` bytes of DATA go out or come in.
    ///
    /// # Errors
    /// `Violation::Window` when the window does not hold them; nothing is counted then.
    pub fn take(&mut self, len: u32) -> Result<(), Violation> {
        if u64::from(len) > self.room() {
            return Err(Violation::Window("exceeded"));
        }
        self.sent += u64::from(len);
        Ok(())
    }

    /// Receiver: `len` more bytes were handed on. Returns the `total` of the WINDOW to send.
    pub fn give(&mut self, len: u64) -> u64 {
        self.taken = self.taken.saturating_add(len).min(self.sent);
        self.taken
    }

    /// Sender: a WINDOW of `total` came. Returns how many bytes it freed.
    ///
    /// # Errors
    /// `Violation::Window` when it is below the last one or above what was sent.
    pub fn on_total(&mut self, total: u64) -> Result<u64, Violation> {
        let freed = total.checked_sub(self.taken).ok_or(Violation::Window("back"))?;
        if total > self.sent {
            return Err(Violation::Window("ahead"));
        }
        self.taken = total;
        Ok(freed)
    }

    /// Bytes sent and not yet returned.
    pub fn outstanding(&self) -> u64 {
        self.sent - self.taken
    }
}

/// The `total` in a WINDOW's payload (SPEC.md 5.8).
///
/// # Errors
/// `Violation::Window` when the payload is not 8 bytes.
pub fn window_total(payload: &[u8]) -> Result<u64, Violation> {
    payload.try_into().map(u64::from_le_bytes).map_err(|_| Violation::Window("len"))
}
