//! The configuration, read anew from its files.

use super::{Control, SetupError};
use crate::config::{self, Diagnostic, Loaded, Mode, Refused};
use crate::notify;

/// Target of the lines about reloads.
const LOG: &str = "nylon";

/// Why a configuration is not served; the one before it is.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It has errors.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// What it asks for cannot be had.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The gateway ends.
    #[error("the gateway stops")]
    Stopping,
}

impl ReloadError {
    /// All that is wrong.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        match self {
            Self::Refused(refused) => refused.diagnostics.clone(),
            Self::Setup(SetupError::Config(all) | SetupError::Plugins(all)) => all.clone(),
            Self::Setup(other) => vec![Diagnostic::about_file("", other.to_string())],
            Self::Stopping => Vec::new(),
        }
    }
}

impl Control {
    /// Reads the runtime file and what it leads to, and serves that from now on, as [`Control::reload`] does; the service
    /// manager is told. Returns what has no effect.
    ///
    /// # Errors
    /// [`ReloadError`]; what served goes on.
    pub async fn reload_file(&self) -> Result<Vec<Diagnostic>, ReloadError> {
        tracing::info!(target: LOG, config = %self.file().display(), "reloading");
        notify::reloading();
        let done = self.read_and_reload().await;
        match &done {
            Ok(warnings) => tracing::info!(target: LOG, warnings = warnings.len(), "reloaded"),
            Err(why) => {
                for problem in why.diagnostics() {
                    let Diagnostic { file, snippet, message, .. } = &problem;
                    let line = snippet.as_ref().map(|snippet| snippet.line);
                    tracing::error!(target: LOG, %file, line, "{message}");
                }
                tracing::error!(target: LOG, "not reloaded: what served goes on");
            }
        }
        notify::ready(notify::SERVING);
        done
    }

    async fn read_and_reload(&self) -> Result<Vec<Diagnostic>, ReloadError> {
        let (file, mode) = (self.file().to_owned(), self.mode());
        let loaded = tokio::task::spawn_blocking(move || config::load(&file, mode)).await;
        let Loaded { config, mut warnings } = loaded
            .map_err(|_| ReloadError::Stopping)?
            .inspect_err(|refused| self.not_reloaded(refused))?;
        warnings.extend(self.reload(config).await?);
        Ok(warnings)
    }

    fn mode(&self) -> Mode {
        if self.0.lenient { Mode::Lenient } else { Mode::Strict }
    }
}
