//! The columns of the table, on the screen and on paper.
#![cfg_attr(
    not(feature = "top"),
    allow(dead_code, reason = "the screen alone has too little room")
)]

use nylon_host::SpinReason;
use nylon_shm::telemetry::{STATES, WorkerRow};

use super::units::{NONE, age, bytes, count, ns, rate};
use super::view::{Plugin, View, Worker};

/// What a line is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Line<'v> {
    Plugin(&'v Plugin),
    Worker(&'v Worker),
}

/// One column.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Characters it takes.
    pub(super) width: u16,
    /// Text stands to the left, numbers to the right.
    pub(super) is_text: bool,
    /// Where there is no room for all, the highest go first.
    rank: u8,
    pub(super) cell: fn(&View, Line<'_>) -> String,
}

const fn text(
    title: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&View, Line<'_>) -> String,
) -> Column {
    Column { title, width, is_text: true, rank, cell }
}

const fn number(
    title: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&View, Line<'_>) -> String,
) -> Column {
    Column { title, width, is_text: false, rank, cell }
}

use Line::{Plugin as P, Worker as W};

/// All of them, from left to right.
pub(super) static COLUMNS: [Column; 18] = [
    text("PLUGIN", 20, 0, |_, line| match line {
        P(plugin) => plugin.row.name.to_string(),
        W(worker) => format!("  worker {}", worker.row.generation),
    }),
    text("STATE", 15, 1, |_, line| match line {
        P(plugin) => {
            let row = &plugin.row;
            format!("{} {}/{}", state(row.state), row.workers_ready, row.workers_wanted)
        }
        W(worker) => state(worker.row.state).to_owned(),
    }),
    number("PID", 8, 2, |_, line| match line {
        P(Plugin { workers, .. }) if workers.len() != 1 => format!("({})", workers.len()),
        P(plugin) => count(plugin.workers[0].row.pid),
        W(worker) => count(worker.row.pid),
    }),
    number("CALLS/S", 8, 3, |_, line| match line {
        P(plugin) => rate(plugin.calls_per_s()),
        W(worker) => rate(worker.calls_per_s()),
    }),
    number("CALLS", 11, 4, |_, line| match line {
        P(plugin) => plugin.row.calls.to_string(),
        W(worker) => worker.row.calls.to_string(),
    }),
    number("P50", 7, 10, |_, line| match line {
        P(plugin) => ns(plugin.worst_ns().0),
        W(worker) => ns(worker.worst_ns().0),
    }),
    number("P99", 7, 5, |_, line| match line {
        P(plugin) => ns(plugin.worst_ns().1),
        W(worker) => ns(worker.worst_ns().1),
    }),
    number("FLIGHT", 6, 6, |_, line| match line {
        P(plugin) => count(plugin.row.in_flight),
        W(worker) => count(worker.row.in_flight),
    }),
    number("SESSIONS", 8, 12, |_, line| match line {
        P(plugin) => count(plugin.row.sessions),
        W(worker) => count(worker.row.sessions),
    }),
    number("OLDEST", 7, 11, |view, line| {
        let opened = match line {
            P(plugin) => plugin.oldest_session(),
            W(worker) => worker.row.oldest_session,
        };
        view.since(opened).map_or_else(|| NONE.to_owned(), age)
    }),
    number("RING", 9, 13, |_, line| {
        both(line, |row| row.ring_down, |row| row.ring_up, |n| n.to_string())
    }),
    number("ARENA", 13, 14, |_, line| both(line, |row| row.arena_down, |row| row.arena_up, bytes)),
    number("WAKES/S", 7, 15, |_, line| match line {
        P(plugin) => rate(plugin.wakes_per_s()),
        W(worker) => rate(worker.wakes_per_s()),
    }),
    number("POLL", 7, 16, |_, line| match line {
        P(plugin) => ns(plugin.spin().0),
        W(worker) => ns(worker.row.spin_ns),
    }),
    number("RSS", 6, 7, |_, line| match line {
        P(plugin) => bytes(plugin.rss_bytes()),
        W(worker) => bytes(worker.row.rss_bytes),
    }),
    number("CPU%", 6, 8, |_, line| match line {
        P(plugin) => rate(plugin.cpu_percent()),
        W(worker) => rate(worker.cpu_percent()),
    }),
    number("RESTARTS", 8, 9, |_, line| match line {
        P(plugin) => count(plugin.row.restarts),
        W(_) => String::new(),
    }),
    text("LAST EXIT", 24, 17, |_, line| match line {
        P(plugin) => plugin.row.last_exit.to_string(),
        W(worker) => worker.row.last_exit.to_string(),
    }),
];

/// Those that fit into `width` characters with one between them, the first one always.
pub(super) fn fitting(width: u16) -> Vec<&'static Column> {
    let mut by_rank: Vec<_> = COLUMNS.iter().collect();
    by_rank.sort_by_key(|column| column.rank);
    let mut taken = 0;
    // Ranks say what is missed least: nothing less is shown in place of what found no room.
    let fit = by_rank.iter().take_while(|column| {
        taken += column.width + 1;
        column.rank == 0 || taken <= width + 1
    });
    let least = fit.last().map_or(0, |column| column.rank);
    COLUMNS.iter().filter(|column| column.rank <= least).collect()
}

/// Name of a state.
pub(super) fn state(number: u64) -> &'static str {
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    STATES.get(index).copied().unwrap_or("unknown")
}

/// Why host and worker poll or do not.
pub(super) fn spin_reason(number: u64) -> String {
    SpinReason::from_number(number).map_or_else(|| NONE.to_owned(), |reason| reason.to_string())
}

/// What there is of frames or bytes on the way to workers and from them: `12/3`.
fn both(
    line: Line<'_>,
    down: fn(&WorkerRow) -> u64,
    up: fn(&WorkerRow) -> u64,
    unit: fn(u64) -> String,
) -> String {
    let of = |way: fn(&WorkerRow) -> u64| match line {
        P(plugin) => plugin.sum(way),
        W(worker) => way(&worker.row),
    };
    match (of(down), of(up)) {
        (0, 0) => NONE.to_owned(),
        (down, up) => format!("{}/{}", unit(down), unit(up)),
    }
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, fitting};

    #[test]
    fn columns_fit_the_width_and_the_first_is_always_there() {
        for width in 0..300 {
            let columns = fitting(width);
            let taken: u16 = columns.iter().map(|column| column.width + 1).sum();
            assert_eq!(columns[0].title, "PLUGIN");
            assert!(columns.len() == 1 || taken <= width + 1, "{width}: {taken}");
        }
        assert_eq!(fitting(300).len(), COLUMNS.len());
        let narrow: Vec<_> = fitting(80).iter().map(|column| column.title).collect();
        assert_eq!(narrow, ["PLUGIN", "STATE", "PID", "CALLS/S", "CALLS", "P99"]);
    }
}
