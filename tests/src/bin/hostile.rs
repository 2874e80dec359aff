//! `nylon-hostile-worker MODE`: a worker that is honest until it is asked for `/attack`, and then breaks the rule MODE
//! names (see `nylon_tests::attack`; `escape`: leaves the protocol alone and tries `nylon_tests::escape`), or is pinned to
//! another version (`versions`), or is no worker at all.

use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use nylon_protocol::handshake::{Control, Refuse, VersionRange};
use nylon_protocol::wire;
use nylon_tests::attack::{attack, scribble};
use nylon_tests::escape::attempts;
use nylon_tests::worker::{Call, ControlFd, Greeting, Worker, log};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let mode = std::env::args().nth(1).unwrap_or_else(|| "honest".into());
    log("started", std::process::id());
    match run(&mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{mode}: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: &str) -> Outcome {
    match mode {
        "exit" => return Ok(()),
        // Later than any host waits.
        "late" => thread::sleep(Duration::from_secs(6)),
        _ => {}
    }
    let control = ControlFd::inherited()?;
    let greeting = control.hello()?;
    let worker = match mode {
        "garbage" => return stay(control.send(b"GET / HTTP/1.1\r\n\r\n")?),
        "silent" => return stay(()),
        "close" => return close(control),
        _ => shake(mode, &control, greeting)?,
    };
    match worker {
        Some(worker) => serve(mode, worker),
        None => stay(()),
    }
}

/// Closes the control socket and lives on.
fn close(control: ControlFd) -> Outcome {
    drop(control);
    nix::unistd::close(wire::FD_CONTROL)?;
    stay(())
}

fn stay((): ()) -> Outcome {
    thread::sleep(Duration::from_secs(30));
    Ok(())
}

/// Answers Hello, by the book or not.
fn shake(
    mode: &str,
    control: &ControlFd,
    greeting: Greeting,
) -> Result<Option<Worker>, Box<dyn std::error::Error>> {
    let mut ok = greeting.ok();
    let major = VersionRange { major: wire::ABI_MAJOR + 1, min: 0, max: 0 };
    match mode {
        "minor-older" => ok.versions.max = wire::ABI_MINOR - 1,
        "minor-newer" => ok.versions.max = wire::ABI_MINOR + 1,
        "minor-newer-only" => {
            ok.versions = VersionRange {
                major: wire::ABI_MAJOR,
                min: wire::ABI_MINOR + 1,
                max: wire::ABI_MINOR + 1,
            };
        }
        "major-newer" => ok.versions = major,
        "major-newer-later" if greeting.hello.generation > 1 => ok.versions = major,
        "layout" => ok.layout_hash ^= 1,
        "epoch" => ok.epoch ^= 2,
        "features" => ok.features |= 1 << 40,
        "header-names" => ok.features |= wire::FEATURE_HEADER_NAMES,
        "refuse-version" => {
            let message = "I am from the future\x1b[31m\nforged line".into();
            let refuse = Refuse { code: wire::REFUSE_VERSION, versions: major, message };
            control.send(&Control::Refuse(refuse).encode())?;
            return Ok(None);
        }
        "refuse-init" => {
            let message = format!("no database\x1b[31m\nforged line {}", "x".repeat(100_000));
            let refuse = Refuse { code: wire::REFUSE_INIT, versions: VersionRange::OURS, message };
            control.send(&Control::Refuse(refuse).encode())?;
            return Ok(None);
        }
        "bad-header" => {
            // P's header is written by attaching: here it stays zero.
            control.send(&Control::HelloOk(ok).encode())?;
            return Ok(None);
        }
        "bye" => {
            control.send(&Control::Bye.encode())?;
            return Ok(None);
        }
        _ => {}
    }
    greeting.join(control, &ok).map(Some)
}

fn serve(mode: &str, mut worker: Worker) -> Outcome {
    if mode == "short-lived" {
        thread::sleep(Duration::from_millis(10));
        return Err("it has lived long enough".into());
    }
    if let Some(seed) = number("NYLON_HOSTILE_SEED") {
        let until = number("NYLON_HOSTILE_UNTIL").unwrap_or(0);
        let seed = seed.wrapping_add(u64::from(std::process::id()) << 32);
        log("seed", seed);
        scribble(worker.memory.clone(), seed, Duration::from_millis(350), until);
    }
    match mode {
        "wakes" => wake(&worker, Duration::from_micros(500))?,
        "pesters" => wake(&worker, Duration::from_micros(150))?,
        _ => {}
    }
    loop {
        let call = worker.next_call()?;
        if call.ids != (mode == "header-names") {
            return Err(format!("header names as ids: {}", call.ids).into());
        }
        match &*call.path {
            "/attack" if mode == "escape" => {
                let said = attempts(worker.bell()?.as_fd());
                worker.say(&call, &said)?;
            }
            "/attack" if mode != "honest" => attack(mode, &mut worker, &call)?,
            "/slow" => slow(&mut worker, &call)?,
            _ => worker.answer(&call)?,
        }
    }
}

/// Wakes the host for nothing, once in `pause`: a nuisance, and no flood.
fn wake(worker: &Worker, pause: Duration) -> Outcome {
    let bell = worker.bell()?;
    thread::spawn(move || {
        for n in 1u64.. {
            bell.ring().expect("the host bell");
            if n.is_multiple_of(500) {
                log("wakes", 500);
            }
            thread::sleep(pause);
        }
    });
    Ok(())
}

/// Says which token it holds, and answers when there was time to misuse it.
fn slow(worker: &mut Worker, call: &Call) -> Outcome {
    let f = &call.frame;
    log("open", format_args!("{}:{}:{}", f.call_idx, f.call_gen, f.sid));
    thread::sleep(Duration::from_millis(300));
    Ok(worker.answer(call)?)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
