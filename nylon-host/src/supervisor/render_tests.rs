//! What an operator reads, letter by letter.

use super::*;
use crate::lane::{LaneCounters, WorkerSays};

fn lane() -> LaneDump {
    let ring = |published, taken| RingDump {
        published,
        taken,
        used: published - taken,
        slots: 256,
        arena_used: 512,
        arena: 1_048_576,
        reader_sleeps: false,
        writer_waits: false,
    };
    let running = RunDump {
        phase: "request_filter".into(),
        token: (3, 17),
        age_ms: 1204,
        budget_ms: 5000,
        answered: false,
        questions: 1,
        inbox: 0,
        window_left: 524_288,
    };
    let session = |session, request_id: &str, running| SessionDump {
        session,
        request_id: request_id.into(),
        entry: "check".into(),
        age_ms: 1205,
        running,
    };
    let frame = |direction, position, kind: &str, meaning: &str| FrameDump {
        direction,
        position,
        taken: direction == Direction::Up,
        kind: kind.into(),
        phase: "request_filter".into(),
        method: if kind == "reply" { "next" } else { "none" }.into(),
        flags: if kind == "call" { vec!["open".into()] } else { Vec::new() },
        session: 12,
        token: (3, 17),
        len: 300,
        status: 0,
        meaning: meaning.into(),
    };
    LaneDump {
        index: 0,
        down: RingDump { reader_sleeps: true, writer_waits: true, ..ring(120, 119) },
        up: ring(119, 119),
        credits: 128,
        in_flight: 1,
        waiting: 0,
        unanswered: 2,
        backlog: (1, 428),
        staged_bytes: 0,
        spin_ns: 0,
        spin_reason: "fewer than two usable CPUs".into(),
        counters: LaneCounters { calls: 57, deadlines: 1, late: 0, rescues: 0 },
        worker: WorkerSays { taken: 119, handovers: 4, wakes: 40, calls: 56 },
        sessions: vec![session(12, "req-1", Some(running)), session(14, "req-2", None)],
        frames: vec![
            frame(Direction::Up, 118, "reply", "session over"),
            frame(Direction::Down, 119, "call", "has 5000 ms"),
        ],
    }
}

const LANE: &str = "\
lane 0
  down      120 published, 119 taken; 1 of 256 slots, 512 of 1048576 arena bytes in use; reader asleep, writer waits for room
  up        119 published, 119 taken; 0 of 256 slots, 512 of 1048576 arena bytes in use; reader awake
  handlers  1 of 128 running, 0 waiting, 2 given up and not back
  backlog   1 frames, 428 bytes wait for room; 0 bytes staged
  counted   57 run, 1 late, 0 late frames, 0 rescues
  worker    56 run, 119 frames taken, 40 wakes, 4 handovers, as it says
  polling   0 ns: fewer than two usable CPUs
  sessions  2 open
    12     req-1 check, open 1s 205ms, request_filter 3.17 since 1s 204ms of 5s, 1 questions, inbox 0, window 524288
    14     req-2 check, open 1s 205ms, between two phases
  frames    last 2; > down, < up, * not taken
    < 118    reply  session 12 3.17 request_filter next, 300 bytes, session over
    >*119    call   session 12 3.17 request_filter, 300 bytes open, has 5000 ms
";

#[test]
fn a_report_as_text() {
    let line = |dropped| LogLine {
        at: "2026-11-23T20:17:50.100Z".into(),
        stream: "stderr".into(),
        text: "panic: oh".into(),
        dropped,
    };
    let report = CrashReport {
        id: "authz-7".into(),
        plugin: "authz".into(),
        program: "/opt/authz".into(),
        generation: 7,
        pid: 4711,
        started: "2026-11-23T20:17:38.000Z".into(),
        ended: "2026-11-23T20:17:50.123Z".into(),
        lived_ms: 12_123,
        exit: ExitReport::Signal { number: 9, name: "SIGKILL".into() },
        cause: Cause::Violation("head".into()),
        rss_bytes: Some(12 << 20),
        lanes: vec![lane()],
        log: vec![line(false), line(true)],
    };
    let expected = format!(
        "\
crash authz-7
  program   /opt/authz
  worker    pid 4711, generation 7, from 2026-11-23T20:17:38.000Z
  ended     2026-11-23T20:17:50.123Z, after 12s 123ms
  how       killed by SIGKILL
  by        the host: protocol violation: head
  memory    12288 KiB resident
{LANE}log, last 2 lines
  2026-11-23T20:17:50.100Z stderr panic: oh
  2026-11-23T20:17:50.100Z stderr (not in the log) panic: oh
"
    );
    assert_eq!(report.to_string(), expected);
    let json = serde_json::to_string(&report).expect("plain data");
    let back: CrashReport = serde_json::from_str(&json).expect("the same data");
    assert_eq!(back.to_string(), expected, "what the file has is enough");
}

#[test]
fn a_dump_as_text() {
    let dump = WorkerDump {
        plugin: "authz".into(),
        pid: 4711,
        generation: 7,
        started: "2026-11-23T20:17:38.000Z".into(),
        rss_bytes: None,
        lanes: vec![lane()],
    };
    let head = "worker authz, pid 4711, generation 7, ready 2026-11-23T20:17:38.000Z\n";
    assert_eq!(dump.to_string(), format!("{head}{LANE}"));
}

#[test]
fn every_end_has_words() {
    for (exit, text) in [
        (ExitReport::Status(3), "exited with status 3"),
        (ExitReport::Signal { number: 40, name: String::new() }, "killed by signal 40"),
        (ExitReport::Unknown("ECHILD".into()), "unknown: ECHILD"),
    ] {
        assert_eq!(exit.to_string(), text);
    }
    for (cause, text) in [
        (Cause::NotTheHost, "itself, or something outside"),
        (Cause::Hung, "the host: it hung"),
        (Cause::Killed("over its memory".into()), "the host: over its memory"),
        (Cause::NotReady("no answer".into()), "the host, before it was ready: no answer"),
    ] {
        assert_eq!(cause.to_string(), text);
    }
}
