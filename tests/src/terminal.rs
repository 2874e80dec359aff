//! A terminal to run programs with a screen in.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

/// How long what is about to be shown may take on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

/// A terminal of 120 × 40 characters in a tmux server of the test's own.
#[derive(Debug)]
pub struct Terminal(String);

impl Terminal {
    /// Runs `shell` in it. None, and a word of it, where there is no tmux.
    pub fn start(shell: &str) -> Option<Terminal> {
        if Command::new("tmux").arg("-V").output().is_err() {
            // Not by eprintln!, which a test that passes keeps to itself.
            let _ = writeln!(
                std::io::stderr(),
                "NOT TESTED: the screen of `nylon top`, for want of tmux (apt-get install tmux)"
            );
            return None;
        }
        let this = Terminal(format!("nylon-top-{}", std::process::id()));
        this.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", shell]);
        Some(this)
    }

    /// Runs a command of tmux; what it printed.
    pub fn tmux(&self, args: &[&str]) -> String {
        let out = Command::new("tmux").args(["-u", "-L", &self.0]).args(args).output();
        let out = out.expect("tmux runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(out.status.success(), "tmux {args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    }

    /// Presses keys.
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until all `parts` are to be seen; the screen then.
    pub async fn shows(&self, parts: &[&str]) -> String {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if parts.iter().all(|part| screen.contains(part)) {
                return screen;
            }
            assert!(tokio::time::Instant::now() < end, "{parts:?} in:\n{screen}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.0, "kill-server"]).output();
    }
}
