//! What a client sends, byte by byte, as messages: fragments joined, masks taken off, everything checked as soon as it is
//! there. Holds no bytes while no frame is under way.

use std::mem;

use bytes::Bytes;

use super::frame::{self, Closing, HEAD_MAX, Head, Opcode};
use super::socket::{Broken, Incoming, SocketLimits};

/// Bytes a message's memory starts with at most: a head alone, whatever it announces, takes no more.
const FIRST: usize = 64 * 1024;

/// The reading half, without its connection.
#[derive(Debug)]
pub(super) struct Reader {
    limits: SocketLimits,
    /// What is there of a frame's head.
    head: [u8; HEAD_MAX],
    head_len: usize,
    /// The frame under way.
    frame: Option<Frame>,
    /// The message under way: its kind, from its first fragment to its last.
    kind: Option<Kind>,
    message: Vec<u8>,
    /// Bytes of a text's `message` that are whole characters.
    checked: usize,
    /// Payload of the latest control frame.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    head: Head,
    /// Bytes of its payload that have come.
    done: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

impl Reader {
    pub(super) fn new(limits: SocketLimits) -> Self {
        Self {
            limits,
            head: [0; HEAD_MAX],
            head_len: 0,
            frame: None,
            kind: None,
            message: Vec::new(),
            checked: 0,
            control: Vec::new(),
        }
    }

    /// Takes from `bytes` until something is whole; without that, takes them all.
    ///
    /// # Errors
    /// The client broke the protocol or a limit; the reader is of no use any more.
    pub(super) fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Incoming>, Broken> {
        loop {
            if self.frame.is_none() {
                let Some(head) = self.take_head(bytes)? else { return Ok(None) };
                self.begin(&head)?;
                self.frame = Some(Frame { head, done: 0 });
            }
            if !self.take_payload(bytes)? {
                return Ok(None);
            }
            let Some(Frame { head, .. }) = self.frame.take() else { return Ok(None) };
            if let Some(whole) = self.end(&head)? {
                return Ok(Some(whole));
            }
        }
    }

    /// The payload of the control frame that came last.
    pub(super) fn control(&self) -> &[u8] {
        &self.control
    }

    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<Option<Head>, Broken> {
        let mut size = 2;
        loop {
            let missing = size - self.head_len;
            let Some(piece) = bytes.split_off(..missing.min(bytes.len())) else { return Ok(None) };
            self.head[self.head_len..][..piece.len()].copy_from_slice(piece);
            self.head_len += piece.len();
            if self.head_len < size {
                return Ok(None);
            }
            if size > 2 {
                break;
            }
            size = Head::size([self.head[0], self.head[1]]).map_err(violation)?;
        }
        self.head_len = 0;
        Head::parse(&self.head[..size]).map(Some).map_err(violation)
    }

    /// Whether this frame may come now.
    fn begin(&mut self, head: &Head) -> Result<(), Broken> {
        match (head.opcode, self.kind) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {
                self.control.clear();
                return Ok(());
            }
            (Opcode::Continuation, None) => return Err(violation("a fragment of no message")),
            (Opcode::Continuation, Some(_)) => {}
            (_, Some(_)) => return Err(violation("a message inside another")),
            (Opcode::Text, None) => self.kind = Some(Kind::Text),
            (Opcode::Binary, None) => self.kind = Some(Kind::Binary),
        }
        let SocketLimits { max_frame, max_message } = self.limits;
        if head.len > max_frame as u64 {
            return Err(too_big(format!("a frame of more than {max_frame} bytes")));
        }
        if head.len > (max_message - self.message.len()) as u64 {
            return Err(too_big(format!("a message of more than {max_message} bytes")));
        }
        Ok(())
    }

    /// Takes what belongs to the frame under way: whether it is whole.
    fn take_payload(&mut self, bytes: &mut &[u8]) -> Result<bool, Broken> {
        let Some(Frame { head, done }) = &mut self.frame else { return Ok(false) };
        let left = usize::try_from(head.len - *done).unwrap_or(usize::MAX);
        let Some(piece) = bytes.split_off(..left.min(bytes.len())) else { return Ok(false) };
        let into = if head.opcode.is_control() { &mut self.control } else { &mut self.message };
        let start = into.len();
        if into.capacity() - start < piece.len() {
            let more = left.min(start.max(FIRST)).max(piece.len());
            match head.opcode {
                // Many small fragments: grows by doubling. A single frame: no byte more than it has.
                Opcode::Continuation => into.reserve(more),
                _ => into.reserve_exact(more),
            }
        }
        into.extend_from_slice(piece);
        frame::unmask(&mut into[start..], head.mask, *done);
        *done += piece.len() as u64;
        let is_whole = piece.len() == left;
        if !head.opcode.is_control() && self.kind == Some(Kind::Text) {
            self.check_text()?;
        }
        Ok(is_whole)
    }

    /// Reads on in a text; half a character at its end may become a whole one.
    fn check_text(&mut self) -> Result<(), Broken> {
        match std::str::from_utf8(&self.message[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            Err(e) if e.error_len().is_none() => self.checked += e.valid_up_to(),
            Err(_) => return Err(no_text("a text that is not UTF-8")),
        }
        Ok(())
    }

    /// What a whole frame completes.
    fn end(&mut self, head: &Head) -> Result<Option<Incoming>, Broken> {
        match head.opcode {
            Opcode::Ping => Ok(Some(Incoming::Ping)),
            Opcode::Pong => Ok(Some(Incoming::Pong)),
            Opcode::Close => closing(&self.control).map(|c| Some(Incoming::Close(c))),
            _ if !head.fin => Ok(None),
            _ => {
                let whole = self.checked == self.message.len();
                self.checked = 0;
                let message = Bytes::from(mem::take(&mut self.message));
                match self.kind.take() {
                    Some(Kind::Text) if !whole => Err(no_text("a text ends within a character")),
                    Some(Kind::Text) => Ok(Some(Incoming::Text(message))),
                    _ => Ok(Some(Incoming::Binary(message))),
                }
            }
        }
    }
}

/// What a close frame says (section 5.5.1).
fn closing(payload: &[u8]) -> Result<Closing, Broken> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(Closing::default()),
            _ => Err(violation("a close frame of one byte")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !frame::may_be_sent(code) {
        return Err(violation("a close code that may not be sent"));
    }
    let Ok(reason) = std::str::from_utf8(reason) else {
        return Err(no_text("a reason that is not UTF-8"));
    };
    Ok(Closing { code: Some(code), reason: reason.to_owned() })
}

fn violation(why: &str) -> Broken {
    broken(1002, why.to_owned())
}

fn no_text(why: &str) -> Broken {
    broken(1007, why.to_owned())
}

fn too_big(why: String) -> Broken {
    broken(1009, why)
}

fn broken(code: u16, why: String) -> Broken {
    Broken { closing: Closing { code: Some(code), reason: why.clone() }, error: Some(why) }
}
