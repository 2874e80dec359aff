//! What the rows of one run share: the machine, the wishes of the caller, and what is expensive to start.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::case::Round;
use crate::contender::sessions::Sessions;
use crate::cpus::Cpus;
use crate::{Result, worker};

/// How the caller wants it.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// A fraction of the samples, for a look; its figures are not worth comparing
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only rows with CASE in their name, and the limits they are held against
    #[arg(long, value_name = "CASE")]
    pub(crate) only: Option<String>,
    /// With `sparse`: also the calls of others while a handler burns CPU for 100 ms
    #[arg(long)]
    pub(crate) stuck: bool,
}

/// See above.
pub(crate) struct Env {
    pub(crate) options: Options,
    pub(crate) cpus: Cpus,
    sessions: OnceCell<Rc<Sessions>>,
}

impl Env {
    pub(crate) fn new(options: Options) -> Result<Self> {
        let cpus = Cpus::allowed()?;
        Cpus::pin(cpus.host);
        Ok(Self { options, cpus, sessions: OnceCell::new() })
    }

    /// The Go worker of these benches.
    pub(crate) fn echoworker(&self) -> Result<PathBuf> {
        worker::build("echoworker")
    }

    /// A host with the Go worker under each policy, started when the first row asks for it.
    pub(crate) fn sessions(&self) -> Result<Rc<Sessions>> {
        if let Some(sessions) = self.sessions.get() {
            return Ok(sessions.clone());
        }
        let sessions = Rc::new(Sessions::start(self)?);
        Ok(self.sessions.get_or_init(|| sessions).clone())
    }

    /// `quick` in a quick run, else `full`.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.options.quick { quick } else { full }
    }

    /// Rounds of a row.
    pub(crate) fn rounds(&self) -> usize {
        self.pick(2, 5)
    }

    /// Both sides spin. A sample is the mean of `calls`, where one is hardly longer than a look at the clock.
    pub(crate) fn busy(&self, calls: u32) -> Round {
        let limit = Duration::from_millis(self.pick(200, 1500));
        Round { samples: self.pick(500, 10_000), calls, gap: None, limit }
    }

    /// So many calls, back to back; how anybody waits is theirs to decide.
    pub(crate) fn some(&self, quick: usize, full: usize) -> Round {
        let limit = Duration::from_millis(self.pick(200, 2000));
        Round { samples: self.pick(quick, full), calls: 1, gap: None, limit }
    }

    /// `samples` calls in a full run, which begin `gap` apart; both sides sleep in between.
    pub(crate) fn parked(&self, gap: Duration, samples: usize) -> Round {
        let samples = self.pick(60, samples);
        let limit = gap * 4 * u32::try_from(samples).unwrap_or(u32::MAX);
        Round { samples, calls: 1, gap: Some(gap), limit: limit.max(Duration::from_millis(300)) }
    }
}
