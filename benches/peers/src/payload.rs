//! What every contender carries: the number of the call in the first 8 bytes, 7 in all others. Each side looks at every
//! byte; go/internal/payload and the echo worker of the SDK know the same rule.

/// The largest payload of the bench, bytes.
pub(crate) const MAX: usize = 1 << 20;

static SEVENS: [u8; MAX] = [7; MAX];

/// A payload of `size` bytes, 8 ..= [`MAX`], without a number.
pub(crate) fn fresh(size: usize) -> Vec<u8> {
    SEVENS[..size].to_vec()
}

/// Writes the number of a call.
pub(crate) fn stamp(payload: &mut [u8], number: u64) {
    payload[..8].copy_from_slice(&number.to_le_bytes());
}

/// The number in a payload of `size` bytes; none if it is not one.
pub(crate) fn check(payload: &[u8], size: usize) -> Option<u64> {
    let (number, rest) = payload.split_first_chunk::<8>()?;
    (payload.len() == size && rest == &SEVENS[8..size]).then(|| u64::from_le_bytes(*number))
}
