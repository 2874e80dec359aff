//! What a row found: the figures that held and those that were missed.

use super::{Mode, Size};

/// Figures for the summary, and those that were missed.
#[derive(Debug)]
pub struct Found {
    mode: Mode,
    figures: Vec<String>,
    missed: Vec<String>,
}

impl Found {
    pub(super) fn new(mode: Mode) -> Found {
        Found { mode, figures: Vec::new(), missed: Vec::new() }
    }

    /// A figure that holds wherever it runs.
    pub(super) fn count(&mut self, figure: impl Into<String>, holds: bool) {
        self.add(figure.into(), holds, true);
    }

    /// A figure that is a time, or a share of one: held by `cargo xtask chaos` only.
    pub(super) fn time(&mut self, figure: impl Into<String>, holds: bool) {
        self.add(figure.into(), holds, self.mode.size != Size::Test);
    }

    fn add(&mut self, figure: String, holds: bool, counts: bool) {
        println!(
            "{} {figure}",
            if holds {
                "held  "
            } else if counts {
                "MISSED"
            } else {
                "missed"
            }
        );
        if counts && !holds {
            self.missed.push(figure.clone());
        }
        self.figures.push(figure);
    }

    /// All figures, in the order they were found.
    pub fn figures(&self) -> &[String] {
        &self.figures
    }

    /// Those that did not hold.
    pub fn missed(&self) -> &[String] {
        &self.missed
    }

    /// For tests: panics with what was missed.
    ///
    /// # Panics
    /// A figure was missed.
    #[track_caller]
    pub fn held(&self) {
        assert!(self.missed.is_empty(), "missed: {:#?}\nof {:#?}", self.missed, self.figures);
    }
}
