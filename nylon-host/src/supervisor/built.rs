//! A build: a program with its configuration, as it is kept for its workers.

use std::sync::Arc;

use super::program::Held;
use super::{Bounds, PluginSpec};
use crate::lane::Registry;

/// A program with its configuration, and who is bound to it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(super) spec: Arc<PluginSpec>,
    pub(super) registry: Arc<Registry>,
    pub(super) bounds: Arc<Bounds>,
    pub(super) binding: u64,
    pub(super) program: Arc<Held>,
    /// Entries that it must have.
    pub(super) needs: Arc<[String]>,
    /// A worker of it has been ready.
    pub(super) proved: bool,
}

impl Built {
    /// With what is at the path of its program when its first worker is started.
    pub(super) fn new(
        spec: Arc<PluginSpec>,
        registry: Arc<Registry>,
        bounds: Arc<Bounds>,
        binding: u64,
    ) -> Self {
        let (program, needs) = (Arc::default(), Arc::default());
        Self { spec, registry, bounds, binding, program, needs, proved: false }
    }

    /// The same but for the program, which is looked for anew.
    pub(super) fn anew(&self) -> Self {
        let Self { spec, registry, bounds, binding, .. } = self;
        Self::new(spec.clone(), registry.clone(), bounds.clone(), *binding)
    }

    /// The very same, for another build of it.
    pub(super) fn again(&self) -> Self {
        let (program, needs) = (self.program.clone(), self.needs.clone());
        Self { program, needs, proved: self.proved, ..self.anew() }
    }
}
