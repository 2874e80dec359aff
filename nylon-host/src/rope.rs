//! Bytes in the pieces they came in: a large body, which nobody copies together.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::body::Body;

/// Pieces below this many bytes are joined: a flood of tiny ones costs no memory.
pub(crate) const LARGE: usize = 32 * 1024;

/// Bytes in pieces, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rope {
    /// None of them empty.
    pieces: SmallVec<[Bytes; 1]>,
    len: usize,
}

impl Rope {
    /// Bytes of all pieces.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends a piece.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        let joined = self.pieces.last_mut().is_some_and(|last| join(last, &piece));
        if !joined && !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// Up to `max` bytes from offset `at`, as far as one piece goes; empty at the end.
    pub(crate) fn slice(&self, mut at: usize, max: usize) -> Bytes {
        for piece in &self.pieces {
            if at < piece.len() {
                return piece.slice(at..piece.len().min(at.saturating_add(max)));
            }
            at -= piece.len();
        }
        Bytes::new()
    }

    /// The pieces.
    pub(crate) fn into_pieces(self) -> Vec<Bytes> {
        self.pieces.into_vec()
    }

    /// All of it in one: a copy, if it has several pieces.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        match self.pieces.as_mut_slice() {
            [] => Bytes::new(),
            [one] => std::mem::take(one),
            pieces => pieces.concat().into(),
        }
    }
}

impl From<Bytes> for Rope {
    fn from(piece: Bytes) -> Self {
        let mut rope = Self::default();
        rope.push(piece);
        rope
    }
}

impl From<Rope> for Body {
    fn from(rope: Rope) -> Self {
        if rope.pieces.len() > 1 {
            return Self::tape(rope.into_pieces(), Self::empty());
        }
        rope.into_bytes().into()
    }
}

/// Appends `piece` to `last` if neither is large; whether it did.
pub(crate) fn join(last: &mut Bytes, piece: &Bytes) -> bool {
    let small = last.len() < LARGE && piece.len() < LARGE;
    if small {
        let mut joined = BytesMut::from(std::mem::take(last));
        joined.extend_from_slice(piece);
        *last = joined.freeze();
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(pieces: &[usize]) -> Rope {
        let mut rope = Rope::default();
        for (&len, byte) in pieces.iter().zip((1..=255).cycle()) {
            rope.push(vec![byte; len].into());
        }
        rope
    }

    #[test]
    fn large_pieces_stay_where_they_are() {
        let piece = Bytes::from(vec![1; LARGE]);
        let mut rope = Rope::default();
        rope.push(piece.clone());
        rope.push(piece.clone());
        assert_eq!(rope.len(), 2 * LARGE);
        let kept = rope.into_pieces();
        assert!(kept.iter().all(|p| p.as_ptr() == piece.as_ptr()), "not copied");
    }

    #[test]
    fn tiny_pieces_are_joined() {
        let rope = rope(&[1; 100_000]);
        assert_eq!(rope.len(), 100_000);
        assert!(rope.into_pieces().len() <= 100_000 / LARGE + 1);
    }

    #[test]
    fn it_reads_as_what_was_pushed() {
        let rope = rope(&[LARGE, 10, 20, LARGE, 0]);
        let mut read = Vec::new();
        while read.len() < rope.len() {
            let piece = rope.slice(read.len(), 5000);
            assert!(!piece.is_empty());
            read.extend_from_slice(&piece);
        }
        assert!(rope.slice(read.len(), 1).is_empty());
        assert_eq!(rope.into_bytes(), read);
    }
}
