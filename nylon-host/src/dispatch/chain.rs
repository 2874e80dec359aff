//! Which plugins see a request, in which order, with which payload and policy.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use super::account::Account;
use super::header_names::HeaderNames;
use super::websocket::Sockets;
use crate::config::{OnFailure, PhasePolicies, Policy, Tracing, WebSockets};
use crate::error::Failure;
use crate::gateway::modifier::HeaderModifier;
use crate::host::Host;
use crate::lane::Lane;
use crate::session::Phase;
use crate::supervisor::{Binding, Plugin};
use crate::template::PayloadTemplate;

/// What a plugin item gets as its payload.
#[derive(Clone, Debug, Default)]
pub enum Payload {
    /// Nothing: `GetPayload` returns nil.
    #[default]
    None,
    /// The same JSON object for every request.
    Constant(Bytes),
    /// The constant of this index in the plugin's [`crate::PluginSpec::payloads`].
    Id(u32),
    /// A JSON object expanded for each step.
    Template(PayloadTemplate),
}

/// One entry of a plugin in a chain, or as a service.
#[derive(Clone, Debug)]
pub struct Item {
    pub(super) plugin: String,
    pub(super) entry: String,
    pub(super) payload: Payload,
    pub(super) policies: PhasePolicies,
}

impl Item {
    /// `entry` of the plugin named `plugin`, without a payload, failing closed after five seconds.
    pub fn new(plugin: impl Into<String>, entry: impl Into<String>) -> Self {
        let policies = PhasePolicies::default();
        Self { plugin: plugin.into(), entry: entry.into(), payload: Payload::None, policies }
    }

    /// The same with a payload.
    #[must_use]
    pub fn payload(self, payload: Payload) -> Self {
        Self { payload, ..self }
    }

    /// The same with deadlines and failure policies of its own.
    #[must_use]
    pub fn policies(self, policies: PhasePolicies) -> Self {
        Self { policies, ..self }
    }
}

/// A step of a chain.
#[derive(Debug)]
pub(super) enum Step {
    Plugin(Box<PluginStep>),
    RequestHeaders(Arc<HeaderModifier>),
    ResponseHeaders(Arc<HeaderModifier>),
}

/// An item whose plugin was found.
#[derive(Debug)]
pub(super) struct PluginStep {
    pub(super) plugin: Arc<Plugin>,
    /// The workers it is bound to.
    pub(super) binding: Arc<Binding>,
    pub(super) item: Item,
    /// The index its workers know the payload by.
    pub(super) payload_id: Option<u32>,
    /// Which of a request's sessions it uses: one for each pair of plugin and entry.
    pub(super) slot: usize,
    /// Whether another item of the chain uses the same session.
    pub(super) shared: bool,
    /// The payload, where it is the same for every request.
    pub(super) constant: Bytes,
    pub(super) names: HeaderNames,
}

impl PluginStep {
    fn new(plugin: Arc<Plugin>, binding: Arc<Binding>, item: Item, slot: usize) -> Self {
        let payloads = &binding.spec.payloads;
        let (constant, payload_id) = match &item.payload {
            Payload::Constant(json) => {
                // One its workers know from their start.
                let known = payloads.iter().position(|payload| payload == json);
                (json.clone(), known.and_then(|id| u32::try_from(id).ok()))
            }
            Payload::Id(id) => {
                let payload = payloads.get(*id as usize);
                (payload.map(|p| Bytes::copy_from_slice(p)).unwrap_or_default(), Some(*id))
            }
            Payload::None | Payload::Template(_) => (Bytes::new(), None),
        };
        let names = HeaderNames::default();
        Self { plugin, binding, item, payload_id, slot, shared: false, constant, names }
    }

    /// The same item, bound to what serves by now; `None` where that is what it is bound to.
    pub(super) fn rebound(&self) -> Option<Self> {
        let binding = self.plugin.binding().filter(|b| !b.is_same(&self.binding))?;
        let mut item = self.item.clone();
        if matches!(item.payload, Payload::Id(_)) {
            item.payload = Payload::Constant(self.constant.clone());
        }
        Some(Self::new(self.plugin.clone(), binding, item, self.slot))
    }

    /// The same item, without a hold on the workers it is bound to.
    fn unbound(&self) -> Self {
        let Self { plugin, binding, item, payload_id, slot, shared, constant, names: _ } = self;
        Self {
            plugin: plugin.clone(),
            binding: binding.unbound(),
            item: item.clone(),
            payload_id: *payload_id,
            slot: *slot,
            shared: *shared,
            constant: constant.clone(),
            names: HeaderNames::default(),
        }
    }

    pub(super) fn policy(&self, phase: Phase) -> Policy {
        let p = &self.item.policies;
        match phase {
            Phase::RequestFilter => p.request_filter,
            Phase::ResponseFilter => p.response_filter,
            Phase::ResponseBodyFilter => p.response_body_filter,
            Phase::Logging => p.logging,
            Phase::RequestBodyFilter => p.request_body_filter,
        }
    }

    /// Whether `phase` may be run once more where its worker died.
    pub(super) fn is_repeatable(&self, phase: Phase) -> bool {
        self.binding.spec.retry && matches!(phase, Phase::RequestFilter | Phase::ResponseFilter)
    }

    /// What `failure` in `phase`, on `lane`, does to the request: `None` lets it pass, counted and logged.
    pub(super) fn judge(
        &self,
        phase: Phase,
        failure: Failure,
        account: &Account,
        lane: Option<&Lane>,
    ) -> Option<Failure> {
        let open = self.policy(phase).on_failure == OnFailure::Open;
        let about_plugin = failure.is_of_plugin();
        let board = &self.plugin.board;
        if matches!(failure, Failure::Refused(_)) {
            board.refused();
        }
        if open && about_plugin {
            board.passed_open();
            board.metrics.passed_open(phase);
        }
        let passed = open && about_plugin;
        account.failed(self, phase, &failure, passed, lane);
        (!passed).then_some(failure)
    }
}

/// The middleware of a request and, where the service is one, the plugin that answers it.
#[derive(Debug)]
pub struct Chain {
    pub(super) steps: Vec<Step>,
    pub(super) service: Option<PluginStep>,
    pub(super) slots: usize,
    /// Whether anything but a plugin reads the request once the service has it.
    pub(super) reads_late: bool,
    /// Whether responses name the plugins that failed on their way.
    pub(super) failure_header: bool,
    pub(super) tracing: Tracing,
    pub(super) tasks: TaskTracker,
    /// What its WebSockets may do.
    pub(super) websockets: Arc<WebSockets>,
    pub(super) sockets: Sockets,
    /// Itself as its WebSockets have it.
    long: OnceLock<Arc<Chain>>,
}

impl Chain {
    /// The same for what lives long: it keeps no workers whose place others have taken, as a request does.
    pub(super) fn for_long(&self) -> Arc<Self> {
        let step = |step: &Step| match step {
            Step::Plugin(step) => Step::Plugin(Box::new(step.unbound())),
            Step::RequestHeaders(modifier) => Step::RequestHeaders(modifier.clone()),
            Step::ResponseHeaders(modifier) => Step::ResponseHeaders(modifier.clone()),
        };
        let long = self.long.get_or_init(|| {
            Arc::new(Self {
                steps: self.steps.iter().map(step).collect(),
                service: self.service.as_ref().map(PluginStep::unbound),
                slots: self.slots,
                reads_late: self.reads_late,
                failure_header: self.failure_header,
                tracing: self.tracing,
                tasks: self.tasks.clone(),
                websockets: self.websockets.clone(),
                sockets: self.sockets.clone(),
                long: OnceLock::new(),
            })
        });
        long.clone()
    }

    /// The plugin items of the middleware, in order.
    pub(super) fn plugins(&self) -> impl Iterator<Item = &PluginStep> {
        self.steps.iter().filter_map(|step| match step {
            Step::Plugin(step) => Some(&**step),
            _ => None,
        })
    }

    /// The item that uses the session `slot`, the service among them.
    pub(super) fn plugin_in(&self, slot: usize) -> Option<&PluginStep> {
        self.plugins().chain(&self.service).find(|step| step.slot == slot)
    }
}

/// Puts a [`Chain`] together.
#[derive(Debug)]
pub struct ChainBuilder {
    bound: Vec<(Arc<Plugin>, Arc<Binding>)>,
    chain: Chain,
    pairs: Vec<(String, String)>,
}

/// An item names a plugin the host does not have.
#[derive(Debug, thiserror::Error)]
#[error("the host has no plugin `{0}`")]
pub struct UnknownPlugin(pub String);

impl Host {
    /// An empty chain of this host's plugins.
    pub fn chain(&self) -> ChainBuilder {
        self.chain_of(self.bound())
    }

    /// An empty chain of those plugins.
    pub(crate) fn chain_of(&self, bound: Vec<(Arc<Plugin>, Arc<Binding>)>) -> ChainBuilder {
        let chain = Chain {
            steps: Vec::new(),
            service: None,
            slots: 0,
            reads_late: false,
            failure_header: true,
            tracing: Tracing::default(),
            tasks: self.tasks().clone(),
            websockets: Arc::default(),
            sockets: self.sockets().clone(),
            long: OnceLock::new(),
        };
        ChainBuilder { bound, chain, pairs: Vec::new() }
    }
}

impl ChainBuilder {
    /// Appends a middleware item.
    ///
    /// # Errors
    /// [`UnknownPlugin`].
    pub fn item(mut self, item: Item) -> Result<Self, UnknownPlugin> {
        let step = self.step(item)?;
        self.chain.steps.push(Step::Plugin(Box::new(step)));
        Ok(self)
    }

    /// Lets a plugin entry answer the requests that pass the middleware.
    ///
    /// # Errors
    /// [`UnknownPlugin`].
    pub fn service(mut self, item: Item) -> Result<Self, UnknownPlugin> {
        self.chain.service = Some(self.step(item)?);
        Ok(self)
    }

    /// Appends a built-in that changes request headers.
    #[must_use]
    pub fn request_headers(mut self, modifier: Arc<HeaderModifier>) -> Self {
        self.chain.steps.push(Step::RequestHeaders(modifier));
        self
    }

    /// Appends a built-in that changes response headers.
    #[must_use]
    pub fn response_headers(mut self, modifier: Arc<HeaderModifier>) -> Self {
        self.chain.steps.push(Step::ResponseHeaders(modifier));
        self.chain.reads_late = true;
        self
    }

    /// Whether responses name the plugins that failed on their way, in `x-nylon-plugin-failure`; they do unless told.
    #[must_use]
    pub fn failure_header(mut self, wanted: bool) -> Self {
        self.chain.failure_header = wanted;
        self
    }

    /// Which requests are traced: those of sampled traces, unless told.
    #[must_use]
    pub fn tracing(mut self, wanted: Tracing) -> Self {
        self.chain.tracing = wanted;
        self
    }

    /// What WebSockets that its plugins make of requests may do.
    #[must_use]
    pub fn websockets(mut self, policy: Arc<WebSockets>) -> Self {
        self.chain.websockets = policy;
        self
    }

    /// The chain.
    pub fn build(mut self) -> Arc<Chain> {
        let mut uses = vec![0; self.chain.slots];
        let Chain { steps, service, .. } = &mut self.chain;
        let middleware = steps.iter_mut().filter_map(|step| match step {
            Step::Plugin(step) => Some(&mut **step),
            _ => None,
        });
        let mut plugins: Vec<_> = middleware.chain(service).collect();
        plugins.iter().for_each(|step| uses[step.slot] += 1);
        plugins.iter_mut().for_each(|step| step.shared = uses[step.slot] > 1);
        Arc::new(self.chain)
    }

    fn step(&mut self, item: Item) -> Result<PluginStep, UnknownPlugin> {
        let bound = self.bound.iter().find(|(plugin, _)| *plugin.name == *item.plugin).cloned();
        let (plugin, binding) = bound.ok_or_else(|| UnknownPlugin(item.plugin.clone()))?;
        binding.registry.use_entry(&item.entry);
        let pair = (item.plugin.clone(), item.entry.clone());
        let slot = self.pairs.iter().position(|p| *p == pair).unwrap_or_else(|| {
            self.pairs.push(pair);
            self.pairs.len() - 1
        });
        self.chain.slots = self.pairs.len();
        Ok(PluginStep::new(plugin, binding, item, slot))
    }
}
