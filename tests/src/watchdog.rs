//! A test that hangs ends, with what it started.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::proc;

static STARTED: Mutex<Option<HashSet<u32>>> = Mutex::new(None);

/// Stops its clock when dropped.
#[derive(Debug)]
pub struct Watchdog(#[expect(dead_code, reason = "held to be dropped")] Sender<()>);

/// Ends the whole test program, gateways included, unless dropped within `seconds`.
pub fn watchdog(seconds: u64) -> Watchdog {
    let (send, receive) = channel::<()>();
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::spawn(move || {
        if receive.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("watchdog: {name} is not done after {seconds} s");
            kill_all();
            std::process::abort();
        }
    });
    Watchdog(send)
}

/// Remembers a child for the day the watchdog bites.
pub(crate) fn started(pid: u32) {
    STARTED.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert_default().insert(pid);
}

/// Forgets a child that has been waited for.
pub(crate) fn ended(pid: u32) {
    STARTED.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert_default().remove(&pid);
}

fn kill_all() {
    let all = STARTED.lock().unwrap_or_else(|e| e.into_inner()).take().unwrap_or_default();
    for pid in all {
        proc::kill(pid, Signal::SIGKILL);
    }
}
