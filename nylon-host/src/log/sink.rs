//! Where log lines go: into a bounded queue, which a thread of its own writes out. Who logs never waits, also when nobody
//! reads the log or its disk is full: what finds no room is dropped and counted (HARDENING row 27).

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

/// Bytes of lines that may wait; as many again may be on their way out.
const ROOM: usize = 1 << 20;
/// Of those, what is left to lines that come by request or from plugins: however many there are, the host still has a word.
const ROOM_OF_MANY: usize = ROOM / 4 * 3;

/// Lines that wait to be written.
#[derive(Debug)]
pub(super) struct Sink {
    queue: Mutex<Queue>,
    /// There are lines.
    filled: Condvar,
    /// All lines are out.
    emptied: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whole lines.
    bytes: Vec<u8>,
    /// The thread writes out what it took before.
    writing: bool,
}

impl Sink {
    pub(super) const fn new() -> Self {
        let queue = Queue { bytes: Vec::new(), writing: false };
        Self {
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Queues a line, which ends in a line feed. `many`: there may be one for every request, or as many as a plugin likes.
    pub(super) fn put(&self, line: &[u8], many: bool) {
        let room = if many { ROOM_OF_MANY } else { ROOM };
        let mut queue = self.lock();
        if queue.bytes.len() + line.len() > room {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = queue.bytes.is_empty() && !queue.writing;
        queue.bytes.extend_from_slice(line);
        drop(queue);
        if first {
            self.filled.notify_one();
        }
    }

    /// Lines lost so far: no room, or they could not be written.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was queued is written, but not longer than `within`; whether it is.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        let mut queue = self.lock();
        while queue.writing || !queue.bytes.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.emptied.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Writes lines out for ever. `lost` hears of lines that were dropped, once some can be written again.
    pub(super) fn run(&self, mut out: impl Write, lost: impl Fn(u64)) {
        let mut lines = Vec::new();
        let mut told = 0;
        let mut torn = false;
        loop {
            self.take(&mut lines);
            match write(&mut out, &lines, torn) {
                Ok(()) => torn = false,
                Err(left) => {
                    let left = &lines[lines.len() - left..];
                    torn = left.len() < lines.len() && lines[lines.len() - left.len() - 1] != b'\n';
                    let lines = left.iter().filter(|b| **b == b'\n').count();
                    self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
                    continue;
                }
            }
            let dropped = self.dropped();
            if dropped > told {
                lost(dropped - told);
                told = dropped;
            }
        }
    }

    /// Waits for lines and takes all there are.
    fn take(&self, lines: &mut Vec<u8>) {
        lines.clear();
        let mut queue = self.lock();
        while queue.bytes.is_empty() {
            queue.writing = false;
            self.emptied.notify_all();
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writing = true;
        std::mem::swap(lines, &mut queue.bytes);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all of `lines`, or says how many bytes are left. `torn`: the last line written is half of one.
fn write(out: &mut impl Write, lines: &[u8], torn: bool) -> Result<(), usize> {
    if torn {
        out.write_all(b"\n").map_err(|_| lines.len())?;
    }
    let mut left = lines;
    while !left.is_empty() {
        match out.write(left) {
            Ok(0) => return Err(left.len()),
            Ok(written) => left = &left[written..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(left.len()),
        }
    }
    Ok(())
}

/// Standard error without the lock of `std`: a panic, which takes that, must not wait for the log.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        loop {
            match rustix::io::write(stderr.as_fd(), bytes) {
                // Somebody who has the same pipe or terminal may have made it so.
                Err(rustix::io::Errno::AGAIN) => {
                    poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None)?;
                }
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::{ROOM, ROOM_OF_MANY, Sink};

    /// Takes what is written once the test lets it: `None` is an error after half of it.
    struct Gated(Receiver<bool>, Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = match self.0.recv() {
                Ok(true) => bytes.len(),
                Ok(false) => bytes.len() / 2,
                Err(_) => return Err(std::io::ErrorKind::StorageFull.into()),
            };
            self.1.lock().unwrap().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct Case {
        sink: &'static Sink,
        gate: Sender<bool>,
        written: Arc<Mutex<Vec<u8>>>,
        lost: Receiver<u64>,
    }

    fn case() -> Case {
        let sink: &'static Sink = Box::leak(Box::new(Sink::new()));
        let (gate, gated) = channel();
        let (tell, lost) = channel();
        let written = Arc::new(Mutex::default());
        let out = Gated(gated, Arc::clone(&written));
        std::thread::spawn(move || sink.run(out, |lines| tell.send(lines).unwrap_or_default()));
        Case { sink, gate, written, lost }
    }

    #[test]
    fn nobody_waits_for_a_blocked_log_and_what_was_lost_is_told() {
        let Case { sink, gate, written, lost } = case();
        sink.put(b"first\n", false);
        // Taken or still queued: it is in nobody's way for long.
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        (0..ROOM / 1024 * 3).for_each(|_| sink.put(&line, true));
        let dropped = sink.dropped();
        assert!(dropped > 0, "the fault did not happen");
        sink.put(b"the host has a word\n", false);
        assert_eq!(sink.dropped(), dropped, "room is kept for the host");
        assert!(!sink.flush(Duration::from_millis(20)), "it is blocked");
        for _ in 0..4 {
            gate.send(true).unwrap();
        }
        assert_eq!(lost.recv_timeout(Duration::from_secs(10)), Ok(dropped));
        assert!(sink.flush(Duration::from_secs(10)));
        let written = written.lock().unwrap();
        assert!(written.starts_with(b"first\n") && written.ends_with(b"the host has a word\n"));
        assert!(written.len() <= ROOM + ROOM_OF_MANY);
    }

    #[test]
    fn lines_that_cannot_be_written_count_as_dropped() {
        let Case { sink, gate, written, .. } = case();
        gate.send(false).unwrap();
        drop(gate);
        sink.put(b"12345\n12345\n", false);
        assert!(sink.flush(Duration::from_secs(10)));
        assert_eq!(sink.dropped(), 1);
        assert_eq!(*written.lock().unwrap(), b"12345\n");
    }
}
