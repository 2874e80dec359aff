//! Dispatch: which plugins see a request, in which phase, and what their decisions do to it.
//!
//! In: a request, the [`Chain`] of its route, and the service behind it.  Out: the response, as the return value; its
//! body may still be flowing.
//! Never: sockets, frames, or the bytes of a record beyond encoding the request.

mod access;
mod account;
mod chain;
mod exchange;
mod header_names;
mod identity;
mod mutation;
mod phase;
mod request_body;
mod response;
pub mod route;
mod tail;
mod tape;
mod trace;
mod websocket;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use nylon_protocol::wire;

pub(crate) use account::Account;
pub use chain::{Chain, ChainBuilder, Item, Payload, UnknownPlugin};
pub use exchange::Client;
pub(crate) use mutation::is_hop_by_hop;
pub(crate) use websocket::Sockets;

use crate::body::Body;
use crate::error::Failure;
use crate::request_id::RequestId;
use crate::session::{HostCall, Phase};
use chain::{PluginStep, Step};
use exchange::{Exchange, Seat, Slot};
use phase::{Extra, Handler, Outcome};
use tail::Guard;
use trace::Trace;

/// Why the service behind a chain gave no response.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// Status for the client.
    pub status: StatusCode,
    /// Code of the error body.
    pub code: &'static str,
    /// Text of the error body and of `Response.Error()` in Logging.
    pub message: String,
}

/// Where the request phase left off.
enum Flow {
    /// To the service.
    Service,
    /// Answer with what was collected.
    Answer,
    /// A handler streams the response.
    Stream(Box<Handler>, HostCall),
    /// The client becomes a WebSocket of the plugin with this session.
    Upgrade(usize),
    /// Answer with an error.
    Fail(Failure),
}

impl Chain {
    /// Sends `request` through the chain and, if nothing stops it there, to `service`.
    ///
    /// `client` and `params` (route parameters, as they stand in the path) are what plugins are told. `service` gets
    /// the request as plugins left it. It is not called when the chain has a plugin as its service.
    ///
    /// Resolves when the response head is final; the body runs through the body phases while it is read, and Logging
    /// follows its end.
    pub async fn call<S, F>(
        self: &Arc<Self>,
        request: Request<Body>,
        client: Client,
        params: Vec<(String, String)>,
        service: S,
    ) -> Response<Body>
    where
        S: FnOnce(Request<Body>) -> F,
        F: Future<Output = Result<Response<Body>, ServiceError>>,
    {
        if self.steps.is_empty() && self.service.is_none() {
            return self.pass_by(request, service).await;
        }
        let mut guard = Guard::new(Exchange::new(self.clone(), request, client, params));
        let exchange = guard.exchange();
        let response = match exchange.request_phase(self).await {
            Flow::Service => {
                let response = service(exchange.forward(self)).await;
                response.unwrap_or_else(|e| exchange.fail(&e))
            }
            // An empty response, to which what plugins collected is applied.
            Flow::Answer => Response::new(Body::empty()),
            Flow::Stream(handler, call) => return guard.stream(handler, call).await,
            Flow::Upgrade(slot) => return guard.upgrade(slot).await,
            Flow::Fail(failure) => exchange.fail(&failure.into()),
        };
        guard.respond(response).await
    }
}

impl Chain {
    /// A request that no plugin sees.
    async fn pass_by<S, F>(&self, request: Request<Body>, service: S) -> Response<Body>
    where
        S: FnOnce(Request<Body>) -> F,
        F: Future<Output = Result<Response<Body>, ServiceError>>,
    {
        let (mut parts, body) = request.into_parts();
        let account = parts.extensions.remove::<Arc<Account>>();
        let made = RequestId::of(&parts.headers);
        let trace = Trace::enter(self.tracing, &mut parts, || {
            account.map_or(made, |account| account.request_id.clone())
        });
        let response = service(Request::from_parts(parts, body)).await;
        let response = response.unwrap_or_else(|e| error_response(&e));
        if let Some(mut trace) = trace {
            (trace.status, trace.outcome) = (Some(response.status()), "ok");
        }
        response
    }
}

impl Exchange {
    /// RequestFilter of the middleware, then of a plugin service.
    async fn request_phase(&mut self, chain: &Chain) -> Flow {
        for step in &chain.steps {
            match step {
                Step::Plugin(step) => match self.request_step(step).await {
                    Flow::Service => {}
                    stopped => return stopped,
                },
                Step::RequestHeaders(modifier) => {
                    let mut headers = self.parts.headers.clone();
                    modifier.apply(&mut headers, self);
                    self.set_request_headers(headers);
                }
                Step::ResponseHeaders(_) => {}
            }
        }
        let Some(service) = &chain.service else { return Flow::Service };
        self.tape.last_reader();
        match self.request_step(service).await {
            // A service that has nothing to say: there is nowhere to go on to (CONTRACT 3).
            Flow::Service => {
                let why = "the plugin service neither ended nor streamed the response";
                let failure = Failure::NoAnswer(why.into());
                let lane = self.slots[service.slot].lane.clone();
                let account = self.account();
                account.failed(
                    service,
                    Phase::RequestFilter,
                    &failure,
                    false,
                    lane.as_deref().map(|l| &**l),
                );
                Flow::Fail(failure)
            }
            stopped => stopped,
        }
    }

    async fn request_step(&mut self, step: &PluginStep) -> Flow {
        match self.run(step, Phase::RequestFilter, Extra::default()).await {
            Ok(None) => Flow::Service,
            Ok(Some(Outcome::Next)) => {
                self.apply_early();
                Flow::Service
            }
            Ok(Some(Outcome::End)) => {
                self.apply_early();
                Flow::Answer
            }
            Ok(Some(Outcome::Stream(handler, call))) => {
                self.apply_early();
                Flow::Stream(handler, call)
            }
            Ok(Some(Outcome::Upgrade)) => {
                self.apply_early();
                Flow::Upgrade(step.slot)
            }
            Err(failure) => match self.pass(step, Phase::RequestFilter, failure) {
                None => Flow::Service,
                Some(failure) => Flow::Fail(failure),
            },
        }
    }

    /// Applies the failure policy: `None` lets the request go on. Its session is given up either way.
    pub(self) fn pass(
        &mut self,
        step: &PluginStep,
        phase: Phase,
        failure: Failure,
    ) -> Option<Failure> {
        let account = self.account();
        let slot = &mut self.slots[step.slot];
        slot.seat = Seat::Empty;
        let judged = step.judge(phase, failure, &account, slot.lane.as_deref().map(|l| &**l));
        slot.failed = judged.is_some();
        judged
    }

    /// The request for the service: as plugins left it, its body through RequestBodyFilter where one is wanted.
    fn forward(&mut self, chain: &Arc<Chain>) -> Request<Body> {
        let body = request_body::filtered(self, chain);
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.parts.uri.clone();
        *request.version_mut() = self.parts.version;
        *request.extensions_mut() = std::mem::take(&mut self.parts.extensions);
        let headers = request.headers_mut();
        if chain.reads_late || self.slots.iter().any(Slot::may_run) {
            headers.clone_from(&self.parts.headers);
        } else {
            *headers = std::mem::take(&mut self.parts.headers);
        }
        request
    }

    /// An error of the gateway, with the headers plugins set before: those that suit any response.
    fn fail(&mut self, error: &ServiceError) -> Response<Body> {
        self.forget_response(error.message.clone());
        error_response(error)
    }

    /// The request fails because of `why`: of what plugins set for the response that which suits any stays.
    fn forget_response(&mut self, why: String) {
        self.error = Some(why);
        self.draft.retain(|op| !op.is_of_one_response());
        self.draft_body = None;
    }
}

/// Filters made more of one piece of a body than the host holds of any.
fn too_long() -> Failure {
    Failure::Refused(format!("body filters made over {} bytes of one piece", wire::LIMIT_STAGED))
}

impl From<Failure> for ServiceError {
    fn from(failure: Failure) -> Self {
        Self { status: failure.status(), code: failure.code(), message: failure.to_string() }
    }
}

/// The error body of CONTRACT 3: `{"status":N,"error":"CODE","message":"..."}`.
pub fn error_response(error: &ServiceError) -> Response<Body> {
    let body = serde_json::json!({
        "status": error.status.as_u16(),
        "error": error.code,
        "message": error.message,
    });
    let mut response = Response::new(Body::from(Bytes::from(body.to_string())));
    *response.status_mut() = error.status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
