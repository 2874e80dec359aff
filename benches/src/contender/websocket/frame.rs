//! The messages of the load: texts of 64 bytes, each of which says which one it is.

use crate::Result;

/// Bytes of a text.
pub(super) const TEXT: usize = 64;
/// First byte of a text that comes back to who sent it.
pub(super) const ECHO: u8 = b'e';
/// First byte of a text that goes to all members of the room.
pub(super) const BROADCAST: u8 = b'b';

/// Bits that tell the texts of one connection apart; those above tell the connections apart.
const COUNT_BITS: u32 = 40;
const FILLER: [u8; TEXT] = *b"................ the quick brown fox jumps over the lazy dog .,\n";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Text `count` of connection `index`.
pub(super) fn text(kind: u8, index: usize, count: u64) -> [u8; TEXT] {
    let number = (index as u64) << COUNT_BITS | count;
    let mut text = FILLER;
    text[0] = kind;
    for (digit, at) in text[1..17].iter_mut().zip((0..16).rev()) {
        *digit = b"0123456789abcdef"[(number >> (at * 4) & 15) as usize];
    }
    text
}

/// Appends the frame of a client's text.
pub(super) fn send(out: &mut Vec<u8>, mut text: [u8; TEXT]) {
    mask(&mut text);
    head(out, 0x81, TEXT);
    out.extend_from_slice(&text);
}

/// Appends the answer to a ping.
pub(super) fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    head(out, 0x8a, payload.len());
    let at = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[at..]);
}

#[expect(clippy::cast_possible_truncation, reason = "at most 125")]
fn head(out: &mut Vec<u8>, first: u8, len: usize) {
    out.extend_from_slice(&[first, 0x80 | len as u8]);
    out.extend_from_slice(&MASK);
}

fn mask(payload: &mut [u8]) {
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte ^= MASK[i % 4];
    }
}

/// What a server sent.
pub(super) enum Heard<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
}

/// The first frame of `bytes`, if it is whole, and what follows it.
pub(super) fn heard(bytes: &[u8]) -> Result<Option<(Heard<'_>, &[u8])>> {
    let [first, len, rest @ ..] = bytes else { return Ok(None) };
    if *len > 125 {
        return Err(format!("a frame of {len} bytes, which nobody sent"));
    }
    let Some((payload, rest)) = rest.split_at_checked(usize::from(*len)) else { return Ok(None) };
    match first {
        0x81 => Ok(Some((Heard::Text(payload), rest))),
        0x89 => Ok(Some((Heard::Ping(payload), rest))),
        first => {
            let payload = String::from_utf8_lossy(payload);
            Err(format!("a frame that begins with {first:#x}: {payload:?}"))
        }
    }
}
