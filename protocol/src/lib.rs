//! The Nylon wire: what a host and a worker exchange, and nothing else.
//!
//! `wire.toml` is the table of every number, [`wire`] its generated constants, SPEC.md the explanation, `vectors/`
//! the judge. This crate is pure: no I/O, no clock, no shared memory. A decoder here takes a private copy of what a
//! peer wrote and either yields checked values or names the [`Violation`].
#![deny(unsafe_code)]

mod bytes;
pub mod check;
pub mod frame;
mod generated;
pub mod handshake;
pub mod headers;
pub mod record;
pub mod segment;
pub mod violation;
pub mod wire;

pub use frame::{FfiBuffer, Frame, Slot, Token};
pub use segment::Geometry;
pub use violation::Violation;
