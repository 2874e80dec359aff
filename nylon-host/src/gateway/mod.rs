//! Gateway: speaks HTTP, and knows no plugin.

pub mod modifier;
