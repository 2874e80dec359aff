//! What the user chose: a line, an order, workers to see. Keys in, lines out; no terminal.

use std::cmp::Ordering;
use std::collections::HashSet;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;

use super::super::columns::Line;
use super::super::view::{Plugin, View, Worker};

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    Leave,
}

/// What a line is about, whatever the next view says of it: the number of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Plugin(u64),
    Worker(u64),
}

/// The orders there are; the first is that of the configuration.
const SORTS: [&str; 8] =
    ["configuration", "name", "calls/s", "p99", "in flight", "rss", "cpu", "restarts"];

/// The state of the screen.
pub(super) struct Screen {
    shown: View,
    /// Newer than `shown` while that is held.
    latest: Option<View>,
    selected: Option<Key>,
    open: HashSet<u64>,
    sort: usize,
    reverse: bool,
    held: bool,
    help: bool,
    /// How far the table is scrolled, from one drawing to the next.
    pub(super) table: TableState,
}

impl Screen {
    pub(super) fn new(view: View) -> Self {
        let mut screen = Self {
            shown: view,
            latest: None,
            selected: None,
            open: HashSet::new(),
            sort: 0,
            reverse: false,
            held: false,
            help: false,
            table: TableState::default(),
        };
        screen.select(0);
        screen
    }

    pub(super) fn view(&self) -> &View {
        &self.shown
    }

    /// The newest view, also when another is held.
    pub(super) fn latest(&self) -> &View {
        self.latest.as_ref().unwrap_or(&self.shown)
    }

    pub(super) fn into_latest(self) -> View {
        self.latest.unwrap_or(self.shown)
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    pub(super) fn helps(&self) -> bool {
        self.help
    }

    /// The order of the lines, as a word.
    pub(super) fn order(&self) -> String {
        let word = SORTS[self.sort];
        if self.reverse { format!("{word}, reversed") } else { word.to_owned() }
    }

    /// Takes a new view.
    pub(super) fn look(&mut self, view: View) {
        if self.held {
            self.latest = Some(view);
        } else {
            self.shown = view;
        }
        if self.position().is_none() {
            self.select(0);
        }
    }

    /// Does what a key means.
    pub(super) fn press(&mut self, key: KeyEvent) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::Stay;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Next::Leave;
        }
        if std::mem::take(&mut self.help) {
            return Next::Stay;
        }
        let at = self.position().unwrap_or(0);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Next::Leave,
            KeyCode::Down | KeyCode::Char('j') => self.select(at + 1),
            KeyCode::Up | KeyCode::Char('k') => self.select(at.saturating_sub(1)),
            KeyCode::PageDown => self.select(at + 10),
            KeyCode::PageUp => self.select(at.saturating_sub(10)),
            KeyCode::Home => self.select(0),
            KeyCode::End => self.select(usize::MAX),
            KeyCode::Enter | KeyCode::Char(' ') => self.expand(),
            KeyCode::Char('s') => self.sort = (self.sort + 1) % SORTS.len(),
            KeyCode::Char('r') => self.reverse = !self.reverse,
            KeyCode::Char('p') => {
                self.held = !self.held;
                self.shown = self.latest.take().unwrap_or_else(|| self.shown.clone());
            }
            KeyCode::Char('?' | 'h') => self.help = true,
            _ => {}
        }
        Next::Stay
    }

    /// The lines of the table, and which of them is selected.
    pub(super) fn lines(&self) -> (Vec<Line<'_>>, Option<usize>) {
        let mut plugins: Vec<&Plugin> = self.shown.plugins.iter().collect();
        plugins.sort_by(|a, b| self.compare(a, b));
        if self.reverse {
            plugins.reverse();
        }
        let mut lines = Vec::new();
        for plugin in plugins {
            lines.push(Line::Plugin(plugin));
            if self.open.contains(&plugin.row.id) {
                lines.extend(plugin.workers.iter().map(Line::Worker));
            }
        }
        lines.extend(self.shown.strays.iter().map(Line::Worker));
        let selected = lines.iter().position(|line| Some(key(*line)) == self.selected);
        (lines, selected)
    }

    /// Largest first, but for words.
    fn compare(&self, a: &Plugin, b: &Plugin) -> Ordering {
        let rate = |rate: Option<f64>| rate.unwrap_or(-1.0);
        match self.sort {
            1 => a.row.name.to_string().cmp(&b.row.name.to_string()),
            2 => rate(b.calls_per_s()).total_cmp(&rate(a.calls_per_s())),
            3 => b.worst_ns().1.cmp(&a.worst_ns().1),
            4 => b.row.in_flight.cmp(&a.row.in_flight),
            5 => b.rss_bytes().cmp(&a.rss_bytes()),
            6 => rate(b.cpu_percent()).total_cmp(&rate(a.cpu_percent())),
            7 => b.row.restarts.cmp(&a.row.restarts),
            _ => Ordering::Equal,
        }
    }

    fn position(&self) -> Option<usize> {
        self.lines().1
    }

    fn select(&mut self, at: usize) {
        let (lines, _) = self.lines();
        self.selected = lines.get(at.min(lines.len().saturating_sub(1))).map(|line| key(*line));
    }

    /// Shows or hides the workers of the selected plugin, or of the plugin of the selected worker.
    fn expand(&mut self) {
        let plugin = match self.selected {
            Some(Key::Plugin(id)) => Some(id),
            Some(Key::Worker(id)) => {
                let has = |plugin: &&Plugin| plugin.workers.iter().any(|w: &Worker| w.row.id == id);
                self.shown.plugins.iter().find(has).map(|plugin| plugin.row.id)
            }
            None => None,
        };
        let Some(plugin) = plugin else { return };
        if !self.open.remove(&plugin) {
            self.open.insert(plugin);
        }
        self.selected = Some(match self.selected {
            Some(worker @ Key::Worker(_)) if self.open.contains(&plugin) => worker,
            _ => Key::Plugin(plugin),
        });
    }
}

fn key(line: Line<'_>) -> Key {
    match line {
        Line::Plugin(plugin) => Key::Plugin(plugin.row.id),
        Line::Worker(worker) => Key::Worker(worker.row.id),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::super::super::view::tests::view;
    use super::{Line, Next, Screen};

    fn press(screen: &mut Screen, keys: &str) -> Next {
        keys.chars().fold(Next::Stay, |_, key| {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            screen.press(KeyEvent::new(code, KeyModifiers::NONE))
        })
    }

    /// Names of the plugins and pids of the workers, the selected one in brackets.
    fn lines(screen: &Screen) -> String {
        let (lines, selected) = screen.lines();
        let words = lines.into_iter().enumerate().map(|(at, line)| {
            let word = match line {
                Line::Plugin(plugin) => plugin.row.name.to_string(),
                Line::Worker(worker) => worker.row.pid.to_string(),
            };
            if Some(at) == selected { format!("[{word}]") } else { word }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn keys_select_expand_and_sort() {
        let mut screen = Screen::new(view());
        assert_eq!(lines(&screen), "[auth] log");
        press(&mut screen, "\nj");
        assert_eq!(lines(&screen), "auth [4001] 4002 log");
        press(&mut screen, "\n");
        assert_eq!(lines(&screen), "[auth] log", "a worker's line is hidden with its plugin");
        press(&mut screen, "jjj");
        assert_eq!(lines(&screen), "auth [log]", "the last one is the last one");
        press(&mut screen, "ss");
        assert_eq!((lines(&screen).as_str(), screen.order().as_str()), ("[log] auth", "calls/s"));
        press(&mut screen, "r");
        assert_eq!(lines(&screen), "auth [log]");
    }

    #[test]
    fn a_held_screen_stands_still_until_it_is_let_go() {
        let mut screen = Screen::new(view());
        press(&mut screen, "p");
        let mut later = view();
        later.plugins.remove(0);
        screen.look(later);
        assert_eq!(lines(&screen), "[auth] log");
        assert_eq!(screen.latest().plugins.len(), 1);
        press(&mut screen, "p");
        screen.look(screen.latest().clone());
        assert_eq!(lines(&screen), "[log]", "what was selected is gone");
    }

    #[test]
    fn help_takes_one_key_and_q_leaves() {
        let mut screen = Screen::new(view());
        assert_eq!(press(&mut screen, "?q"), Next::Stay);
        assert!(!screen.helps());
        assert_eq!(press(&mut screen, "q"), Next::Leave);
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.press(ctrl_c), Next::Leave);
    }
}
