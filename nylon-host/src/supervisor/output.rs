//! What a worker prints, line by line into the host's log: cut, escaped, and no more than a host can take
//! (HARDENING rows 26, 27).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Level;

use super::limits::Limits;
use super::said::Said;
use super::tail::{LogLine, Tail};
use crate::log::PLUGIN;
use crate::metrics::PluginMetrics;
use crate::printable::printable;

/// Longest line kept; the rest of a longer one is cut off.
const LINE_MAX: usize = 8 * 1024;
/// What a line costs beyond its bytes.
const LINE_COST: usize = 64;
/// A stream over its rate is read so much at a time, and thrown away, with a pause: past that its writer waits.
const CHUNK: usize = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(10);
/// How long what a worker said last is waited for: a child it left behind may hold the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Whose output it is.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) plugin: Arc<str>,
    /// Pid of the worker.
    pub(super) worker: u32,
    pub(super) generation: u32,
}

/// How much log a stream may cause, in bytes, and where the lines beyond that are counted.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    second: u64,
    burst: u64,
    metrics: Arc<PluginMetrics>,
}

impl Rate {
    pub(super) fn of(limits: &Limits, metrics: &Arc<PluginMetrics>) -> Self {
        let (second, burst) = (limits.log_rate, limits.log_burst);
        Self { second, burst, metrics: metrics.clone() }
    }
}

/// The output of one worker. Forwarded until its end, each line as one event of target `plugin`; not for long once this
/// is dropped, since the worker is gone then.
#[derive(Debug)]
pub(super) struct Output {
    source: Source,
    rate: Rate,
    tail: Arc<Tail>,
    streams: TaskTracker,
    gone: CancellationToken,
}

impl Output {
    /// Of a worker, without a stream yet; each may cause as much log as `rate` says.
    pub(super) fn of(source: Source, rate: Rate) -> Self {
        let (tail, streams, gone) = <(_, TaskTracker, _)>::default();
        Self { source, rate, tail, streams, gone }
    }

    /// Forwards `from` as well.
    pub(super) fn forward(
        &self,
        stream: &'static str,
        from: impl AsyncRead + Send + Unpin + 'static,
    ) {
        let (source, rate) = (self.source.clone(), self.rate.clone());
        let (tail, gone) = (self.tail.clone(), self.gone.clone());
        self.streams.spawn(async move {
            let mut lines = std::pin::pin!(lines(&source, stream, from, &rate, &tail));
            tokio::select! {
                () = &mut lines => return,
                () = gone.cancelled() => {}
            }
            let _ = tokio::time::timeout(LAST_WORDS, lines).await;
        });
    }

    /// The last lines of a worker that is gone, once all it said has been read.
    pub(super) fn last_words(&self) -> impl Future<Output = Vec<LogLine>> + Send + use<> {
        self.gone.cancel();
        self.streams.close();
        let (streams, tail) = (self.streams.clone(), self.tail.clone());
        async move {
            streams.wait().await;
            tail.lines()
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

async fn lines(
    source: &Source,
    stream: &'static str,
    from: impl AsyncRead + Unpin,
    rate: &Rate,
    tail: &Tail,
) {
    let mut from = BufReader::with_capacity(CHUNK, from);
    let mut line = Vec::new();
    let mut bucket = Bucket::new(rate, Instant::now());
    let mut dropped = 0u64;
    while let Ok(true) = next_line(&mut from, &mut line).await {
        // Lines that are there already come without a wait: others get their turn all the same.
        tokio::task::coop::consume_budget().await;
        if bucket.take(line.len() + LINE_COST, Instant::now()) {
            if dropped > 0 {
                source.dropped(stream, dropped);
                dropped = 0;
            }
            source.log(stream, &line);
            tail.push(stream, &line, false);
        } else {
            let rest = from.buffer();
            let lost = 1 + rest.iter().filter(|b| **b == b'\n').count() as u64;
            dropped += lost;
            rate.metrics.log_lines_dropped.fetch_add(lost, Ordering::Relaxed);
            tail.push(stream, &line, true);
            tail.push_dropped(stream, rest);
            let all = rest.len();
            from.consume(all);
            tokio::time::sleep(PAUSE).await;
        }
    }
    if dropped > 0 {
        source.dropped(stream, dropped);
    }
}

impl Source {
    fn log(&self, stream: &'static str, line: &[u8]) {
        let Self { plugin, worker, generation } = self;
        let plugin = &**plugin;
        let Some(said) = Said::of(line) else {
            tracing::info!(target: PLUGIN, plugin, worker, generation, stream, "{}", text(line));
            return;
        };
        let Said { level, message, entry, request_id, trace_id, attributes } = said;
        // A level belongs to the place of an event, so there is one for each.
        macro_rules! at {
            ($level:expr) => {
                tracing::event!(
                    target: PLUGIN, $level, plugin, worker, generation, stream, entry = entry.as_deref(),
                    request_id = request_id.as_deref(), trace_id = trace_id.as_deref(),
                    attributes = attributes.as_deref(), "{message}"
                )
            };
        }
        match level {
            Level::ERROR => at!(Level::ERROR),
            Level::WARN => at!(Level::WARN),
            Level::INFO => at!(Level::INFO),
            _ => at!(Level::DEBUG),
        }
    }

    fn dropped(&self, stream: &'static str, dropped: u64) {
        let Self { plugin, worker, generation } = self;
        let plugin = &**plugin;
        tracing::warn!(target: PLUGIN, plugin, worker, generation, stream, dropped, "printed too much: lines dropped");
    }
}

/// A token bucket of bytes.
struct Bucket {
    second: u64,
    burst: u64,
    left: u64,
    since: Instant,
}

impl Bucket {
    fn new(rate: &Rate, now: Instant) -> Self {
        Self { second: rate.second, burst: rate.burst, left: rate.burst, since: now }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let bytes = bytes as u64;
        let passed = now.saturating_duration_since(self.since).as_millis();
        let earned = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(self.second) / 1000;
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(self.burst);
            self.since = now;
        }
        let paid = bytes <= self.left;
        self.left -= if paid { bytes } else { 0 };
        paid
    }
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

/// A line as it is shown.
pub(super) fn text(line: &[u8]) -> String {
    printable(String::from_utf8_lossy(line).trim_end_matches('\r'), usize::MAX)
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
            seen.push(text(&line));
        }
        assert_eq!(seen[0], "plain");
        assert_eq!(seen[1], "\\u{1b}[31mred");
        assert_eq!(seen[2].len(), LINE_MAX);
        assert_eq!(seen[3], "last");
    }

    #[test]
    fn a_bucket_pays_out_its_burst_and_then_its_rate() {
        let rate = Rate { second: 64 << 10, burst: 256 << 10, metrics: Arc::default() };
        let start = Instant::now();
        let mut bucket = Bucket::new(&rate, start);
        let pieces = (0..).take_while(|_| bucket.take(1024, start)).count();
        assert_eq!(pieces, 256);
        let later = start + Duration::from_secs(1);
        let pieces = (0..).take_while(|_| bucket.take(1024, later)).count();
        assert_eq!(pieces, 64);
        assert!(!bucket.take(1024, start), "a clock that goes back pays nothing");
    }
}
