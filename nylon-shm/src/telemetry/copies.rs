//! A row in the file: two copies, written in turn.
//!
//! A copy is its number, a checksum, and the row. The host writes over the older copy, each with the next number; the
//! valid copy with the higher number is the row. So one of the two is always whole, also when the host was stopped or
//! killed in the middle of the other, and a reader needs no lock and no memory ordering: a copy that was caught half
//! written fails its checksum. That says nothing about who wrote it.

use bytemuck::Pod;

/// Number and checksum before each copy.
const HEAD: usize = 16;

/// What the bytes of a row say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<R> {
    /// Nothing was ever stored there.
    Never,
    /// The newest whole copy.
    Row(R),
    /// Neither copy is whole.
    Torn,
}

/// Which of the two copies, 0 or 1, `number` (from 1) is written over.
pub(super) fn place(number: u64) -> usize {
    usize::from(number % 2 == 1)
}

/// The copy `number` of `row`, written to the begin of `into`, which has room for it.
pub(super) fn encode<'b, R: Pod>(number: u64, row: &R, into: &'b mut [u8]) -> &'b [u8] {
    let copy = &mut into[..HEAD + size_of::<R>()];
    let words: &[u64] = bytemuck::cast_slice(std::slice::from_ref(row));
    for (to, word) in copy[HEAD..].chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    let sum = checksum(number, &copy[HEAD..]);
    copy[..8].copy_from_slice(&number.to_le_bytes());
    copy[8..HEAD].copy_from_slice(&sum.to_le_bytes());
    copy
}

/// The row in `bytes`: both places, each half of them.
pub(super) fn decode<R: Pod>(bytes: &[u8]) -> Found<R> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    match (copy(first), copy(second)) {
        (Copy::Whole(a, row), Copy::Whole(b, _)) if a > b => Found::Row(row),
        (_, Copy::Whole(_, row)) | (Copy::Whole(_, row), _) => Found::Row(row),
        (Copy::Empty, Copy::Empty) => Found::Never,
        _ => Found::Torn,
    }
}

enum Copy<R> {
    Empty,
    Whole(u64, R),
    Torn,
}

fn copy<R: Pod>(place: &[u8]) -> Copy<R> {
    let Some(bytes) = place.get(..HEAD + size_of::<R>()) else { return Copy::Torn };
    let body = &bytes[HEAD..];
    match (word(&bytes[..8]), word(&bytes[8..HEAD])) {
        (0, 0) => Copy::Empty,
        (number, sum) if number != 0 && sum == checksum(number, body) => {
            let mut row = R::zeroed();
            let words: &mut [u64] = bytemuck::cast_slice_mut(std::slice::from_mut(&mut row));
            words.iter_mut().zip(body.chunks_exact(8)).for_each(|(to, from)| *to = word(from));
            Copy::Whole(number, row)
        }
        _ => Copy::Torn,
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// FNV-1a over words instead of bytes, each mixed into all bits.
fn checksum(number: u64, body: &[u8]) -> u64 {
    let step = |sum: u64, word: u64| {
        let product = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ product >> 32
    };
    body.chunks_exact(8).map(word).fold(step(0xcbf2_9ce4_8422_2325, number), step)
}

#[cfg(test)]
mod tests {
    use super::{Found, decode, encode, place};

    type Row = [u64; 4];
    const HALF: usize = 64;

    fn store(bytes: &mut [u8], number: u64, row: Row, written: usize) {
        let at = place(number) * HALF;
        let mut buffer = [0; HALF];
        let copy = encode(number, &row, &mut buffer);
        bytes[at..at + written].copy_from_slice(&copy[..written]);
    }

    #[test]
    fn the_last_whole_copy_is_the_row() {
        let mut bytes = [0; 2 * HALF];
        assert_eq!(decode::<Row>(&bytes), Found::Never);
        for n in 1..=5 {
            store(&mut bytes, n, [n; 4], 48);
            assert_eq!(decode(&bytes), Found::Row([n; 4]));
        }
    }

    #[test]
    fn a_copy_stopped_anywhere_leaves_the_one_before() {
        // No byte as in the row before, nor as in a place nobody wrote to.
        let row = |n: u64| [n * 0x0101_0101_0101_0101; 4];
        for written in 0..48 {
            let mut bytes = [0; 2 * HALF];
            store(&mut bytes, 1, row(1), 48);
            store(&mut bytes, 2, row(2), written);
            assert_eq!(decode(&bytes), Found::Row(row(1)), "{written} bytes of the second");
            store(&mut bytes, 2, row(2), 48);
            store(&mut bytes, 3, row(3), written);
            assert_eq!(decode(&bytes), Found::Row(row(2)), "{written} bytes of the third");
        }
    }

    #[test]
    fn what_nobody_stored_is_no_row() {
        let mut bytes = [0; 2 * HALF];
        bytes.fill(0xff);
        assert_eq!(decode::<Row>(&bytes), Found::Torn);
        assert_eq!(decode::<Row>(&bytes[..20]), Found::Torn);
        assert_eq!(decode::<Row>(&[]), Found::Torn);
    }
}
