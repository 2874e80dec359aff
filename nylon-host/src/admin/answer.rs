//! From a request to its answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::access::Door;
use super::endpoint::{Ask, ENDPOINTS, Endpoint, Verb};
use super::query::Query;
use super::server::Admin;
use super::view::{Change, Crash, CrashList, Dump, GatewayView, PluginList, PluginView, Refusal};
use super::view::{Nothing, Reloaded, Upgrade};
use super::{openapi, programs};
use crate::body::{Body, BodyError};
use crate::config::Diagnostic;
use crate::error::ControlError;
use crate::gateway::ReloadError;
use crate::supervisor::Plugin;

/// Why a request is not answered as it wished.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    word: &'static str,
    message: String,
    problems: Vec<Diagnostic>,
    allow: Option<String>,
}

type Answer = Result<Response<Body>, Refused>;

/// Bytes that a request's body may have.
const BODY_MAX: usize = 64 * 1024;
/// Time it has to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

impl Admin {
    /// Answers a request that came through `door`.
    pub(super) async fn answer<B>(&self, request: Request<B>, door: &Door) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BodyError>,
    {
        let mut response = match self.try_answer(request, door).await {
            Ok(response) => response,
            Err(refused) => refused.into_response(),
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    async fn try_answer<B>(&self, request: Request<B>, door: &Door) -> Answer
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BodyError>,
    {
        door.pass(request.method(), request.headers())?;
        let (head, body) = request.into_parts();
        let found = self.router.at(head.uri.path()).map_err(|_| Refused::no_path())?;
        let endpoint = method(found.value, &head.method)?;
        let segment = |name| found.params.get(name).map(decode).unwrap_or_default();
        let query = Query::parse(head.uri.query(), endpoint)?;
        match endpoint.ask {
            Ask::Gateway => Ok(json(&self.gateway())),
            Ask::Health => Ok(json(&self.observer.health())),
            Ask::Plugins => Ok(json(&self.plugins())),
            Ask::Plugin => Ok(json(&self.view(&*self.plugin(&segment("plugin"))?))),
            Ask::Change(verb) => self.change(verb, &segment("plugin"), body).await,
            Ask::Reload => {
                let Nothing {} = read(body).await?;
                Ok(json(&Reloaded { warnings: self.control.reload_file().await? }))
            }
            Ask::Dump => {
                let plugin = self.plugin(&segment("plugin"))?;
                Ok(json(&Dump { workers: self.control.host().dump(&plugin.name) }))
            }
            Ask::Crashes => Ok(json(&self.crashes(query.text("plugin"))?)),
            Ask::Crash => self.crash(&segment("id")),
            Ask::Events => self.events(&query),
            Ask::Logs => self.logs(&query),
            Ask::OpenApi => Ok(json(&openapi::document())),
            Ask::Observe => Ok(self.observer.answer(&Request::from_parts(head, ())).await),
        }
    }

    fn gateway(&self) -> GatewayView {
        let (major, minor) = crate::PROTOCOL.1;
        GatewayView {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: format!("{major}.{minor}"),
            config: std::path::absolute(self.control.file()).unwrap_or_default(),
            started: self.started.clone(),
            http: self.http.iter().map(ToString::to_string).collect(),
            plugins: self.control.host().plugins(),
            reloads: self.control.reloads(),
            log_dropped: crate::log::dropped(),
        }
    }

    pub(super) fn plugin(&self, name: &str) -> Result<Arc<Plugin>, Refused> {
        let unknown = || Refused::from(ControlError::UnknownPlugin(name.to_owned()));
        self.control.host().plugin(name).ok_or_else(unknown)
    }

    fn plugins(&self) -> PluginList {
        let all = self.control.host().roster().all();
        PluginList { plugins: all.iter().map(|plugin| self.view(plugin)).collect() }
    }

    fn view(&self, plugin: &Plugin) -> PluginView {
        let status = self.control.host().status(&plugin.name).unwrap_or_default();
        let required = plugin.binding().is_none_or(|binding| binding.spec.required);
        PluginView::new(&plugin.name, required, status)
    }

    async fn change<B>(&self, verb: Verb, name: &str, body: B) -> Answer
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BodyError>,
    {
        let host = self.control.host();
        let (done, build) = match verb {
            Verb::Upgrade => {
                let Upgrade { program } = read(body).await?;
                let program = self.program(name, program)?;
                ("upgraded", host.upgrade(name, program).await)
            }
            _ => {
                let Nothing {} = read(body).await?;
                match verb {
                    Verb::Upgrade | Verb::Restart => ("restarted", host.restart(name).await),
                    Verb::Drain => ("drained", host.drain(name).await),
                    Verb::Rollback => ("rolled_back", host.rollback(name).await),
                    Verb::Pause => ("paused", host.pause(name).await),
                    Verb::Resume => ("resumed", host.resume(name).await),
                }
            }
        };
        Ok(json(&Change { plugin: name.to_owned(), done: done.to_owned(), build: build? }))
    }

    /// The program of an upgrade, if it may be one.
    fn program(&self, name: &str, program: Option<PathBuf>) -> Result<Option<PathBuf>, Refused> {
        let Some(program) = program else { return Ok(None) };
        let Some(binding) = self.plugin(name)?.binding() else {
            return Err(ControlError::NothingServes.into());
        };
        let dirs = self.control.programs();
        match programs::allowed(&program, &dirs, &binding.spec.program) {
            Ok(file) => Ok(Some(file)),
            Err(why) => Err(Refused::new(StatusCode::FORBIDDEN, "program", &why)),
        }
    }

    fn crashes(&self, only: Option<&str>) -> Result<CrashList, Refused> {
        let host = self.control.host();
        let names = match only {
            Some(name) => vec![self.plugin(name)?.name.to_string()],
            None => host.plugins(),
        };
        let reports = names.iter().flat_map(|name| host.crash_reports(name));
        let mut crashes: Vec<_> = reports.map(|report| Crash::from(&*report)).collect();
        crashes.sort_by(|a, b| a.ended.cmp(&b.ended));
        Ok(CrashList { crashes })
    }

    fn crash(&self, id: &str) -> Answer {
        let host = self.control.host();
        let mut all = host.plugins().into_iter().flat_map(|name| host.crash_reports(&name));
        match all.find(|report| report.id == id) {
            Some(report) => Ok(json(&*report)),
            None => {
                let message = format!("no crash `{id}` is remembered: see `nylon crash list`");
                Err(Refused::new(StatusCode::NOT_FOUND, "unknown_crash", &message))
            }
        }
    }
}

impl Refused {
    pub(super) fn new(status: StatusCode, word: &'static str, message: &str) -> Self {
        let message = message.to_owned();
        Self { status, word, message, problems: Vec::new(), allow: None }
    }

    pub(super) fn bad(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", &message)
    }

    fn no_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_path", "there is no such path: see /openapi.json")
    }

    fn into_response(self) -> Response<Body> {
        let Self { status, word, message, problems, allow } = self;
        let mut response = json(&Refusal { error: word.to_owned(), message, problems });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some(allow) = allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<ControlError> for Refused {
    fn from(e: ControlError) -> Self {
        let (status, word) = match &e {
            ControlError::UnknownPlugin(_) => (StatusCode::NOT_FOUND, "unknown_plugin"),
            ControlError::NotStarted(_) => (StatusCode::CONFLICT, "not_started"),
            ControlError::Abandoned => (StatusCode::CONFLICT, "abandoned"),
            ControlError::Replacing => (StatusCode::CONFLICT, "replacing"),
            ControlError::NothingServes => (StatusCode::CONFLICT, "nothing_serves"),
            ControlError::NoPrevious => (StatusCode::CONFLICT, "no_previous"),
            ControlError::Gone => (StatusCode::CONFLICT, "stopping"),
        };
        Self::new(status, word, &e.to_string())
    }
}

impl From<ReloadError> for Refused {
    fn from(e: ReloadError) -> Self {
        let mut refused = Self::new(StatusCode::CONFLICT, "not_reloaded", &e.to_string());
        refused.problems = e.diagnostics();
        refused
    }
}

/// The endpoint of a path that has this method.
fn method(all: &[&'static Endpoint], method: &Method) -> Result<&'static Endpoint, Refused> {
    let wanted = if *method == Method::HEAD { "GET" } else { method.as_str() };
    if let Some(endpoint) = all.iter().find(|endpoint| endpoint.method == wanted) {
        return Ok(endpoint);
    }
    let allow: Vec<_> = all.iter().map(|endpoint| endpoint.method).collect();
    let allow = allow.join(", ");
    let message = format!("the method of this path is {allow}");
    let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", &message);
    Err(Refused { allow: Some(allow), ..refused })
}

/// All paths, each with its endpoints.
pub(super) fn router() -> matchit::Router<Vec<&'static Endpoint>> {
    let mut router = matchit::Router::<Vec<&'static Endpoint>>::new();
    for endpoint in ENDPOINTS {
        if let Ok(found) = router.at_mut(endpoint.path) {
            found.value.push(endpoint);
        } else {
            // A path that cannot be inserted is found missing by the test of all paths.
            let _ = router.insert(endpoint.path, vec![endpoint]);
        }
    }
    router
}

fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// What a request carries; nothing at all is an empty object.
async fn read<T, B>(body: B) -> Result<T, Refused>
where
    T: DeserializeOwned,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    let late = || Refused::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come");
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await;
    let bytes = whole.map_err(|_| late())?.map_err(|e| Refused::bad(e.to_string()))?.to_bytes();
    let text: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|e| Refused::bad(format!("the body: {e}")))
}

/// An answer of 200.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    let mut text = match serde_json::to_vec(value) {
        Ok(text) => text,
        // Maps have texts as keys, and nothing here fails by itself.
        Err(e) => e.to_string().into_bytes(),
    };
    text.push(b'\n');
    let mut response = Response::new(Body::from(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
