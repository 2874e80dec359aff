//! A worker's words as text that forges no log line and drives no terminal.

use std::fmt::Write as _;

/// `text` on one line, at most `max` bytes of it, its control characters but the tab made visible.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let text = &text[..text.floor_char_boundary(max)];
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
