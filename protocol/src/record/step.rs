//! The step record: what a host tells a worker with a CALL (SPEC.md 4.2).

use super::head::Head;
use super::request::{Request, RequestFields, write_request};
use super::{Names, TooLarge, WebSocketSection, write_head};
use crate::bytes::{len32, pad8, u16_at, u32_at, u64_at};
use crate::violation::Violation;
use crate::wire;

/// Bytes of a section's head, `{tag u16, aux u16, len u32}`.
const HEAD: usize = 8;
/// Bytes of `stats` before its text.
const STATS: usize = 16;

/// Appends one step record to a `Vec<u8>`. Call its methods in the order they stand here, which is the order the
/// sections must have; each at most once.
#[derive(Debug)]
pub struct StepWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    last: u16,
    too_large: bool,
}

impl<'o> StepWriter<'o> {
    /// Starts a record at the end of `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start, last: 0, too_large: false }
    }

    /// Index into `HelloOk.entries`; on the CALL that opens the session.
    pub fn entry(&mut self, index: u16) -> &mut Self {
        self.section(wire::SECTION_ENTRY, index, &[])
    }

    /// The request, written in place.
    pub fn request<'a, H, P>(&mut self, fields: RequestFields<'a, H, P>, names: Names) -> &mut Self
    where
        H: ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
        P: ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
    {
        self.section_with(wire::SECTION_REQUEST, |out| write_request(out, fields, names))
    }

    /// The open session of this worker that holds the request.
    pub fn request_of(&mut self, sid: u32) -> &mut Self {
        self.section(wire::SECTION_REQUEST_OF, 0, &sid.to_le_bytes())
    }

    /// The item's payload as JSON.
    pub fn payload(&mut self, json: &[u8]) -> &mut Self {
        self.section(wire::SECTION_PAYLOAD, 0, json)
    }

    /// The item's payload as an index into `Hello.payloads`.
    pub fn payload_id(&mut self, index: u32) -> &mut Self {
        self.section(wire::SECTION_PAYLOAD_ID, 0, &index.to_le_bytes())
    }

    /// There is a payload; it is fetched by GET_PAYLOAD.
    pub fn payload_call(&mut self) -> &mut Self {
        self.section(wire::SECTION_PAYLOAD_CALL, 0, &[])
    }

    /// The response head, written in place.
    pub fn response<'a>(
        &mut self,
        status: u16,
        flags: u32,
        headers: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
        names: Names,
    ) -> &mut Self {
        self.section_with(wire::SECTION_RESPONSE, |out| {
            write_head(out, status, flags, headers, names)
        })
    }

    /// The response head, from a record written before.
    pub fn response_record(&mut self, head: &[u8]) -> &mut Self {
        self.section(wire::SECTION_RESPONSE, 0, head)
    }

    /// One body piece; `last` when none follows.
    pub fn piece(&mut self, bytes: &[u8], last: bool) -> &mut Self {
        self.section(wire::SECTION_PIECE, if last { wire::PIECE_LAST } else { 0 }, bytes)
    }

    /// What Logging may ask; `error` is empty when there was none.
    pub fn stats(&mut self, bytes: u64, duration_ms: u64, error: &str) -> &mut Self {
        self.section_with(wire::SECTION_STATS, |out| {
            out.extend_from_slice(&bytes.to_le_bytes());
            out.extend_from_slice(&duration_ms.to_le_bytes());
            let text = &error.as_bytes()[..error.floor_char_boundary(wire::LIMIT_ERROR_TEXT)];
            out.extend_from_slice(text);
            Ok(())
        })
    }

    /// The response head is that of this session's last step that had one (SPEC.md 4.9).
    pub fn response_kept(&mut self) -> &mut Self {
        self.section(wire::SECTION_RESPONSE_KEPT, 0, &[])
    }

    /// The socket a conversation is about; on the CALL that begins it.
    pub fn websocket(&mut self, socket: &WebSocketSection<'_>) -> &mut Self {
        self.section_with(wire::SECTION_WEBSOCKET, |out| socket.write(out))
    }

    /// Ends the record.
    ///
    /// # Errors
    /// [`TooLarge`] when it is longer than `wire::LIMIT_RECORD`; the `Vec` is then as before.
    pub fn finish(self) -> Result<(), TooLarge> {
        if self.too_large {
            self.out.truncate(self.start);
            return Err(TooLarge);
        }
        Ok(())
    }

    fn section(&mut self, tag: u16, aux: u16, body: &[u8]) -> &mut Self {
        if body.len() > wire::LIMIT_RECORD {
            self.too_large = true;
            return self;
        }
        self.section_with(tag, |out| {
            out.extend_from_slice(body);
            Ok(())
        });
        if !self.too_large {
            let at = self.out.len() - HEAD - body.len().next_multiple_of(8);
            self.out[at + 2..at + 4].copy_from_slice(&aux.to_le_bytes());
        }
        self
    }

    fn section_with(
        &mut self,
        tag: u16,
        body: impl FnOnce(&mut Vec<u8>) -> Result<(), TooLarge>,
    ) -> &mut Self {
        debug_assert!(tag > self.last, "section {tag} after section {}", self.last);
        self.last = tag;
        if self.too_large {
            return self;
        }
        let at = self.out.len();
        self.out.resize(at + HEAD, 0);
        let written = body(self.out);
        let len = len32(self.out.len() - at - HEAD);
        self.out[at..at + 2].copy_from_slice(&tag.to_le_bytes());
        self.out[at + 4..at + 8].copy_from_slice(&len.to_le_bytes());
        pad8(self.out, self.start);
        self.too_large = written.is_err() || self.out.len() - self.start > wire::LIMIT_RECORD;
        self
    }
}

/// Where a session finds its request.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// In this record.
    Record(Request<'a>),
    /// In the open session of this sid, in the same worker.
    Session(u32),
}

/// Where a step's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Here, JSON bytes.
    Inline(&'a [u8]),
    /// In `Hello.payloads`, at this index.
    Id(u32),
    /// At the host: ask by GET_PAYLOAD.
    Call,
}

/// One body piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Whether no piece follows.
    pub last: bool,
}

/// What Logging may ask (SPEC.md 4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats<'a> {
    /// Response body bytes sent.
    pub bytes: u64,
    /// ms since the request began.
    pub duration_ms: u64,
    /// What went wrong, empty if nothing did; not checked to be UTF-8.
    pub error: &'a [u8],
}

/// A checked step record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step<'a> {
    /// Index into `HelloOk.entries`.
    pub entry: Option<u16>,
    /// The request.
    pub request: Option<Source<'a>>,
    /// The item's payload.
    pub payload: Option<Payload<'a>>,
    /// The response head as it stands.
    pub response: Option<Head<'a>>,
    /// The body piece.
    pub piece: Option<Piece<'a>>,
    /// What Logging may ask.
    pub stats: Option<Stats<'a>>,
    /// The response head is that of this session's last step that had one.
    pub response_kept: bool,
    /// The socket a conversation is about.
    pub websocket: Option<WebSocketSection<'a>>,
}

impl<'a> Step<'a> {
    /// Checks the payload of a host's CALL; `open` says whether the frame has the flag OPEN.
    ///
    /// # Errors
    /// `Violation::Record` naming the broken rule of SPEC.md 4.1 to 4.4 or 4.7 to 4.10.
    pub fn parse(payload: &'a [u8], open: bool, names: Names) -> Result<Self, Violation> {
        let bad = |rule| Err(Violation::Record(rule));
        let mut step = Self::default();
        let mut rest = payload;
        let mut last = 0;
        while !rest.is_empty() {
            let (section, after) = Section::parse(rest)?;
            if section.tag <= last {
                return bad(if section.tag == last { "step-twice" } else { "step-order" });
            }
            (last, rest) = (section.tag, after);
            step.add(&section, names)?;
        }
        match (open, step.entry, step.request) {
            (true, None, _) => bad("step-open-without-entry"),
            (true, _, None) => bad("step-open-without-request"),
            (false, Some(_), _) => bad("step-entry-without-open"),
            (false, _, Some(_)) => bad("step-request-without-open"),
            (true, ..) if step.response_kept => bad("step-response-kept-open"),
            (true, ..) if step.websocket.is_some() => bad("step-websocket-open"),
            _ if step.response_kept && step.response.is_some() => bad("step-two-responses"),
            _ => Ok(step),
        }
    }

    fn add(&mut self, section: &Section<'a>, names: Names) -> Result<(), Violation> {
        let Section { tag, aux, body } = *section;
        let length = Violation::Record("step-section-len");
        let word = || <[u8; 4]>::try_from(body).map(u32::from_le_bytes).map_err(|_| length);
        let empty = || if body.is_empty() { Ok(()) } else { Err(length) };
        match tag {
            wire::SECTION_ENTRY => {
                empty()?;
                self.entry = Some(aux);
            }
            wire::SECTION_REQUEST => {
                self.request = Some(Source::Record(Request::parse(body, names)?))
            }
            wire::SECTION_REQUEST_OF => {
                let sid = word()?;
                if self.request.replace(Source::Session(sid)).is_some() {
                    return Err(Violation::Record("step-two-requests"));
                }
            }
            wire::SECTION_PAYLOAD => self.set_payload(Payload::Inline(body))?,
            wire::SECTION_PAYLOAD_ID => self.set_payload(Payload::Id(word()?))?,
            wire::SECTION_PAYLOAD_CALL => {
                empty()?;
                self.set_payload(Payload::Call)?;
            }
            wire::SECTION_RESPONSE => self.response = Some(Head::parse(body, names)?),
            wire::SECTION_PIECE => {
                self.piece = Some(Piece { bytes: body, last: aux & wire::PIECE_LAST != 0 });
            }
            wire::SECTION_STATS => self.stats = Some(Stats::parse(body)?),
            wire::SECTION_RESPONSE_KEPT => {
                empty()?;
                self.response_kept = true;
            }
            wire::SECTION_WEBSOCKET => self.websocket = Some(WebSocketSection::parse(body)?),
            _ => {} // a later minor's section
        }
        Ok(())
    }

    fn set_payload(&mut self, payload: Payload<'a>) -> Result<(), Violation> {
        match self.payload.replace(payload) {
            None => Ok(()),
            Some(_) => Err(Violation::Record("step-two-payloads")),
        }
    }
}

impl<'a> Stats<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, Violation> {
        let short = Violation::Record("stats-short");
        Ok(Self {
            bytes: u64_at(body, 0).ok_or(short)?,
            duration_ms: u64_at(body, 8).ok_or(short)?,
            error: body.get(STATS..).ok_or(short)?,
        })
    }
}

/// One section as it stands.
struct Section<'a> {
    tag: u16,
    aux: u16,
    body: &'a [u8],
}

impl<'a> Section<'a> {
    /// The first section of `bytes` and what follows its padding.
    fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Violation> {
        let truncated = Violation::Record("step-truncated-head");
        let past_end = Violation::Record("step-past-end");
        let tag = u16_at(bytes, 0).ok_or(truncated)?;
        let aux = u16_at(bytes, 2).ok_or(truncated)?;
        let len = u32_at(bytes, 4).ok_or(truncated)? as usize;
        let end = HEAD + len;
        let (section, rest) = bytes.split_at_checked(end.next_multiple_of(8)).ok_or(past_end)?;
        if section.iter().skip(end).any(|&b| b != 0) {
            return Err(Violation::Record("step-padding"));
        }
        let body = section.get(HEAD..end).ok_or(past_end)?;
        Ok((Self { tag, aux, body }, rest))
    }
}
