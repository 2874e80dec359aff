//! Nylon's host: plugins out of process, at in-process speed.
//!
//! A [`Host`] starts plugin programs as worker processes and keeps them running. A [`Chain`] says which of their entries
//! see a request; [`Chain::call`] sends one through, and answers with what they and the service behind them made of it.
//! A worker may panic, hang or scribble over its memory: the request it had fails, the host goes on, and a new worker
//! takes over.
//!
//! ```
//! use nylon_host::{Body, Client, Host, Item, PluginSpec};
//!
//! # let program = nylon_tests::program::plugin("hello");
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let config = br#"{"greeting": "hello"}"#.to_vec();
//! let spec = PluginSpec { config, ..PluginSpec::new("hello", program) }; // the program of examples/hello
//! let host = Host::start(vec![spec]).await.expect("it starts");
//! let chain = host.chain().service(Item::new("hello", "hello")).expect("it is there").build();
//!
//! let request = http::Request::get("http://localhost/greeting").body(Body::empty()).unwrap();
//! let client = Client { ip: [127, 0, 0, 1].into(), tls: false };
//! let response = chain.call(request, client, vec![], async |_| unreachable!("the plugin answers")).await;
//!
//! assert_eq!(response.status(), 200);
//! host.stop(std::time::Duration::from_secs(5)).await;
//! # });
//! ```
//!
//! Without a `tracing` subscriber, what plugins print and the stacks of their panics go nowhere, and so does what the
//! host has to say of them. One line at the start of `main`, with the crate `tracing-subscriber`, sends all of it to standard output:
//!
//! ```
//! tracing_subscriber::fmt::init();
//! ```
//!
//! `host.status("hello")` says how a plugin fares; its `entries` are those the plugin registered. A chain is built
//! without asking them, as a plugin may be started anew with others: an entry that is not there is a 500 for each
//! request that needs it.
//!
//! The way of a call is down by calls and up by return values: gateway → dispatch → session → lane → worker. The
//! supervisor stands beside it. In front of an axum, tonic or hyper service use the tower layer.
#![deny(unsafe_code)]

pub mod admin;
pub mod bench;
mod body;
mod bytesize;
pub mod cli;
pub mod config;
pub mod dispatch;
mod error;
pub mod gateway;
mod history;
mod host;
pub mod inspect;
mod lane;
pub mod layer;
pub mod log;
pub mod metrics;
pub mod notify;
mod printable;
mod readiness;
mod request_id;
mod rooms;
mod rope;
mod session;
mod supervisor;
pub mod template;
mod websocket;

pub use body::{Body, BodyError};
pub use config::{OnFailure, OnWorkerLoss, PhasePolicies, Policy, SlowClient, Tracing, WebSockets};
pub use dispatch::{Chain, ChainBuilder, Client, Item, Payload, ServiceError, UnknownPlugin};
pub use error::{ControlError, Failure, StartError, StartErrors};
pub use host::Host;
pub use lane::{SpinDecision, SpinReason, WaitPolicy};
pub use layer::{NylonLayer, NylonService, Params};
pub use supervisor::{
    Backoff, Breaker, DrainStreams, PluginSpec, PluginState, PluginStatus, Restart, Supervision,
    WorkerState, WorkerStatus,
};
pub use supervisor::{CgroupMemory, LimitStatus, Limits};
pub use supervisor::{Confinement, NotSha256, Sandbox, SandboxLevel, SandboxPart, Sha256, harden};
pub use websocket::Origins;

/// Oldest and newest version of the wire this host speaks: (major, minor) each.
pub const PROTOCOL: ((u16, u16), (u16, u16)) = (
    (nylon_protocol::wire::ABI_MAJOR, nylon_protocol::wire::ABI_MINOR_MIN),
    (nylon_protocol::wire::ABI_MAJOR, nylon_protocol::wire::ABI_MINOR),
);
