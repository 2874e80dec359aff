//! Records: what stands in a frame's payload (SPEC.md 4).
//!
//! Writers append to a `Vec<u8>` and take the whole record back when it would be too large. Readers take a private
//! copy, check all of it once, and give views into it; no input makes them panic.

mod addressed;
mod closing;
mod fault;
mod head;
mod mutation;
mod names;
mod pairs;
mod request;
mod step;
mod websocket;

pub use addressed::{Addressed, name};
pub use closing::{Closing, close_code};
pub use fault::{Fault, write_fault};
pub use head::{Head, write_head};
pub use mutation::{Mutation, MutationWriter, Op, Ops, Value};
pub use names::Names;
pub use pairs::Pairs;
pub use request::{Request, RequestFields, write_request};
pub use step::{Payload, Piece, Source, Stats, Step, StepWriter};
pub use websocket::WebSocketSection;

/// The record would be longer than `wire::LIMIT_RECORD`; nothing of it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of more than 65536 bytes")]
pub struct TooLarge;
