//! One conversation as a state machine: what a worker's frames say. No lane, no clock, no task.

use bytes::{Bytes, BytesMut};
use nylon_protocol::check::{self, Messages, Side};
use nylon_protocol::record::{self, Addressed, Fault, name};
use nylon_protocol::{Frame, Violation, wire};

use super::http::{HostCall, failure};
use super::phase::PhaseSet;
use crate::error::Failure;
use crate::lane::Inbound;
use crate::websocket::{Closing, Kind, Message};

/// What a worker says, in the order it does. A message comes with what it costs, to be given back once it was handed on.
#[derive(Debug)]
pub(crate) enum Said {
    /// A piece of a message that is not whole: its cost is to be given back, or the rest may never come.
    Piece(u32),
    /// To the client.
    Message(Message, u32),
    /// The socket is to be closed. Nothing to the client follows.
    Close(Closing),
    /// A ping to the client, at most 125 bytes.
    Ping(Bytes),
    /// The connection is to be in the room of this name.
    Join(String),
    /// It is not to be in it any more.
    Leave(String),
    /// To all in a room.
    Broadcast(String, Message, u32),
    /// To another connection, by its id.
    SendTo(String, Message, u32),
    /// How many are in a room? To be answered.
    RoomSize(HostCall, String),
    /// Its worker takes nothing new: the socket is to be closed, or handed over. Once.
    Withdrawn,
    /// The last that is said: the plugin has heard of the close, or has let go of the socket.
    Ended,
}

/// The machine's answer to a frame.
#[derive(Debug)]
pub(super) enum Heard {
    /// Tell the caller, and give this cost back at once.
    Said(Said, u32),
    /// Nothing yet, or nothing any more: give this cost back.
    Nothing(u32),
    /// The final frame came; what the session still wants.
    Ended(PhaseSet),
    /// The final frame came: a callback could not run.
    Failed(Failure),
    /// The host does not know the method of this call: say so, and fail the session.
    Unknown(HostCall),
    /// The worker broke the protocol.
    Violation(Violation),
}

/// What a worker said so far of one conversation.
#[derive(Debug)]
pub(super) struct Machine {
    messages: Messages,
    /// The message whose last piece has not come.
    partial: Option<Partial>,
    max_message: usize,
    /// The client is not told anything any more.
    silent: bool,
}

#[derive(Debug, Default)]
struct Partial {
    /// Whom it is for, if not the client.
    name: Option<String>,
    bytes: BytesMut,
    /// It is larger than it may be; its bytes are dropped.
    too_large: bool,
}

/// What the client is told when its plugin says what cannot be sent (RFC 6455 7.4.1).
const INTERNAL_ERROR: u16 = 1011;

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            messages: Messages::default(),
            partial: None,
            max_message: wire::LIMIT_RAW_BODY,
            silent: false,
        }
    }

    /// Holds messages to at most `bytes`.
    pub(super) fn limit_message(&mut self, bytes: usize) {
        self.max_message = bytes;
    }

    /// What a frame of the worker, already known to be this conversation's, means.
    pub(super) fn on_frame(&mut self, inbound: Inbound) -> Heard {
        let Inbound { frame, payload } = inbound;
        let heard = match frame.kind {
            wire::KIND_DATA => self.on_data(&frame, payload),
            wire::KIND_REPLY if frame.method == wire::METHOD_WEBSOCKET_ON_CLOSE => {
                Ok(Heard::Ended(PhaseSet::from_wire(frame.status)))
            }
            wire::KIND_REPLY => Err(Violation::Method(frame.method)),
            wire::KIND_ERROR => Fault::parse(&payload).map(|fault| Heard::Failed(failure(&fault))),
            wire::KIND_CALL => on_call(&frame, &payload),
            other => Err(Violation::Kind(other)),
        };
        heard.unwrap_or_else(Heard::Violation)
    }

    fn on_data(&mut self, frame: &Frame, payload: Bytes) -> Result<Heard, Violation> {
        let first = self.messages.take(frame)?;
        let cost = check::cost(frame);
        let said = match frame.method {
            wire::METHOD_WEBSOCKET_CLOSE => {
                self.partial = None;
                return Ok(match closing(&payload)? {
                    _ if self.silent => Heard::Nothing(cost),
                    closing => self.say_close(closing, cost),
                });
            }
            wire::METHOD_WEBSOCKET_PING if self.silent => return Ok(Heard::Nothing(cost)),
            wire::METHOD_WEBSOCKET_PING => Said::Ping(payload),
            wire::METHOD_WEBSOCKET_JOIN_ROOM => Said::Join(name(&payload)?.to_owned()),
            wire::METHOD_WEBSOCKET_LEAVE_ROOM => Said::Leave(name(&payload)?.to_owned()),
            _ => return self.on_piece(frame, first, payload, cost),
        };
        Ok(Heard::Said(said, cost))
    }

    /// A piece of a message. What came before its last piece is to be given back before that: a message may be larger than
    /// the window.
    fn on_piece(
        &mut self,
        frame: &Frame,
        first: bool,
        payload: Bytes,
        cost: u32,
    ) -> Result<Heard, Violation> {
        let (whom, kind) = addressee(frame.method).ok_or(Violation::Method(frame.method))?;
        let mut piece = payload;
        let mut partial = self.partial.take().filter(|_| !first).unwrap_or_default();
        if first && whom != Whom::Client {
            let Addressed { name, bytes } = Addressed::parse(&piece)?;
            partial.name = Some(name.to_owned());
            piece = if bytes.is_empty() { Bytes::new() } else { piece.slice_ref(bytes) };
        }
        partial.too_large |= partial.bytes.len() + piece.len() > self.max_message;
        if frame.has(wire::FLAG_MORE) {
            let dropped = partial.too_large || self.drops(whom);
            if dropped {
                partial.bytes = BytesMut::new();
            } else {
                partial.bytes.extend_from_slice(&piece);
            }
            self.partial = Some(partial);
            return Ok(match dropped {
                true => Heard::Nothing(cost),
                false => Heard::Said(Said::Piece(cost), 0),
            });
        }
        if self.drops(whom) {
            return Ok(Heard::Nothing(cost));
        }
        if partial.too_large {
            let reason = format!("a message of over {} bytes", self.max_message);
            return Ok(self.say_close(internal_error(reason), cost));
        }
        let bytes = if partial.bytes.is_empty() {
            piece
        } else {
            partial.bytes.extend_from_slice(&piece);
            partial.bytes.freeze()
        };
        if kind == Kind::Text && std::str::from_utf8(&bytes).is_err() {
            return Ok(self.say_close(internal_error("a text that is not UTF-8".into()), cost));
        }
        let message = Message { kind, bytes };
        let name = partial.name.unwrap_or_default();
        let said = match whom {
            Whom::Client => Said::Message(message, cost),
            Whom::Room => Said::Broadcast(name, message, cost),
            Whom::Connection => Said::SendTo(name, message, cost),
        };
        Ok(Heard::Said(said, 0))
    }

    /// Whether what is for `whom` is not said any more.
    fn drops(&self, whom: Whom) -> bool {
        self.silent && whom == Whom::Client
    }

    fn say_close(&mut self, closing: Closing, cost: u32) -> Heard {
        if std::mem::replace(&mut self.silent, true) {
            return Heard::Nothing(cost);
        }
        Heard::Said(Said::Close(closing), cost)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Client,
    Room,
    Connection,
}

fn addressee(method: u32) -> Option<(Whom, Kind)> {
    Some(match method {
        wire::METHOD_WEBSOCKET_SEND_TEXT => (Whom::Client, Kind::Text),
        wire::METHOD_WEBSOCKET_SEND_BINARY => (Whom::Client, Kind::Binary),
        wire::METHOD_WEBSOCKET_BROADCAST_ROOM_TEXT => (Whom::Room, Kind::Text),
        wire::METHOD_WEBSOCKET_BROADCAST_ROOM_BINARY => (Whom::Room, Kind::Binary),
        wire::METHOD_WEBSOCKET_SEND_TEXT_TO => (Whom::Connection, Kind::Text),
        wire::METHOD_WEBSOCKET_SEND_BINARY_TO => (Whom::Connection, Kind::Binary),
        _ => return None,
    })
}

fn on_call(frame: &Frame, payload: &[u8]) -> Result<Heard, Violation> {
    let call = HostCall { number: frame.status, method: frame.method };
    if call.method != wire::METHOD_WEBSOCKET_ROOM_SIZE {
        return Ok(Heard::Unknown(call));
    }
    Ok(Heard::Said(Said::RoomSize(call, name(payload)?.to_owned()), 0))
}

/// How the worker wants the socket closed. What no close frame may say becomes an error of the plugin; what is no record
/// is a violation.
fn closing(payload: &[u8]) -> Result<Closing, Violation> {
    match record::Closing::parse(payload, Side::Worker) {
        Ok(record::Closing { code, reason }) => Ok(Closing { code, reason: reason.to_owned() }),
        Err(violation) if payload.len() == 1 => Err(violation),
        Err(_) => Ok(internal_error("a close that cannot be sent".into())),
    }
}

fn internal_error(reason: String) -> Closing {
    Closing { code: Some(INTERNAL_ERROR), reason }
}
