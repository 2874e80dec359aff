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
        loop {
            let size = match self.head_len {
                0 | 1 => 2,
                _ => Head::size([self.head[0], self.head[1]]).map_err(violation)?,
            };
            if self.head_len == size {
                self.head_len = 0;
                return Head::parse(&self.head[..size]).map(Some).map_err(violation);
            }
            let missing = size - self.head_len;
            let Some(piece) = bytes.split_off(..missing.min(bytes.len())) else { return Ok(None) };
            self.head[self.head_len..][..piece.len()].copy_from_slice(piece);
            self.head_len += piece.len();
            if piece.is_empty() {
                return Ok(None);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SocketLimits = SocketLimits { max_message: 1000, max_frame: 400 };

    /// A client's frame: first byte, payload.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0xa1, 0xb2, 0xc3, 0xd4];
        let mut bytes = vec![first];
        match u16::try_from(payload.len()) {
            Ok(n @ 0..=125) => bytes.push(0x80 | u8::try_from(n).expect("small")),
            Ok(n) => bytes.extend([&[0xfe], &n.to_be_bytes()[..]].concat()),
            Err(_) => bytes.extend([&[0xff], &payload.len().to_be_bytes()[..]].concat()),
        }
        bytes.extend(mask);
        bytes.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]));
        bytes
    }

    /// All that `bytes` are, read in pieces of `size`; the code it ends with.
    fn read(bytes: &[u8], size: usize) -> (Vec<Incoming>, Option<u16>) {
        let mut reader = Reader::new(LIMITS);
        let mut said = Vec::new();
        for mut piece in bytes.chunks(size) {
            loop {
                match reader.take(&mut piece) {
                    Ok(Some(incoming)) => said.push(incoming),
                    Ok(None) => break,
                    Err(broken) => {
                        assert_eq!(broken.error.as_deref(), Some(&*broken.closing.reason));
                        return (said, broken.closing.code);
                    }
                }
            }
            assert!(piece.is_empty(), "all is taken");
        }
        (said, None)
    }

    fn text(text: &str) -> Incoming {
        Incoming::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn messages_are_the_same_in_pieces_of_any_size() {
        let long = "länge".repeat(50);
        let bytes = [
            frame(0x81, "grüße".as_bytes()),
            frame(0x82, &[]),
            frame(0x81, &[]),
            frame(0x01, "gr\u{fc}".as_bytes()),
            frame(0x89, b"now?"),
            frame(0x00, b""),
            frame(0x8a, b""),
            frame(0x80, "ße".as_bytes()),
            frame(0x81, long.as_bytes()),
            frame(0x88, b"\x03\xe8bye"),
        ]
        .concat();
        let bye = Closing { code: Some(1000), reason: "bye".into() };
        for size in 1..bytes.len() {
            let (said, code) = read(&bytes, size);
            assert_eq!(code, None);
            let expected = [
                text("grüße"),
                Incoming::Binary(Bytes::new()),
                text(""),
                Incoming::Ping,
                Incoming::Pong,
                text("grüße"),
                text(&long),
                Incoming::Close(bye.clone()),
            ];
            assert_eq!(said, expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_character_may_be_cut_between_fragments() {
        let euro = "€".as_bytes();
        let bytes = [frame(0x01, &euro[..1]), frame(0x00, &euro[1..2]), frame(0x80, &euro[2..])];
        assert_eq!(read(&bytes.concat(), 1000), (vec![text("€")], None));
    }

    #[test]
    fn what_breaks_the_protocol_has_its_code() {
        let start = frame(0x01, b"begun");
        let big = [7; 400];
        for (why, bytes, code) in [
            ("a reserved bit", frame(0xc1, b""), 1002),
            ("an opcode", frame(0x83, b""), 1002),
            ("no mask", vec![0x81, 0], 1002),
            ("a fragment of nothing", frame(0x80, b"x"), 1002),
            ("a message in another", [start.clone(), frame(0x81, b"x")].concat(), 1002),
            ("a binary in a text", [start.clone(), frame(0x02, b"x")].concat(), 1002),
            ("a long ping", frame(0x89, &[0; 126]), 1002),
            ("a ping in fragments", frame(0x09, b""), 1002),
            ("a close of one byte", frame(0x88, b"x"), 1002),
            ("the code 1005", frame(0x88, &1005_u16.to_be_bytes()), 1002),
            ("the code 1006", frame(0x88, &1006_u16.to_be_bytes()), 1002),
            ("the code 999", frame(0x88, &999_u16.to_be_bytes()), 1002),
            ("the code 5000", frame(0x88, &5000_u16.to_be_bytes()), 1002),
            ("a reason that is no text", frame(0x88, b"\x03\xe8\xff"), 1007),
            ("a text that is none", frame(0x81, b"ab\xff"), 1007),
            ("a surrogate", frame(0x81, b"\xed\xa0\x80"), 1007),
            ("a text that ends too soon", frame(0x81, b"ab\xe2\x82"), 1007),
            ("fragments that end too soon", [start, frame(0x80, b"\xe2")].concat(), 1007),
            ("a frame too long", frame(0x82, &[0; 401]), 1009),
            (
                "a message too long",
                [frame(0x02, &big), frame(0x00, &big), frame(0x80, &big)].concat(),
                1009,
            ),
        ] {
            for size in [1, 3, 2000] {
                let (said, told) = read(&bytes, size);
                assert_eq!((said, told), (vec![], Some(code)), "{why}, pieces of {size}");
            }
        }
        let fits = [frame(0x02, &big), frame(0x00, &big), frame(0x80, &big[..200])].concat();
        assert_eq!(read(&fits, 64).1, None, "1000 bytes in frames of 400");
    }

    #[test]
    fn a_broken_text_is_found_before_its_frame_ends() {
        let bytes = frame(0x81, b"\xf4\x90 and a lot more");
        assert_eq!(read(&bytes[..6 + 2], 1), (vec![], Some(1007)));
        let bytes = frame(0x82, &[0; 1000]);
        assert_eq!(read(&bytes[..8], 1), (vec![], Some(1009)), "a length is enough");
        assert_eq!(read(&[0x81, 0x05], 1), (vec![], Some(1002)), "and so are two bytes");
    }

    #[test]
    fn memory_is_taken_as_bytes_come_and_goes_with_the_message() {
        let limits = SocketLimits { max_message: 1 << 30, max_frame: 1 << 30 };
        let mut reader = Reader::new(limits);
        let head = [0x82, 0xff, 0, 0, 0, 0, 0x20, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(reader.take(&mut &head[..]), Ok(None));
        assert_eq!(reader.take(&mut &[9; 100][..]), Ok(None));
        assert!(reader.message.capacity() <= FIRST, "{}", reader.message.capacity());

        let mut reader = Reader::new(limits);
        let (payload, mut count) = (vec![5; 1 << 20], 0);
        let whole = frame(0x82, &payload);
        for mut piece in whole.chunks(READ_LIKE) {
            if let Some(Incoming::Binary(got)) = reader.take(&mut piece).expect("right") {
                assert!(got == payload);
                count += 1;
            }
        }
        assert_eq!((count, reader.message.capacity()), (1, 0));
    }

    /// Pieces as they come from a connection.
    const READ_LIKE: usize = 16 * 1024;
}
