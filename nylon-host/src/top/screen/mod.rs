//! The screen of `nylon top`: looks once a period, draws, and listens to keys.

mod draw;
mod state;

use std::error::Error;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::view::{View, Watch};
use state::{Next, Screen};

/// Shows the host until the user leaves, a signal ends it or the terminal is gone; the last view.
pub(super) fn run(watch: &mut Watch) -> Result<View, Box<dyn Error>> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err("there is no terminal: use --once".into());
    }
    let screen = Screen::new(watch.look()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Restores the terminal before a panic is printed.
    let mut terminal = ratatui::try_init()?;
    let shown = runtime.block_on(show(&mut terminal, screen, watch));
    ratatui::restore();
    shown
}

async fn show(
    terminal: &mut DefaultTerminal,
    mut screen: Screen,
    watch: &mut Watch,
) -> Result<View, Box<dyn Error>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut int = signal(SignalKind::interrupt())?;
    let period = Duration::from_millis(screen.view().host.period_ms.clamp(100, 2000));
    let mut look = tokio::time::interval(period);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut events = events();
    loop {
        terminal.draw(|frame| draw::draw(frame, &mut screen))?;
        tokio::select! {
            _ = look.tick() => screen.look(watch.look()?),
            event = events.recv() => match event {
                Some(Event::Key(key)) if screen.press(key) == Next::Leave => break,
                // Drawn anew, at the new size.
                Some(_) => {}
                None => break,
            },
            _ = term.recv() => break,
            _ = hangup.recv() => break,
            _ = int.recv() => break,
        }
    }
    Ok(screen.into_latest())
}

/// Keys and sizes, from a thread that waits for them; it ends with the process, or the terminal.
fn events() -> UnboundedReceiver<Event> {
    let (send, receive) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if send.send(event).is_err() {
                break;
            }
        }
    });
    receive
}
