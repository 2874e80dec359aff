//! Reports and dumps as text for people: one thing a line, the same for the same data.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::dump::WorkerDump;
use super::report::{Cause, CrashReport, ExitReport};
use super::tail::LogLine;
use crate::lane::{Direction, FrameDump, LaneDump, RingDump, RunDump, SessionDump};

impl Display for CrashReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "crash {}", self.id)?;
        writeln!(f, "  program   {}", self.program.display())?;
        let Self { pid, generation, started, ended, .. } = self;
        writeln!(f, "  worker    pid {pid}, generation {generation}, from {started}")?;
        writeln!(f, "  ended     {ended}, after {}", ms(self.lived_ms))?;
        writeln!(f, "  how       {}", self.exit)?;
        writeln!(f, "  by        {}", self.cause)?;
        memory(f, self.rss_bytes)?;
        self.lanes.iter().try_for_each(|lane| write!(f, "{lane}"))?;
        writeln!(f, "log, last {} lines", self.log.len())?;
        self.log.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl Display for WorkerDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { plugin, pid, generation, started, .. } = self;
        writeln!(f, "worker {plugin}, pid {pid}, generation {generation}, ready {started}")?;
        memory(f, self.rss_bytes)?;
        self.lanes.iter().try_for_each(|lane| write!(f, "{lane}"))
    }
}

fn memory(f: &mut Formatter<'_>, rss: Option<u64>) -> fmt::Result {
    match rss {
        Some(bytes) => writeln!(f, "  memory    {} KiB resident", bytes / 1024),
        None => Ok(()),
    }
}

impl Display for ExitReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "exited with status {code}"),
            Self::Signal { number, name } if name.is_empty() => {
                write!(f, "killed by signal {number}")
            }
            Self::Signal { name, .. } => write!(f, "killed by {name}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTheHost => f.write_str("itself, or something outside"),
            Self::Violation(rule) => write!(f, "the host: protocol violation: {rule}"),
            Self::Hung => f.write_str("the host: it hung"),
            Self::Killed(why) => write!(f, "the host: {why}"),
            Self::NotReady(why) => write!(f, "the host, before it was ready: {why}"),
        }
    }
}

impl Display for LaneDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { counters, worker, .. } = self;
        writeln!(f, "lane {}", self.index)?;
        writeln!(f, "  down      {}", self.down)?;
        writeln!(f, "  up        {}", self.up)?;
        let Self { in_flight, credits, waiting, unanswered, .. } = self;
        let running = format_args!("{in_flight} of {credits} running, {waiting} waiting");
        writeln!(f, "  handlers  {running}, {unanswered} given up and not back")?;
        let (frames, bytes) = self.backlog;
        let backlog = format_args!("{frames} frames, {bytes} bytes wait for room");
        writeln!(f, "  backlog   {backlog}; {} bytes staged", self.staged_bytes)?;
        let late = format_args!("{} late, {} late frames", counters.deadlines, counters.late);
        writeln!(f, "  counted   {} run, {late}, {} rescues", counters.calls, counters.rescues)?;
        let said = format_args!("{} frames taken, {} wakes", worker.taken, worker.wakes);
        let said = format_args!("{said}, {} handovers", worker.handovers);
        writeln!(f, "  worker    {} run, {said}, as it says", worker.calls)?;
        writeln!(f, "  polling   {} ns: {}", self.spin_ns, self.spin_reason)?;
        writeln!(f, "  sessions  {} open", self.sessions.len())?;
        self.sessions.iter().try_for_each(|session| writeln!(f, "    {session}"))?;
        writeln!(f, "  frames    last {}; > down, < up, * not taken", self.frames.len())?;
        self.frames.iter().try_for_each(|frame| writeln!(f, "    {frame}"))
    }
}

impl Display for RingDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { published, taken, used, slots, arena_used, arena, .. } = self;
        write!(f, "{published} published, {taken} taken; {used} of {slots} slots")?;
        write!(f, ", {arena_used} of {arena} arena bytes in use")?;
        f.write_str(if self.reader_sleeps { "; reader asleep" } else { "; reader awake" })?;
        f.write_str(if self.writer_waits { ", writer waits for room" } else { "" })
    }
}

impl Display for SessionDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { session, request_id, entry, .. } = self;
        write!(f, "{session:<6} {request_id} {entry}, open {}", ms(self.age_ms))?;
        match &self.running {
            Some(running) => write!(f, ", {running}"),
            None => f.write_str(", between two phases"),
        }
    }
}

impl Display for RunDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { phase, questions, inbox, window_left, token: (idx, generation), .. } = self;
        write!(f, "{phase} {idx}.{generation} since {}", ms(self.age_ms))?;
        if self.budget_ms > 0 {
            write!(f, " of {}", ms(self.budget_ms))?;
        }
        if self.answered {
            f.write_str(", answered")?;
        }
        if *questions > 0 {
            write!(f, ", {questions} questions")?;
        }
        write!(f, ", inbox {inbox}, window {window_left}")
    }
}

impl Display for FrameDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { position, kind, phase, method, flags, session, len, meaning, .. } = self;
        let arrow = if self.direction == Direction::Down { '>' } else { '<' };
        let taken = if self.taken { ' ' } else { '*' };
        write!(f, "{arrow}{taken}{position:<6} {kind:<6} session {session}")?;
        write!(f, " {}.{} {phase}", self.token.0, self.token.1)?;
        if method != "none" {
            write!(f, " {method}")?;
        }
        write!(f, ", {len} bytes")?;
        if !flags.is_empty() {
            write!(f, " {}", flags.join(" "))?;
        }
        if !meaning.is_empty() {
            write!(f, ", {meaning}")?;
        }
        Ok(())
    }
}

impl Display for LogLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let dropped = if self.dropped { " (not in the log)" } else { "" };
        write!(f, "{} {}{dropped} {}", self.at, self.stream, self.text)
    }
}

fn ms(millis: u64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(millis))
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
