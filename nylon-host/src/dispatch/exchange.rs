//! One request on its way through a chain: its head, its sessions, and the response as it comes together.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version};
use nylon_protocol::record::{Names, RequestFields, StepWriter, write_head};
use nylon_protocol::wire;
use smallvec::SmallVec;
use tokio::sync::Mutex;

use super::account::Account;
use super::chain::{Chain, Payload, PluginStep};
use super::identity::Target;
use super::mutation::{Changes, HeadOp, RequestOp};
use super::tape::Tape;
use super::trace::{PhaseSpan, Trace};
use crate::body::Body;
use crate::lane::{Lane, Pin};
use crate::request_id::RequestId;
use crate::rope::Rope;
use crate::session::{Permit, Phase, Session};
use crate::template::TemplateContext;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The peer's address.
    pub ip: IpAddr,
    /// Whether its connection is encrypted.
    pub tls: bool,
}

/// Who has the session of a pair of plugin and entry.
#[derive(Debug, Default)]
pub(super) enum Seat {
    /// There is none, or a phase runs in it.
    #[default]
    Empty,
    /// Nobody else.
    Own(Session),
    /// The task of the request's body runs phases in it as well.
    Shared(Arc<Mutex<Session>>),
}

impl Seat {
    /// What `ask` says of the session; `None` when there is none or it is in use.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Session) -> T) -> Option<T> {
        match self {
            Self::Empty => None,
            Self::Own(session) => Some(ask(session)),
            Self::Shared(session) => session.try_lock().ok().map(|session| ask(&session)),
        }
    }

    /// The session, for one who runs another task.
    pub(super) fn share(&mut self) -> Option<Arc<Mutex<Session>>> {
        let shared = match std::mem::take(self) {
            Self::Empty => return None,
            Self::Own(session) => Arc::new(Mutex::new(session)),
            Self::Shared(session) => session,
        };
        *self = Self::Shared(shared.clone());
        Some(shared)
    }
}

/// A session of this request, by pair of plugin and entry.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) seat: Seat,
    /// The lane of the sessions it had.
    pub(super) lane: Option<Pin>,
    /// The place in the plugin that its session holds while it is open.
    pub(super) permit: Weak<Permit>,
    /// It waited for a place in the plugin and got none: what never came in is not logged there.
    pub(super) outside: bool,
    /// The response head it got last.
    pub(super) head: Option<Vec<u8>>,
    /// Which version of the request record its worker got from it.
    revision: u32,
    /// The pair failed closed: the rest of the request does without it.
    pub(super) failed: bool,
    /// The span of a phase that runs once for each piece of a body.
    pub(super) span: Option<PhaseSpan>,
}

impl Slot {
    /// Whether a phase may still run in it.
    pub(super) fn may_run(&self) -> bool {
        self.seat.ask(Session::is_over) != Some(true)
    }
}

/// One request, from its first phase to its last.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(super) chain: Arc<Chain>,
    pub(super) parts: Parts,
    pub(super) tape: Tape,
    client: Client,
    target: Target,
    params: Vec<(String, String)>,
    pub(super) request_id: RequestId,
    account: Option<Arc<Account>>,
    pub(super) trace: Option<Box<Trace>>,
    timestamp_ms: i64,
    pub(super) started: Instant,
    pub(super) slots: SmallVec<[Slot; 2]>,
    /// Version of the request's record.
    revision: u32,
    /// What the handler that ran last wants changed.
    pub(super) changes: Changes,
    /// Changes of the response made before there was one, in order.
    pub(super) draft: SmallVec<[HeadOp; 2]>,
    pub(super) draft_body: Option<Rope>,
    /// Bytes of response body that went out.
    pub(super) sent: u64,
    /// Why the request failed, for Logging.
    pub(super) error: Option<String>,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

impl Exchange {
    pub(super) fn new(
        chain: Arc<Chain>,
        request: Request<Body>,
        client: Client,
        params: Vec<(String, String)>,
    ) -> Self {
        let (mut parts, body) = request.into_parts();
        let account = parts.extensions.remove::<Arc<Account>>();
        let made = || RequestId::of(&parts.headers);
        let request_id = account.as_ref().map_or_else(made, |a| a.request_id.clone());
        let trace = Trace::enter(chain.tracing, &mut parts, || request_id.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            slots: (0..chain.slots).map(|_| Slot::default()).collect(),
            chain,
            tape: Tape::new(body),
            client,
            target: Target::of(&parts),
            params,
            request_id,
            account,
            trace,
            timestamp_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
            started: Instant::now(),
            parts,
            revision: 1,
            changes: Changes::default(),
            draft: SmallVec::new(),
            draft_body: None,
            sent: 0,
            error: None,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
        }
    }

    /// Where is told what becomes of the request.
    pub(super) fn account(&mut self) -> Arc<Account> {
        let Self { account, request_id, .. } = self;
        account.get_or_insert_with(|| Arc::new(Account::new(request_id.clone(), None))).clone()
    }

    /// The head goes out as it now is, but for what it says of failed plugins.
    pub(super) fn seal(&mut self) {
        if let Some(account) = self.account.as_ref().filter(|_| self.chain.failure_header) {
            account.tell(&mut self.headers);
        }
        if let Some(trace) = &mut self.trace {
            trace.status = Some(self.status);
        }
    }

    /// The lane the request's sessions in this step's plugin use: all of them the same.
    pub(super) fn lane(&self, step: &PluginStep) -> Option<Pin> {
        let name = &*step.plugin.name;
        let mut pinned = self.slots.iter().filter_map(|slot| slot.lane.as_ref());
        // One whose worker is gone pins nothing.
        let pinned = pinned.find(|l| &*l.peer.plugin == name && l.peer.fault().is_none());
        pinned.cloned().or_else(|| step.binding.registry.pick())
    }

    /// The response is a stream from now on.
    pub(super) fn streams(&mut self) {
        self.slots.iter_mut().filter_map(|slot| slot.lane.as_mut()).for_each(Pin::streams);
    }

    /// An open session on `lane`, other than that of `slot`, that gave its worker the record as it is now.
    pub(super) fn record_holder(&self, slot: usize, lane: &Arc<Lane>) -> Option<u32> {
        self.slots.iter().enumerate().find_map(|(i, s)| {
            if i == slot || s.revision != self.revision {
                return None;
            }
            let holder = |s: &Session| Arc::ptr_eq(s.lane(), lane) && s.holds_record();
            s.seat.ask(|session| holder(session).then(|| session.sid())).flatten()
        })
    }

    /// Notes that the worker of `slot` has the record as it is now.
    pub(super) fn recorded(&mut self, slot: usize) {
        self.slots[slot].revision = self.revision;
    }

    /// Writes the request into a step record, header names as the worker takes them.
    pub(super) fn write_request(&self, record: &mut StepWriter<'_>, names: Names) {
        let parts = &self.parts;
        let bytes = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
        let mut client_ip = SmallVec::<[u8; 48]>::new();
        let _ = write!(client_ip, "{}", self.client.ip);
        let mut id = uuid::Uuid::encode_buffer();
        let fields = RequestFields {
            timestamp_ms: self.timestamp_ms,
            bytes: bytes.and_then(|v| v.parse().ok()).unwrap_or(0),
            port: self.target.port(),
            tls: self.client.tls,
            version: if parts.version == Version::HTTP_10 {
                10
            } else if parts.version == Version::HTTP_2 {
                20
            } else {
                11
            },
            method: parts.method.as_str().as_bytes(),
            path: parts.uri.path().as_bytes(),
            query: parts.uri.query().unwrap_or("").as_bytes(),
            host: self.target.host().as_bytes(),
            client_ip: &client_ip,
            request_id: self.request_id.text(&mut id),
            headers: Pairs::of(&parts.headers),
            params: self.params.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())),
        };
        record.request(fields, names);
    }

    /// Replaces the request's headers.
    pub(super) fn set_request_headers(&mut self, headers: HeaderMap) {
        self.parts.headers = headers;
        self.revision += 1;
    }

    /// Applies the checked commit of a handler that ran before there was a response.
    pub(super) fn apply_early(&mut self) {
        self.draft.append(&mut self.changes.head);
        if let Some(body) = self.changes.body.take() {
            self.draft_body = Some(body);
        }
        if !self.changes.request.is_empty() {
            for op in std::mem::take(&mut self.changes.request) {
                self.apply_request(op);
            }
            self.revision += 1;
        }
    }

    fn apply_request(&mut self, op: RequestOp) {
        match op {
            RequestOp::Method(method) => self.parts.method = method,
            RequestOp::Path(path) => {
                let query = self.parts.uri.query().map(str::to_owned);
                self.set_target(&path, query.as_deref());
            }
            RequestOp::Query(query) => {
                let path = self.parts.uri.path().to_owned();
                self.set_target(&path, (!query.is_empty()).then_some(&query));
            }
            RequestOp::Set(name, value) => {
                self.parts.headers.insert(name, value);
            }
            RequestOp::Remove(name) => {
                self.parts.headers.remove(name);
            }
            RequestOp::Body(body) => {
                self.parts.headers.remove(header::TRANSFER_ENCODING);
                self.parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
                self.tape.replace(body);
            }
        }
    }

    /// Puts path and query, both already checked, into the URI.
    fn set_target(&mut self, path: &str, query: Option<&str>) {
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let mut uri = self.parts.uri.clone().into_parts();
        if let Ok(target) = PathAndQuery::try_from(target) {
            uri.path_and_query = Some(target);
            if let Ok(uri) = Uri::from_parts(uri) {
                self.parts.uri = uri;
            }
        }
    }

    /// The payload of `step`, expanded for this step.
    pub(super) fn payload(&self, step: &PluginStep) -> Bytes {
        match &step.item.payload {
            Payload::Template(template) => template.expand_json(self),
            _ => step.constant.clone(),
        }
    }

    /// The response head a plugin sees in `phase`, up to `shown` bytes of headers: the real one, or what was drafted for
    /// it.
    pub(super) fn head(&self, phase: Phase, names: Names, shown: usize) -> Option<Vec<u8>> {
        let flags = if self.draft_body.is_some() { wire::HEAD_BODY } else { 0 };
        let write = |status: StatusCode, headers: &HeaderMap| {
            let mut out = Vec::with_capacity(512);
            let (status, all) = (status.as_u16(), Pairs::of(headers));
            let written = if Pairs::of(headers).map(cost).sum::<usize>() > shown {
                write_head(&mut out, status, flags, up_to(all, shown).into_iter(), names)
            } else {
                write_head(&mut out, status, flags, all, names)
            };
            written.ok().map(|()| out)
        };
        if !matches!(phase, Phase::RequestFilter | Phase::RequestBodyFilter) {
            return write(self.status, &self.headers);
        }
        if self.draft.is_empty() && self.draft_body.is_none() {
            return None;
        }
        let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
        self.draft.iter().for_each(|op| op.apply(&mut status, &mut headers));
        write(status, &headers)
    }

    /// Milliseconds since the request began.
    pub(super) fn duration_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl TemplateContext for Exchange {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.parts.headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()))
    }

    fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or("")
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn client_ip(&self) -> Cow<'_, str> {
        Cow::Owned(self.client.ip.to_string())
    }

    fn host(&self) -> &str {
        self.target.host()
    }

    fn method(&self) -> &str {
        self.parts.method.as_str()
    }

    fn path(&self) -> &str {
        self.parts.uri.path()
    }

    fn tls(&self) -> bool {
        self.client.tls
    }
}

/// Headers as a record takes them: names in lower case, repeated ones each by itself.
struct Pairs<'a> {
    headers: http::header::Iter<'a, HeaderValue>,
    left: usize,
}

impl<'a> Pairs<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        Self { headers: headers.iter(), left: headers.len() }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.headers.next()?;
        self.left -= 1;
        Some((name.as_str().as_bytes(), value.as_bytes()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

/// Bytes a header takes in a record.
fn cost((name, value): (&[u8], &[u8])) -> usize {
    name.len() + value.len() + 16
}

/// The headers that fit into `bytes`: a huge one does not hide the others.
fn up_to(all: Pairs<'_>, mut bytes: usize) -> Vec<(&[u8], &[u8])> {
    all.filter(|pair| {
        let fits = cost(*pair) <= bytes;
        bytes -= if fits { cost(*pair) } else { 0 };
        fits
    })
    .collect()
}
