//! What a worker prints, line by line into the host's log.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longest line kept; the rest of a longer one is cut off (HARDENING row 26).
const LINE_MAX: usize = 8 * 1024;

/// Forwards `from` until its end, each line as one event of target `plugin`.
pub(super) fn forward(
    plugin: Arc<str>,
    pid: u32,
    stream: &'static str,
    from: impl AsyncRead + Send + Unpin + 'static,
) {
    tokio::spawn(async move {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while let Ok(true) = next_line(&mut from, &mut line).await {
            let text = escape(&line);
            tracing::info!(target: "plugin", plugin = &*plugin, pid, stream, "{text}");
        }
    });
}

/// Reads one line without its end, keeping at most `LINE_MAX` bytes of it; false at the end of the stream.
async fn next_line(
    from: &mut (impl AsyncBufReadExt + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    line.clear();
    loop {
        let chunk = from.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = chunk.iter().position(|&b| b == b'\n');
        let kept = end.unwrap_or(chunk.len()).min(LINE_MAX - line.len());
        line.extend_from_slice(&chunk[..kept]);
        let used = end.map_or(chunk.len(), |at| at + 1);
        from.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Control bytes and junk made visible, so that no plugin forges a log line or drives a terminal.
fn escape(line: &[u8]) -> String {
    let mut out = String::with_capacity(line.len());
    for c in String::from_utf8_lossy(line).trim_end_matches('\r').chars() {
        if c.is_control() && c != '\t' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_and_escaped() {
        let mut input = b"plain\r\n\x1b[31mred\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', LINE_MAX + 10));
        input.extend(b"\nlast");
        let mut from = BufReader::new(&input[..]);
        let (mut line, mut seen) = (Vec::new(), Vec::new());
        while next_line(&mut from, &mut line).await.expect("memory") {
            seen.push(escape(&line));
        }
        assert_eq!(seen[0], "plain");
        assert_eq!(seen[1], "\\u{1b}[31mred");
        assert_eq!(seen[2].len(), LINE_MAX);
        assert_eq!(seen[3], "last");
    }
}
