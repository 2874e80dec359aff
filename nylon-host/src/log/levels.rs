//! Which lines are wanted: a level, or one per target.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// `info` for everything.
pub(super) fn info() -> Targets {
    Targets::new().with_default(LevelFilter::INFO)
}

/// What `wanted` asks for, or the piece of it that is not understood. A bare word that is no level would be a target
/// for the parser, and everything else silent.
pub(super) fn targets(wanted: &str) -> Result<Targets, &str> {
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
