//! The access log: one line of target `access` for each request, when it is over.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::account::{Account, Failed};
use crate::body::{Body, Tail};
use crate::log::ACCESS;
use crate::request_id::RequestId;

/// Bytes of a path that are logged.
const PATH_MAX: usize = 2048;

/// What becomes of a request, until it is logged.
#[derive(Debug)]
pub(crate) struct Access {
    client: IpAddr,
    method: Method,
    /// Without the query: that is where tokens and addresses of people are.
    path: String,
    started: Instant,
    end: Mutex<End>,
}

#[derive(Debug, Default)]
struct End {
    route: Option<Arc<str>>,
    /// There is none when the client left before.
    status: Option<StatusCode>,
    bytes: u64,
    took: Option<Duration>,
    how: How,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum How {
    /// All of it went out.
    Complete,
    /// The gateway broke it off.
    Cut,
    /// The client left before.
    #[default]
    ClientGone,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cut => "cut",
            Self::ClientGone => "client_gone",
        }
    }
}

impl Account {
    /// The account of a request that is to be in the access log; the chain finds it in the request's extensions.
    pub(crate) fn open(request: &mut Request<Body>, client: IpAddr) -> Arc<Self> {
        let mut path = request.uri().path().to_owned();
        path.truncate(path.floor_char_boundary(PATH_MAX));
        let (method, started) = (request.method().clone(), Instant::now());
        let access = Access { client, method, path, started, end: Mutex::default() };
        let account = Arc::new(Self::new(RequestId::of(request.headers()), Some(access)));
        request.extensions_mut().insert(account.clone());
        account
    }

    /// The response goes out; its body tells how it ended.
    pub(crate) fn close(self: Arc<Self>, response: Response<Body>) -> Response<Body> {
        let Some(access) = self.access() else { return response };
        let status = response.status();
        access.end().status = Some(status);
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let bare = access.method == Method::HEAD || bodiless;
        if bare || http_body::Body::is_end_stream(response.body()) {
            access.ended(How::Complete, 0);
            return response;
        }
        response.map(|body| body.tailed(Box::new(AccessTail { account: Some(self), bytes: 0 })))
    }
}

impl Access {
    /// The name of the route it took.
    pub(crate) fn routed(&self, route: Arc<str>) {
        self.end().route = Some(route);
    }

    /// The client was a WebSocket, and is gone: `bytes` of messages went to it.
    pub(super) fn left(&self, bytes: u64) {
        self.ended(How::Complete, bytes);
    }

    fn ended(&self, how: How, bytes: u64) {
        let mut end = self.end();
        (end.how, end.bytes, end.took) = (how, bytes, Some(self.started.elapsed()));
    }

    /// Writes the line.
    pub(super) fn log(&self, request_id: &RequestId, failed: &[Failed], retries: u32) {
        let Self { client, method, path, started, .. } = self;
        let end = self.end();
        let mut id = uuid::Uuid::encode_buffer();
        // Of several the first that ended the request, else the first.
        let failure = failed.iter().find(|f| f.action == "fail").or(failed.first());
        tracing::info!(
            target: ACCESS,
            %client, %method, path, status = end.status.map(|status| status.as_u16()), bytes = end.bytes,
            duration_ms = millis(end.took.unwrap_or_else(|| started.elapsed())),
            route = end.route.as_deref(), request_id = request_id.shown(&mut id), end = end.how.name(),
            plugin = failure.map(|f| &*f.plugin), entry = failure.map(|f| &*f.entry),
            phase = failure.map(|f| f.phase), reason = failure.map(|f| f.reason),
            action = failure.map(|f| f.action),
            failures = (failed.len() > 1).then_some(failed.len()),
            retries = (retries > 0).then_some(retries),
            "request",
        );
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds, to the microsecond.
pub(super) fn millis(time: Duration) -> f64 {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}

/// Follows a body to its end.
#[derive(Debug)]
struct AccessTail {
    account: Option<Arc<Account>>,
    bytes: u64,
}

impl Tail for AccessTail {
    fn piece(&mut self, piece: &Bytes) {
        self.bytes += piece.len() as u64;
    }

    fn end(&mut self, complete: bool, error: Option<&str>) {
        let Some(account) = self.account.take() else { return };
        let how = match (complete, error) {
            (true, _) => How::Complete,
            (false, Some(_)) => How::Cut,
            (false, None) => How::ClientGone,
        };
        if let Some(access) = account.access() {
            access.ended(how, self.bytes);
        }
    }
}
