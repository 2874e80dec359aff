//! The state as cells: a head, the table, what there is of the selected line, the keys.

use nylon_shm::telemetry::{PHASES, PhaseRow, PluginRow, WorkerRow};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table};

use super::super::columns::{self, Line, fitting, spin_reason, state};
use super::super::units::{NONE, age, bytes, ns, rate};
use super::super::view::{Plugin, View, Worker};
use super::state::Screen;

/// Lines of the lower part, its border included.
const DETAILS: u16 = 12;
/// Below so many lines there is no lower part.
const DETAILS_FROM: u16 = 22;

pub(super) fn draw(frame: &mut Frame<'_>, screen: &mut Screen) {
    let area = frame.area();
    let details = if area.height >= DETAILS_FROM { DETAILS } else { 0 };
    let parts = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(details),
        Constraint::Length(u16::from(area.height >= 6)),
    ];
    let [head, news, table, lower, keys] = Layout::vertical(parts).areas(area);
    frame.render_widget(head_line(screen), head);
    frame.render_widget(news_line(screen), news);
    draw_table(frame, screen, table);
    if details > 0 {
        draw_details(frame, screen, lower);
    }
    let order = screen.order();
    let help =
        format!(" q quit  ↑↓ select  Enter workers  s sort: {order}  r reverse  p hold  ? help");
    frame.render_widget(Paragraph::new(help).reversed(), keys);
    if screen.helps() {
        draw_help(frame, area);
    }
}

fn head_line(screen: &Screen) -> Paragraph<'static> {
    let view = screen.view();
    let host = &view.host;
    let ready = view.plugins.iter().filter(|plugin| plugin.row.state == 1).count();
    let calls = view.plugins.iter().filter_map(Plugin::calls_per_s).reduce(|a, b| a + b);
    let flying = view.plugins.iter().fold(0_u64, |n, p| n.saturating_add(p.row.in_flight));
    let words = format!(
        " nylon top  host {}  nylon {}  up {}  plugins {ready}/{} ready  calls/s {}  in flight {flying}",
        host.pid,
        host.version,
        up(host.started_ms),
        view.plugins.len(),
        rate(calls),
    );
    Paragraph::new(words).bold()
}

/// How long ago a Unix time in ms was.
fn up(started_ms: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    age(now_ms.saturating_sub(started_ms))
}

/// What is the matter, or when the host was heard of.
fn news_line(screen: &Screen) -> Paragraph<'static> {
    let latest = screen.latest();
    let mut words = vec![match latest.trouble() {
        Some(trouble) => {
            let red = Style::new().fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD);
            Span::styled(format!(" {trouble} "), red)
        }
        None => Span::raw(format!(" heard of {} ago", age(latest.stale_ms()))).dim(),
    }];
    if screen.is_held() {
        words.push(Span::raw("  HELD: p goes on").yellow());
    }
    if latest.torn > 0 {
        words.push(Span::raw(format!("  {} rows are damaged", latest.torn)).red());
    }
    Paragraph::new(Text::from(words))
}

fn draw_table(frame: &mut Frame<'_>, screen: &mut Screen, area: Rect) {
    let view = screen.view();
    let shown = fitting(area.width);
    let (lines, selected) = screen.lines();
    let cell = |column: &columns::Column, text: String| {
        let side = if column.is_text { Alignment::Left } else { Alignment::Right };
        Cell::new(Text::from(text).alignment(side))
    };
    let rows = lines.iter().map(|line| {
        let cells = shown.iter().map(|column| cell(column, (column.cell)(view, *line)));
        Row::new(cells).style(colour(*line))
    });
    let titles = shown.iter().map(|column| cell(column, column.title.to_owned()));
    let last = shown.len() - 1;
    let widths = shown.iter().enumerate().map(|(at, column)| {
        // The texts at both ends take what is left.
        let stretches = column.is_text && (at == last || at == 0);
        if stretches { Constraint::Min(column.width) } else { Constraint::Length(column.width) }
    });
    let table = Table::new(rows.collect::<Vec<_>>(), widths.collect::<Vec<_>>())
        .header(Row::new(titles.collect::<Vec<_>>()).reversed())
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = screen.table.with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
    screen.table = state;
}

fn colour(line: Line<'_>) -> Style {
    let state = match line {
        Line::Plugin(plugin) => plugin.row.state,
        Line::Worker(worker) => worker.row.state,
    };
    match state {
        1 => Style::new(),
        3 => Style::new().fg(Color::Red),
        _ => Style::new().fg(Color::Yellow),
    }
}

fn draw_details(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let (lines, selected) = screen.lines();
    let Some(line) = selected.and_then(|at| lines.get(at)) else { return };
    let view = screen.view();
    let (title, pairs, last, phases, (spin_ns, reason)) = match line {
        Line::Plugin(plugin) => {
            let PluginRow { name, last_exit, phases, .. } = plugin.row;
            (name.to_string(), of_plugin(view, plugin), last_exit, phases, plugin.spin())
        }
        Line::Worker(worker) => {
            let WorkerRow { generation, last_exit, phases, .. } = worker.row;
            let spin = (worker.row.spin_ns, worker.row.spin_reason);
            (format!("worker {generation}"), of_worker(view, worker), last_exit, phases, spin)
        }
    };
    let block = Block::new().borders(Borders::TOP).title(format!(" {title} "));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [left, right] =
        Layout::horizontal([Constraint::Length(48), Constraint::Fill(1)]).areas(inner);
    frame.render_widget(Paragraph::new(phase_lines(&phases)), left);
    let across = usize::from(right.width / 24).max(1);
    let mut text = Vec::new();
    let last = last.to_string();
    if !last.is_empty() {
        text.push(Text::from(format!(" last exit: {last}")));
    }
    text.push(Text::from(format!(" poll {}: {}", ns(spin_ns), spin_reason(reason))));
    text.extend(pairs.chunks(across).map(pair_line));
    frame.render_widget(Paragraph::new(text), right);
}

fn pair_line(pairs: &[(&'static str, String)]) -> Text<'static> {
    let spans = pairs.iter().flat_map(|(label, value)| {
        [Span::raw(format!(" {label:<11} ")).dim(), Span::raw(format!("{value:<11}"))]
    });
    Text::from(spans.collect::<Vec<_>>())
}

fn phase_lines(phases: &[PhaseRow]) -> Vec<Text<'static>> {
    let head = format!(" {:<20} {:>10} {:>7} {:>7}", "phase", "calls", "p50", "p99");
    let phases = PHASES.iter().zip(phases).map(|(name, phase)| {
        let (p50, p99) = (ns(phase.p50_ns), ns(phase.p99_ns));
        Text::from(format!(" {name:<20} {:>10} {p50:>7} {p99:>7}", phase.calls))
    });
    std::iter::once(Text::from(head).dim()).chain(phases).collect()
}

/// Where there is no room for all, the last go first.
fn of_plugin(view: &View, plugin: &Plugin) -> Vec<(&'static str, String)> {
    let row = &plugin.row;
    vec![
        ("in flight", row.in_flight.to_string()),
        ("queued", row.queue_depth.to_string()),
        ("sessions", row.sessions.to_string()),
        ("oldest", since(view, plugin.oldest_session())),
        ("crashes", row.crashes.to_string()),
        ("restarts", row.restarts.to_string()),
        ("deadlines", row.deadlines.to_string()),
        ("ring down", part(plugin.sum(|row| row.ring_down), plugin.sum(|row| row.ring_slots))),
        ("ring up", part(plugin.sum(|row| row.ring_up), plugin.sum(|row| row.ring_slots))),
        ("arena down", bytes(plugin.sum(|row| row.arena_down))),
        ("arena up", bytes(plugin.sum(|row| row.arena_up))),
        ("arena", bytes(plugin.sum(|row| row.arena_bytes))),
        ("calls", row.calls.to_string()),
        ("wakes/s", rate(plugin.wakes_per_s())),
        ("rss", bytes(plugin.rss_bytes())),
        ("cpu %", rate(plugin.cpu_percent())),
        ("workers", format!("{}/{}", row.workers_ready, row.workers_wanted)),
        ("generation", row.generation.to_string()),
        ("build", row.build.to_string()),
        ("sandbox", row.sandbox.to_string()),
        ("violations", row.violations.to_string()),
        ("refused", row.refused.to_string()),
        ("passed open", row.passed_open.to_string()),
        ("late", row.late.to_string()),
        ("frames down", row.frames_down.to_string()),
        ("frames up", row.frames_up.to_string()),
    ]
}

fn of_worker(view: &View, worker: &Worker) -> Vec<(&'static str, String)> {
    let row = &worker.row;
    vec![
        ("state", state(row.state).to_owned()),
        ("pid", row.pid.to_string()),
        ("up", since(view, row.started)),
        ("in flight", row.in_flight.to_string()),
        ("sessions", row.sessions.to_string()),
        ("oldest", since(view, row.oldest_session)),
        ("ring down", part(row.ring_down, row.ring_slots)),
        ("ring up", part(row.ring_up, row.ring_slots)),
        ("deadlines", row.deadlines.to_string()),
        ("arena down", bytes(row.arena_down)),
        ("arena up", bytes(row.arena_up)),
        ("arena", bytes(row.arena_bytes)),
        ("rss", bytes(row.rss_bytes)),
        ("cpu %", rate(worker.cpu_percent())),
        ("cpu time", age(row.cpu_ns / 1_000_000)),
        ("wakes", row.wakes.to_string()),
        ("handovers", row.handovers.to_string()),
        ("rescues", row.rescues.to_string()),
        ("calls", row.calls.to_string()),
        ("late", row.late.to_string()),
        ("frames down", row.frames_down.to_string()),
        ("frames up", row.frames_up.to_string()),
    ]
}

/// So much of what there is.
fn part(used: u64, all: u64) -> String {
    format!("{used}/{all}")
}

fn since(view: &View, moment: u64) -> String {
    view.since(moment).map_or_else(|| NONE.to_owned(), age)
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let text = [
        "q, Esc, Ctrl-C   leave",
        "↑ ↓, k j         select a line",
        "Enter, Space     show or hide workers",
        "s, r             sort by the next column, reverse",
        "p                hold the numbers, go on",
        "",
        "Rates are of the last second, percentiles of the",
        "last ten. In the table they are those of the",
        "slowest phase. RING is frames that were sent and",
        "whose slots are not free again, ARENA the memory",
        "of their payloads: to the workers / from them.",
    ];
    let size = Rect::new(0, 0, 54, 13).intersection(area);
    let corner = ((area.width - size.width) / 2, (area.height - size.height) / 2);
    let place = Rect { x: corner.0, y: corner.1, ..size };
    let text = Paragraph::new(text.map(Text::from).to_vec());
    frame.render_widget(Clear, place);
    frame.render_widget(text.block(Block::bordered().title(" nylon top ")), place);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::super::super::view::tests::view;
    use super::{Screen, draw, of_plugin};

    fn drawn(screen: &mut Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen)).unwrap();
        terminal.backend().to_string()
    }

    fn press(screen: &mut Screen, key: char) {
        let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        screen.press(KeyEvent::new(code, KeyModifiers::NONE));
    }

    #[test]
    fn the_screen_holds_head_table_details_and_keys() {
        let mut screen = Screen::new(view());
        press(&mut screen, '\n');
        let text = drawn(&mut screen, 120, 40);
        let line = |n: usize| text.lines().nth(n).unwrap().trim_matches('"');
        assert!(line(0).contains("host 77") && line(0).contains("calls/s 600"), "{text}");
        assert!(line(1).contains("heard of 0.0s ago"), "{text}");
        assert!(line(2).starts_with("PLUGIN") && line(2).contains("P99"), "{text}");
        assert!(line(3).starts_with("auth") && line(3).contains("1.23ms"), "{text}");
        assert!(line(4).starts_with("  worker 0") && line(4).contains("4001"), "{text}");
        assert!(line(6).starts_with("log") && line(6).contains("backing off"), "{text}");
        assert!(text.contains("response_body_filter") && line(39).contains("q quit"), "{text}");
    }

    #[test]
    fn a_worker_has_its_details() {
        let mut screen = Screen::new(view());
        "\nj".chars().for_each(|key| press(&mut screen, key));
        let text = drawn(&mut screen, 120, 40);
        let worker = ["was killed by SIGKILL", "fewer than two usable CPUs", "31.0M", "6.0s"];
        let depth = ["ring down   7/256", "arena down  64.0K", "arena       1.00M", "2.35ms"];
        for part in worker.iter().chain(&depth) {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }

    #[test]
    fn a_plugin_has_all_its_details() {
        let text = drawn(&mut Screen::new(view()), 120, 40);
        for part in of_plugin(&view(), &view().plugins[0]) {
            let pair = format!(" {:<11} {}", part.0, part.1);
            assert!(text.contains(&pair), "{pair}:\n{text}");
        }
        for part in ["ring down   21/512", "wakes/s     800", "oldest      6.0s", "poll -: fewer"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }

    #[test]
    fn a_silent_host_is_told_of_in_red() {
        let mut late = view();
        late.now_ms += 12_000;
        let text = drawn(&mut Screen::new(late), 80, 24);
        assert!(text.contains("host does not answer for 12 s (stopped?)"), "{text}");
    }

    #[test]
    fn any_size_is_drawn() {
        let mut screen = Screen::new(view());
        press(&mut screen, '\n');
        for (width, height) in [(1, 1), (5, 2), (10, 3), (40, 8), (80, 24), (300, 100)] {
            drawn(&mut screen, width, height);
            press(&mut screen, '?');
            drawn(&mut screen, width, height);
            press(&mut screen, 'x');
        }
        assert!(drawn(&mut screen, 24, 8).contains("auth"));
    }
}
