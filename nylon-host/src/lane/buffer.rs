//! Where payloads go when they leave the ring: one copy, and as a rule no fresh memory.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use nylon_protocol::{Frame, wire};

use crate::rope::LARGE;

/// Payloads up to this many bytes share a chunk.
const SMALL: usize = 2 * 1024;
/// A chunk. What shares it keeps all of it alive, so only what a worker can have one of per invocation does: its final
/// REPLY.
const CHUNK: usize = 8 * 1024;
/// Blocks kept for use again: 1 MiB.
const BLOCKS_KEPT: usize = 16;

/// The next payload's place.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    blocks: Arc<Blocks>,
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
            self.own =
                if in_block(len) { self.blocks.take() } else { BytesMut::with_capacity(len) };
            &mut self.own
        }
    }

    /// The payload that was put there.
    pub(super) fn take(&mut self, frame: &Frame) -> Bytes {
        if shares(frame) {
            self.chunk.split().freeze()
        } else if in_block(frame.len as usize) {
            let (bytes, blocks) = (std::mem::take(&mut self.own), self.blocks.clone());
            Bytes::from_owner(Block { bytes, blocks })
        } else {
            std::mem::take(&mut self.own).freeze()
        }
    }
}

/// Whether a payload of `len` bytes gets a block: at least half of it, so that what is kept alive is mostly used.
fn in_block(len: usize) -> bool {
    (LARGE..=wire::LIMIT_DATA).contains(&len)
}

/// Memory for large payloads, used again: fresh memory costs a page fault for every 4 KiB, which is more than the copy.
#[derive(Debug, Default)]
struct Blocks(Mutex<Vec<BytesMut>>);

impl Blocks {
    /// An empty block of `wire::LIMIT_DATA` bytes.
    fn take(&self) -> BytesMut {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| BytesMut::with_capacity(wire::LIMIT_DATA))
    }

    fn give_back(&self, mut block: BytesMut) {
        block.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < BLOCKS_KEPT {
            kept.push(block);
        }
    }
}

/// A payload in a block, which goes back when nobody has the payload any more.
struct Block {
    bytes: BytesMut,
    blocks: Arc<Blocks>,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.blocks.give_back(std::mem::take(&mut self.bytes));
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
    fn large_payloads_use_blocks_again() {
        let mut buffer = Buffer::default();
        let payloads: Vec<_> =
            (0..20).map(|byte| put(&mut buffer, wire::KIND_DATA, &[byte; LARGE])).collect();
        let places: Vec<_> = payloads.iter().map(|p| p.as_ptr()).collect();
        assert!(payloads.iter().zip(0..).all(|(p, byte)| p.iter().all(|b| *b == byte)));
        drop(payloads);
        for _ in 0..100 {
            let again = put(&mut buffer, wire::KIND_DATA, &[7; wire::LIMIT_DATA]);
            assert!(places.contains(&again.as_ptr()), "no fresh memory");
        }
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
