//! What is to be written to a client: whole frames in order, shared with whoever else is sent them.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes};

/// Frames of one write.
pub(super) const BATCH: usize = 16;
/// Pings and pongs that wait; of more, only the latest is sent (RFC 6455 section 5.5.3).
const URGENT_MAX: usize = 16;
/// Places for frames an empty queue keeps.
const KEPT: usize = 32;

/// The queue of one socket.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// The first is cut to what is not yet written of it.
    frames: VecDeque<Bytes>,
    /// Whether a part of the first frame is written: nothing may come before the rest of it.
    begun: bool,
    /// Frames at the front that the next ping or pong goes behind.
    urgent: usize,
    bytes: usize,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What waits, in bytes: of frames, and of the places they take.
    pub(super) fn cost(&self) -> usize {
        self.bytes + self.frames.len() * size_of::<Bytes>()
    }

    /// Puts a frame behind all others.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Puts a ping or pong before the messages, and behind a frame that is half written.
    pub(super) fn push_urgent(&mut self, frame: Bytes) {
        let at = self.urgent.max(usize::from(self.begun));
        self.bytes += frame.len();
        if at > URGENT_MAX {
            let waiting = &mut self.frames[at - 1];
            self.bytes -= waiting.len();
            *waiting = frame;
            return;
        }
        self.frames.insert(at, frame);
        self.urgent = at + 1;
    }

    /// The next bytes to write: how many pieces of `slices` are set.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; BATCH]) -> usize {
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(frame);
            count += 1;
        }
        count
    }

    /// So many bytes are written.
    pub(super) fn written(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(first) = self.frames.front_mut() {
            if count < first.len() {
                first.advance(count);
                self.begun |= count > 0;
                return;
            }
            count -= first.len();
            self.frames.pop_front();
            self.urgent = self.urgent.saturating_sub(1);
            self.begun = false;
        }
        if self.frames.capacity() > KEPT {
            self.frames = VecDeque::new();
        }
    }
}
