//! One request on its way through a chain: its head, its sessions, and the response as it comes together.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version};
use nylon_protocol::record::{Names, RequestFields, write_head, write_request};
use nylon_protocol::wire;
use tokio::sync::Mutex;

use super::chain::{Chain, Payload, PluginStep};
use super::mutation::{Changes, HeadOp, RequestOp};
use super::tape::Tape;
use crate::body::Body;
use crate::error::Failure;
use crate::lane::Lane;
use crate::session::{Phase, Session};
use crate::template::TemplateContext;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The peer's address.
    pub ip: IpAddr,
    /// Whether its connection is encrypted.
    pub tls: bool,
}

/// A session of this request, by pair of plugin and entry.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) session: Option<Arc<Mutex<Session>>>,
    /// The response head it got last.
    pub(super) head: Option<Vec<u8>>,
    /// Which version of the request record its worker got from it.
    revision: u32,
    /// The pair failed closed: the rest of the request does without it.
    pub(super) failed: bool,
}

/// One request, from its first phase to its last.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(super) chain: Arc<Chain>,
    pub(super) parts: Parts,
    pub(super) tape: Tape,
    client: Client,
    client_ip: String,
    host: String,
    port: u16,
    params: Vec<(String, String)>,
    request_id: String,
    timestamp_ms: i64,
    pub(super) started: Instant,
    pub(super) slots: Vec<Slot>,
    record: Vec<u8>,
    record_names: Names,
    revision: u32,
    /// Changes of the response made before there was one, in order.
    pub(super) draft: Vec<HeadOp>,
    pub(super) draft_body: Option<Bytes>,
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
        let (parts, body) = request.into_parts();
        let (host, port) = authority(&parts);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let request_id = parts.headers.get("x-request-id").and_then(|v| v.to_str().ok());
        let request_id = request_id.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
        Self {
            slots: (0..chain.slots).map(|_| Slot::default()).collect(),
            chain,
            tape: Tape::new(body),
            client,
            client_ip: client.ip.to_string(),
            host,
            port,
            params,
            request_id,
            timestamp_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
            started: Instant::now(),
            parts,
            record: Vec::new(),
            record_names: Names::default(),
            revision: 1,
            draft: Vec::new(),
            draft_body: None,
            sent: 0,
            error: None,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
        }
    }

    /// The lane the request's sessions in this step's plugin use: all of them the same.
    pub(super) fn lane(&self, step: &PluginStep) -> Option<Arc<Lane>> {
        let pinned = self.slots.iter().filter_map(|s| s.session.as_ref()?.try_lock().ok());
        let name = &*step.plugin.spec.name;
        let pinned = pinned.map(|s| s.lane().clone()).find(|l| &*l.identity.plugin == name);
        pinned.or_else(|| step.plugin.registry.pick())
    }

    /// An open session on `lane`, other than that of `slot`, that gave its worker the record as it is now.
    pub(super) fn record_holder(&self, slot: usize, lane: &Arc<Lane>) -> Option<u32> {
        self.slots.iter().enumerate().find_map(|(i, s)| {
            if i == slot || s.revision != self.revision {
                return None;
            }
            let session = s.session.as_ref()?.try_lock().ok()?;
            (Arc::ptr_eq(session.lane(), lane) && session.holds_record()).then(|| session.sid())
        })
    }

    /// Notes that the worker of `slot` has the record as it is now.
    pub(super) fn recorded(&mut self, slot: usize) {
        self.slots[slot].revision = self.revision;
    }

    /// Encodes the request record, once per version of the request and way of writing names.
    ///
    /// # Errors
    /// [`Failure::Refused`] when the head is larger than a record may be.
    pub(super) fn encode(&mut self, names: Names) -> Result<(), Failure> {
        if !self.record.is_empty() && self.record_names == names {
            return Ok(());
        }
        self.record.clear();
        self.record_names = names;
        let parts = &self.parts;
        let bytes = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
        let fields = RequestFields {
            timestamp_ms: self.timestamp_ms,
            bytes: bytes.and_then(|v| v.parse().ok()).unwrap_or(0),
            port: self.port,
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
            host: self.host.as_bytes(),
            client_ip: self.client_ip.as_bytes(),
            request_id: self.request_id.as_bytes(),
            headers: Pairs::of(&parts.headers),
            params: self.params.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())),
        };
        write_request(&mut self.record, fields, names)
            .map_err(|_| Failure::Refused("the request head is too large for a plugin".into()))
    }

    pub(super) fn record(&self) -> &[u8] {
        &self.record
    }

    fn changed(&mut self) {
        self.record.clear();
        self.revision += 1;
    }

    /// Replaces the request's headers.
    pub(super) fn set_request_headers(&mut self, headers: HeaderMap) {
        self.parts.headers = headers;
        self.changed();
    }

    /// Applies a checked commit made before there was a response.
    pub(super) fn apply_early(&mut self, changes: Changes) {
        self.draft.extend(changes.head);
        if let Some(body) = changes.body {
            self.draft_body = Some(body);
        }
        if !changes.request.is_empty() {
            changes.request.into_iter().for_each(|op| self.apply_request(op));
            self.changed();
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
            Payload::None => Bytes::new(),
            Payload::Constant(json) => json.clone(),
            Payload::Id(id) => {
                let all = &step.plugin.spec.payloads;
                all.get(*id as usize).map(|p| Bytes::copy_from_slice(p)).unwrap_or_default()
            }
            Payload::Template(template) => template.expand_json(self),
        }
    }

    /// The response head a plugin sees in `phase`: the real one, or what was drafted for it.
    pub(super) fn head(&self, phase: Phase, names: Names) -> Option<Vec<u8>> {
        let early = matches!(phase, Phase::RequestFilter | Phase::RequestBodyFilter);
        if early && self.draft.is_empty() && self.draft_body.is_none() {
            return None;
        }
        let mut out = Vec::with_capacity(512);
        let flags = if self.draft_body.is_some() { wire::HEAD_BODY } else { 0 };
        let mut write = |status: StatusCode, headers: &HeaderMap| {
            let status = status.as_u16();
            if write_head(&mut out, status, flags, Pairs::of(headers), names).is_err() {
                let some = up_to(Pairs::of(headers), HEAD_SHOWN);
                let _ = write_head(&mut out, status, flags, some.into_iter(), names);
            }
        };
        if early {
            let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
            self.draft.iter().for_each(|op| op.apply(&mut status, &mut headers));
            write(status, &headers);
        } else {
            write(self.status, &self.headers);
        }
        Some(out)
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
        Cow::Borrowed(&self.client_ip)
    }

    fn host(&self) -> &str {
        &self.host
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

/// Bytes of headers a plugin sees of a response head that is larger than a record.
const HEAD_SHOWN: usize = 32 * 1024;

/// The headers that fit into `bytes`: a huge one does not hide the others.
fn up_to(all: Pairs<'_>, mut bytes: usize) -> Vec<(&[u8], &[u8])> {
    all.filter(|(name, value)| {
        let cost = name.len() + value.len() + 16;
        let fits = cost <= bytes;
        bytes -= if fits { cost } else { 0 };
        fits
    })
    .collect()
}

/// Host without port, and the port of the URL: 0 when none, 80 or 443.
fn authority(parts: &Parts) -> (String, u16) {
    let from_header = || parts.headers.get(header::HOST).and_then(|v| v.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str).or_else(from_header);
    let Ok(authority) = authority.unwrap_or("").parse::<http::uri::Authority>() else {
        return (String::new(), 0);
    };
    let port = authority.port_u16().filter(|p| !matches!(p, 80 | 443)).unwrap_or(0);
    (authority.host().to_owned(), port)
}
