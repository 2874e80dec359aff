//! Where payloads go when they leave the ring: one copy, and as a rule no allocation.

use bytes::{Bytes, BytesMut};
use nylon_protocol::{Frame, wire};

/// Payloads up to this many bytes share a chunk.
const SMALL: usize = 2 * 1024;
/// A chunk. What shares it keeps all of it alive, so only what a worker can have one of per invocation does: its final
/// REPLY.
const CHUNK: usize = 8 * 1024;

/// The next payload's place.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Carved into payloads; taken again from its begin once they are gone.
    chunk: BytesMut,
    /// One payload of its own.
    own: BytesMut,
}

impl Buffer {
    /// Where the payload of `frame` is to be appended.
    pub(super) fn place(&mut self, frame: &Frame) -> &mut BytesMut {
        let len = frame.len as usize;
        if shares(frame) {
            if self.chunk.capacity() < len {
                self.chunk.reserve(CHUNK);
            }
            &mut self.chunk
        } else {
            self.own = BytesMut::with_capacity(len);
            &mut self.own
        }
    }

    /// The payload that was put there.
    pub(super) fn take(&mut self, frame: &Frame) -> Bytes {
        if shares(frame) {
            self.chunk.split().freeze()
        } else {
            std::mem::take(&mut self.own).freeze()
        }
    }
}

fn shares(frame: &Frame) -> bool {
    frame.kind == wire::KIND_REPLY && frame.len as usize <= SMALL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(buffer: &mut Buffer, kind: u8, bytes: &[u8]) -> Bytes {
        let frame = Frame { len: u32::try_from(bytes.len()).unwrap(), ..Frame::new(kind) };
        buffer.place(&frame).extend_from_slice(bytes);
        buffer.take(&frame)
    }

    #[test]
    fn replies_share_a_chunk_that_is_used_again() {
        let mut buffer = Buffer::default();
        let first = put(&mut buffer, wire::KIND_REPLY, &[1; 100]);
        let second = put(&mut buffer, wire::KIND_REPLY, &[2; 100]);
        assert_eq!(second.as_ptr(), first.as_ptr().wrapping_add(100));
        let start = first.as_ptr();
        drop((first, second));
        let again =
            (0..200).any(|_| put(&mut buffer, wire::KIND_REPLY, &[3; 100]).as_ptr() == start);
        assert!(again, "the chunk is taken from its begin again");
    }

    #[test]
    fn what_a_worker_may_have_many_of_keeps_nothing_else_alive() {
        let mut buffer = Buffer::default();
        let reply = put(&mut buffer, wire::KIND_REPLY, b"reply");
        let call = put(&mut buffer, wire::KIND_CALL, b"call");
        let large = put(&mut buffer, wire::KIND_REPLY, &[7; SMALL + 1]);
        for own in [call, large] {
            assert!(own.is_unique(), "a buffer of its own");
        }
        assert!(!reply.is_unique(), "it shares the chunk");
    }
}
