//! The output of flatc, as it came. Nothing outside `handshake` and `headers` touches it, and only through its
//! verifier. To renew it after a change of `schema/`, with flatc 25.12.19: `flatc --rust -o src/generated schema/*.fbs`;
//! the Go half is in sdk-go/internal/wire/doc.go.
#![allow(
    unsafe_code,
    unreachable_pub,
    missing_docs,
    unused_imports,
    dead_code,
    deprecated,
    mismatched_lifetime_syntaxes,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::cast_possible_truncation
)]

#[rustfmt::skip]
mod headers_generated;
#[rustfmt::skip]
mod nylon_generated;

pub(crate) use headers_generated::nylon_plugin;
pub(crate) use nylon_generated::nylon::wire;

/// Verifier limits for a message of `len` bytes: honest messages do not share strings, so one that unfolds to a
/// multiple of its size is refused before anything is copied out of it.
pub(crate) fn limits(len: usize) -> flatbuffers::VerifierOptions {
    flatbuffers::VerifierOptions {
        max_depth: 8,
        max_tables: len / 8,
        max_apparent_size: len.saturating_mul(2).saturating_add(256),
        ignore_missing_null_terminator: false,
    }
}
