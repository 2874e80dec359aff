//! Admin: what an operator asks of a running gateway.
//!
//! In: HTTP and JSON on a Unix socket that is its owner's alone, or on loopback with a token.  Out: orders to the host and
//! the gateway, and what they say of themselves.
//! Never: a request of a client, or a word of a worker.

mod access;
mod answer;
mod endpoint;
mod follow;
mod listen;
mod openapi;
mod peer;
mod programs;
mod query;
mod server;
pub mod top;
pub mod view;

pub use endpoint::{ENDPOINTS, Endpoint, Kind};
pub use listen::directories;
pub use openapi::document;

pub(crate) use listen::{Bound, bind};
pub(crate) use server::Admin;
