//! Frames (RFC 6455 section 5.2): those of the server encoded, the heads of a client's taken apart.

use bytes::Bytes;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its bytes are UTF-8.
    Text,
    /// They may be anything.
    Binary,
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) bytes: Bytes,
}

/// What is told at a close: the code and the reason of its frame (section 5.5.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Closing {
    /// None: the frame says nothing (1005).
    pub(crate) code: Option<u16>,
    /// At most 123 bytes of it are sent.
    pub(crate) reason: String,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

/// Bytes the payload of a control frame may have (section 5.5).
pub(super) const CONTROL_MAX: usize = 125;
/// Bytes a frame's head has at most: two, a length of eight, a mask of four.
pub(super) const HEAD_MAX: usize = 14;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// A message in one frame; the `payload` of a text is UTF-8.
pub(crate) fn message(kind: Kind, payload: &[u8]) -> Bytes {
    let opcode = match kind {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
    };
    encode(opcode, payload)
}

/// Bytes of payload of an encoded frame of ours.
pub(crate) fn payload_len(frame: &Bytes) -> usize {
    let head = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    frame.len().saturating_sub(head)
}

/// A ping or a pong; what is more than 125 bytes of `payload` is left out.
pub(super) fn control(opcode: Opcode, payload: &[u8]) -> Bytes {
    encode(opcode, &payload[..payload.len().min(CONTROL_MAX)])
}

/// A close frame. A code that may not be sent becomes 1011, a reason that is too long is cut between two characters.
pub(super) fn close(closing: &Closing) -> Bytes {
    let Some(code) = closing.code else { return encode(Opcode::Close, &[]) };
    let code = if may_be_sent(code) { code } else { 1011 };
    let reason = &closing.reason[..closing.reason.floor_char_boundary(CONTROL_MAX - 2)];
    encode(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// Whether a close frame may carry this code: sections 7.4.1 and 7.4.2, and IANA's registry.
pub(super) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// One whole frame, without a mask, in one exact allocation.
fn encode(opcode: Opcode, payload: &[u8]) -> Bytes {
    let (len, size) = match payload.len() {
        n @ 0..=125 => (n as u64, 0),
        n @ 126..=0xffff => (n as u64, 2),
        n => (n as u64, 8),
    };
    let len = len.to_be_bytes();
    let mut frame = Vec::with_capacity(2 + size + payload.len());
    frame.push(FIN | opcode as u8);
    match size {
        0 => frame.push(len[7]),
        2 => frame.push(126),
        _ => frame.push(127),
    }
    frame.extend_from_slice(&len[len.len() - size..]);
    frame.extend_from_slice(payload);
    frame.into()
}

/// The head of a client's frame.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    /// Bytes of payload, below 2^63.
    pub(super) len: u64,
}

impl Head {
    /// Bytes of the head that begins with `first`.
    ///
    /// # Errors
    /// Why it is none that a client may send.
    pub(super) fn size(first: [u8; 2]) -> Result<usize, &'static str> {
        let [flags, len] = first;
        if flags & RESERVED != 0 {
            return Err("a reserved bit is set");
        }
        let Some(opcode) = Opcode::of(flags & 0x0f) else { return Err("an unknown opcode") };
        if len & MASKED == 0 {
            return Err("a frame without a mask");
        }
        if opcode.is_control() && flags & FIN == 0 {
            return Err("a control frame in fragments");
        }
        match len & !MASKED {
            126 | 127 if opcode.is_control() => Err("a control frame of more than 125 bytes"),
            126 => Ok(8),
            127 => Ok(HEAD_MAX),
            _ => Ok(6),
        }
    }

    /// Takes a head apart; `bytes` are as many as [`Head::size`] says.
    ///
    /// # Errors
    /// Why it is none that a client may send.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let no_head = "half a head";
        let ([flags, short], rest) = bytes.split_first_chunk().ok_or(no_head)?;
        let (long, mask) = rest.split_last_chunk().ok_or(no_head)?;
        let len = match *long {
            [] => u64::from(short & !MASKED),
            [a, b] => u64::from(u16::from_be_bytes([a, b])),
            _ => u64::from_be_bytes(long.try_into().map_err(|_| no_head)?),
        };
        let least = match long.len() {
            0 => 0,
            2 => 126,
            _ => 0x1_0000,
        };
        if len < least {
            return Err("a length in more bytes than it needs");
        }
        if len >> 63 != 0 {
            return Err("a length of 2^63 bytes or more");
        }
        let opcode = Opcode::of(flags & 0x0f).ok_or(no_head)?;
        Ok(Self { fin: flags & FIN != 0, opcode, mask: *mask, len })
    }
}

/// Takes the mask off `bytes`, the first of which is byte `at` of its payload (section 5.3).
pub(super) fn unmask(bytes: &mut [u8], mut mask: [u8; 4], at: u64) {
    mask.rotate_left((at % 4) as usize);
    let wide: [u8; 16] = std::array::from_fn(|i| mask[i % 4]);
    let wide = u128::from_ne_bytes(wide);
    let (words, rest) = bytes.as_chunks_mut::<16>();
    for word in words {
        *word = (u128::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_length_in_as_few_bytes_as_can_be() {
        for (len, head) in [
            (0, vec![0x82, 0]),
            (1, vec![0x82, 1]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 0xff, 0xff]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload = vec![7; len];
            let frame = message(Kind::Binary, &payload);
            assert_eq!(payload_len(&frame), len);
            assert_eq!(frame[..head.len()], head, "{len} bytes");
            assert_eq!(frame[head.len()..], payload, "{len} bytes");
        }
        assert_eq!(message(Kind::Text, b"hi")[..], [0x81, 2, b'h', b'i']);
    }

    #[test]
    fn a_close_frame_is_one_that_may_be_sent() {
        let said = |code, reason: &str| close(&Closing { code, reason: reason.to_owned() });
        assert_eq!(said(None, "never sent")[..], [0x88, 0]);
        assert_eq!(said(Some(1000), "")[..], [0x88, 2, 3, 0xe8]);
        assert_eq!(said(Some(4321), "bye")[..], [0x88, 5, 0x10, 0xe1, b'b', b'y', b'e']);
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            assert_eq!(said(Some(code), "")[..], [0x88, 2, 3, 0xf3], "{code}");
        }
        let long = said(Some(1000), &"ä".repeat(100));
        assert_eq!(long[1], 2 + 122, "61 whole characters");
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }

    #[test]
    fn a_head_is_taken_apart_at_its_borders() {
        for (len, long) in [
            (0_u64, vec![0x80]),
            (125, vec![0x80 | 125]),
            (126, vec![0xfe, 0, 126]),
            (65_535, vec![0xfe, 0xff, 0xff]),
            (65_536, vec![0xff, 0, 0, 0, 0, 0, 1, 0, 0]),
            ((1 << 63) - 1, vec![0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255]),
        ] {
            let bytes = [&[0x02][..], &long, &[1, 2, 3, 4]].concat();
            assert_eq!(Head::size([bytes[0], bytes[1]]), Ok(bytes.len()), "{len}");
            let head = Head::parse(&bytes).expect("a head");
            assert_eq!((head.len, head.fin), (len, false));
            assert_eq!((head.opcode, head.mask), (Opcode::Binary, [1, 2, 3, 4]));
        }
    }

    #[test]
    fn heads_no_client_may_send() {
        for first in [
            [0xc2, 0x80],
            [0xa2, 0x80],
            [0x92, 0x80],
            [0x83, 0x80],
            [0x87, 0x80],
            [0x8b, 0x80],
            [0x8f, 0x80],
            [0x82, 0x00],
            [0x82, 0x7e],
            [0x09, 0x80],
            [0x89, 0xfe],
            [0x88, 0xff],
        ] {
            assert!(Head::size(first).is_err(), "{first:02x?}");
        }
        for long in [&[0xfe, 0, 125][..], &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], &[0xff; 9]] {
            assert!(Head::parse(&[&[0x82], long, &[0; 4]].concat()).is_err(), "{long:02x?}");
        }
    }

    #[test]
    fn a_mask_comes_off_in_pieces_of_any_size() {
        let plain: Vec<u8> = (0..200).collect();
        let mask = [0x11, 0x22, 0x33, 0x44];
        let masked: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
        for size in 1..=40 {
            let mut bytes = masked.clone();
            let mut at = 0;
            for piece in bytes.chunks_mut(size) {
                unmask(piece, mask, at);
                at += piece.len() as u64;
            }
            assert_eq!(bytes, plain, "pieces of {size}");
        }
    }
}
