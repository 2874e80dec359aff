//! The log: lines of the gateway and its plugins on stderr.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Logs to stderr from now on; `NYLON_LOG` sets the level, or one per target, and is `info` unless told.
pub(crate) fn to_stderr() {
    let wanted = std::env::var_os("NYLON_LOG").unwrap_or_default();
    let wanted = targets(&wanted.to_string_lossy()).unwrap_or_else(|piece| {
        eprintln!("warning: `{piece}` in NYLON_LOG is neither a level nor TARGET=LEVEL: logging at `info`");
        eprintln!("  = help: levels are off, error, warn, info, debug and trace, as in `warn,plugin=info`\n");
        info()
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(wanted).with(lines).init();
}

fn info() -> Targets {
    Targets::new().with_default(LevelFilter::INFO)
}

/// What `wanted` asks for, or the piece of it that is not understood. A bare word that is no level would be a target
/// for the parser, and everything else silent.
fn targets(wanted: &str) -> Result<Targets, &str> {
    if wanted.trim().is_empty() {
        return Ok(info());
    }
    let mut targets = Targets::new();
    for piece in wanted.split(',') {
        let (target, level) = match piece.split_once('=') {
            Some((target, level)) => (target.trim(), level.trim()),
            None => ("", piece.trim()),
        };
        let parsed = if level.is_empty() { None } else { level.parse::<LevelFilter>().ok() };
        targets = match (parsed, piece.contains('=')) {
            (Some(level), true) if !target.is_empty() => targets.with_target(target, level),
            (Some(level), false) => targets.with_default(level),
            _ => return Err(piece),
        };
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::targets;
    use tracing::Level;

    #[test]
    fn levels_and_targets_are_understood() {
        let shows = |wanted: &str, target: &str, level| {
            targets(wanted).unwrap_or_else(|piece| panic!("{piece}")).would_enable(target, &level)
        };
        assert!(shows("", "nylon", Level::INFO) && !shows(" ", "nylon", Level::DEBUG));
        assert!(shows("DEBUG", "nylon", Level::DEBUG));
        assert!(!shows("off", "nylon", Level::ERROR));
        assert!(shows("warn, plugin = info", "plugin", Level::INFO));
        assert!(!shows("warn,plugin=info", "nylon", Level::INFO));
        assert!(!shows("plugin=info", "nylon", Level::ERROR));
    }

    #[test]
    fn what_is_neither_is_named() {
        for wanted in ["verbose", "plugin", "warn,plugin=loud", "warn,", "=info", "nylon="] {
            let piece = targets(wanted).map(|_| ()).unwrap_err();
            assert!(wanted.ends_with(piece), "{wanted}: {piece}");
        }
    }
}
