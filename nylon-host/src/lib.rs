//! Nylon's host: runs plugins out of process.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod dispatch;
pub mod gateway;
pub mod template;
