//! What the rows hold. Every field is a `u64`, so that a row is its words in the order written here, and all of them are
//! in its checksum: change nothing without a new magic.
//!
//! Moments are milliseconds of `CLOCK_MONOTONIC` ([`super::now_ms`]): a reader tells an age without asking the host, also
//! while that is stopped.

use std::fmt;

use bytemuck::{Pod, Zeroable};

/// Names of the states of plugins and workers, by number; the last three are those of workers alone.
pub const STATES: [&str; 10] = [
    "starting",
    "ready",
    "backing off",
    "failed",
    "stopped",
    "paused",
    "drained",
    "draining",
    "stopping",
    "hung",
];

/// Names of the phases, in the order of [`PluginRow::phases`]: that of their numbers in frames, from 1.
pub const PHASES: [&str; 5] =
    ["request_filter", "response_filter", "response_body_filter", "logging", "request_body_filter"];

/// The host itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct HostRow {
    /// 1 while the segment is in use.
    pub id: u64,
    /// Its process id.
    pub pid: u64,
    /// When that process started, in ticks since boot as field 22 of `/proc/PID/stat` has it: a later process of the
    /// same number has another.
    pub start_ticks: u64,
    /// When the host started, Unix time in ms.
    pub started_ms: u64,
    /// When it last stored this row: a moment.
    pub beat_ms: u64,
    /// How often it stores rows, ms.
    pub period_ms: u64,
    /// Its version.
    pub version: Text<4>,
}

/// The calls of one phase.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PhaseRow {
    /// Handlers run so far.
    pub calls: u64,
    /// Half of those of the last ten seconds took no longer, ns; 0: none ran.
    pub p50_ns: u64,
    /// 99 of 100 of those of the last ten seconds took no longer, ns; 0: none ran.
    pub p99_ns: u64,
}

/// One plugin: all its workers together, those that are gone included.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PluginRow {
    /// Number of the claim of this row; 0: the row is free. [`super::Slot::store`] writes it.
    pub id: u64,
    /// When it was stored: a moment. [`super::Slot::store`] writes it.
    pub updated_ms: u64,
    /// Index in [`STATES`].
    pub state: u64,
    /// Workers started so far.
    pub generation: u64,
    /// Workers that serve.
    pub workers_ready: u64,
    /// Workers there should be.
    pub workers_wanted: u64,
    /// Handlers run.
    pub calls: u64,
    /// Of those, out of time.
    pub deadlines: u64,
    /// Workers that ended without being asked to.
    pub crashes: u64,
    /// Answers that came too late or twice.
    pub late: u64,
    /// Breaches of the protocol.
    pub violations: u64,
    /// Workers started in place of one that ended, or hung, without being asked to.
    pub restarts: u64,
    /// Results refused as a whole: what they asked for is not allowed.
    pub refused: u64,
    /// Failures let pass by `on_failure: open`.
    pub passed_open: u64,
    /// Handlers running now.
    pub in_flight: u64,
    /// Calls that wait now: for a place in the plugin, or while a worker runs as many handlers as it can.
    pub queue_depth: u64,
    /// Sessions open now.
    pub sessions: u64,
    /// Frames sent to workers.
    pub frames_down: u64,
    /// Frames taken from workers.
    pub frames_up: u64,
    /// Level of the sandbox its workers reached.
    pub sandbox: u64,
    /// Number of the build that runs, from 1; an upgrade counts it up.
    pub build: u64,
    /// Its phases, in the order of [`PHASES`].
    pub phases: [PhaseRow; 5],
    /// Its name.
    pub name: Text<16>,
    /// How the last worker ended that was not asked to.
    pub last_exit: Text<16>,
}

/// One worker of a plugin: a place that one process after the other has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct WorkerRow {
    /// Number of the claim of this row; 0: the row is free. [`super::Slot::store`] writes it.
    pub id: u64,
    /// When it was stored: a moment. [`super::Slot::store`] writes it.
    pub updated_ms: u64,
    /// [`PluginRow::id`] of its plugin.
    pub plugin: u64,
    /// Its process; 0: none.
    pub pid: u64,
    /// Which start of the plugin it is.
    pub generation: u64,
    /// Index in [`STATES`].
    pub state: u64,
    /// When its process started: a moment; 0: there is none.
    pub started: u64,
    /// Handlers this process ran.
    pub calls: u64,
    /// Of those, out of time.
    pub deadlines: u64,
    /// Its answers that came too late or twice.
    pub late: u64,
    /// Handlers running now.
    pub in_flight: u64,
    /// Sessions open now.
    pub sessions: u64,
    /// When the oldest of those was opened: a moment; 0: none is open.
    pub oldest_session: u64,
    /// Slots in use of its rings: frames published to it whose slots it has not given back, by its own word, which is
    /// checked. `0 ..= ring_slots`.
    pub ring_down: u64,
    /// The same of frames from it, those it published and the host has not taken among them.
    pub ring_up: u64,
    /// Slots there are in each direction, over all lanes.
    pub ring_slots: u64,
    /// Bytes in use for payloads to it, not given back likewise. `0 ..= arena_bytes`.
    pub arena_down: u64,
    /// Bytes in use for payloads from it.
    pub arena_up: u64,
    /// Bytes there are in each direction, over all lanes.
    pub arena_bytes: u64,
    /// Times it woke up for a lane. It says so itself.
    pub wakes: u64,
    /// Times it handed a lane to another of its threads. It says so itself.
    pub handovers: u64,
    /// Times it was asked to take a lane over.
    pub rescues: u64,
    /// How long host and worker poll before they sleep, ns; 0: not at all.
    pub spin_ns: u64,
    /// Why: the host's `SpinReason`.
    pub spin_reason: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// CPU time taken so far, ns.
    pub cpu_ns: u64,
    /// Frames sent to this process.
    pub frames_down: u64,
    /// Frames taken from this process.
    pub frames_up: u64,
    /// Its handlers by phase, in the order of [`PHASES`].
    pub phases: [PhaseRow; 5],
    /// How the process before this one ended.
    pub last_exit: Text<16>,
}

/// A short text: `8 * WORDS` bytes of UTF-8, padded with zeros.
///
/// [`Display`](fmt::Display) shows what is there whoever wrote it: on one line, control characters made visible.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Text<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Text<WORDS> {
    /// As much of `text` as there is room for, cut between characters.
    pub fn new(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(WORDS * 8)];
        let mut words = [0; WORDS];
        for (word, chunk) in words.iter_mut().zip(text.as_bytes().chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_le_bytes(bytes);
        }
        Self(words)
    }
}

impl<const WORDS: usize> Default for Text<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> fmt::Display for Text<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") }
        })
    }
}

impl<const WORDS: usize> fmt::Debug for Text<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn a_text_keeps_what_fits_in_whole_characters() {
        assert_eq!(Text::<1>::new("eight by").to_string(), "eight by");
        assert_eq!(Text::<1>::new("seven bé").to_string(), "seven b");
        assert_eq!(Text::<2>::new("").to_string(), "");
    }

    #[test]
    fn a_foreign_text_drives_no_terminal() {
        assert_eq!(Text::<1>::new("\u{1b}[2J\n").to_string(), "\\u{1b}[2J\\n");
        assert_eq!(Text([u64::MAX]).to_string(), "\u{fffd}".repeat(8));
    }
}
