//! Dispatch: which route, which plugins, which phase.

pub mod route;
