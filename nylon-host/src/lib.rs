//! Nylon's host: runs plugins out of process.
#![deny(unsafe_code)]

mod body;
pub mod cli;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod gateway;
mod host;
mod lane;
mod readiness;
pub mod session;
mod supervisor;
pub mod template;

pub use body::{Body, BodyError};
pub use dispatch::{Chain, Client, Item, Payload};
pub use error::{Failure, StartError};
pub use host::Host;
pub use supervisor::{Exit, PluginSpec, PluginState, PluginStatus, WaitPolicy};
