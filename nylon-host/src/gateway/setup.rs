//! From a checked configuration to a gateway that listens.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket};

use super::files::Files;
use super::http::{Served, Service, Site};
use super::observe::Observer;
use super::traffic::Traffic;
use super::upstream::{self, Pool, Upstream};
use super::{Gateway, Shared};
use crate::admin;
use crate::config::{
    Config, Diagnostic, Middleware, Plugin, PluginCall, PluginKind, ServiceKind, Severity,
};
use crate::dispatch::route::Target;
use crate::dispatch::{Chain, ChainBuilder, Item, Payload, UnknownPlugin};
use crate::error::StartErrors;
use crate::host::Host;
use crate::rooms::{Hub, Limits};
use crate::supervisor::{PluginSpec, PluginStatus};

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The configuration names what is not there.
    #[error("{}", join(.0))]
    Config(Vec<Diagnostic>),
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: {source}{}", hint(.source))]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The admin endpoint cannot be had.
    #[error("admin: {0}")]
    Admin(String),
    /// The rooms of WebSockets cannot be shared as asked for.
    #[error("{0}")]
    Rooms(String),
    /// Plugins that could not be started.
    #[error("{}", join(.0))]
    Plugins(Vec<Diagnostic>),
    /// The host itself lacks something.
    #[error(transparent)]
    Host(#[from] StartErrors),
}

fn join<T: std::fmt::Display>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join("\n")
}

fn hint(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::AddrInUse => {
            " (another program listens there: stop it, or choose another address)"
        }
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need privileges: choose another, or grant CAP_NET_BIND_SERVICE)"
        }
        _ => "",
    }
}

pub(super) async fn start(
    config: Config,
    lenient: bool,
) -> Result<(Gateway, Vec<Diagnostic>), SetupError> {
    refuse_unstartable(&config, lenient)?;
    let listeners = config.runtime.http.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
    let watched = config.runtime.metrics.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
    let grace = config.runtime.grace_period;
    let (file, admin) = (config.file.clone(), config.runtime.admin.clone());
    let programs = ArcSwap::from_pointee(admin.programs.clone());
    let admin = admin::bind(&admin).map_err(SetupError::Admin)?;
    let rooms = Hub::start(&config.runtime.rooms, Limits::default()).await;
    let rooms = rooms.map_err(|e| SetupError::Rooms(e.to_string()))?;
    let traffic = Arc::new(Traffic::default());
    let pool = upstream::pool(config.runtime.upstream_keepalive_pool_size);
    let host = Host::with_rooms(rooms, config.runtime.rooms_per_plugin)?;
    match site(config, lenient, &host, &pool, &traffic).await {
        Ok((site, warnings)) => {
            let observer = Arc::new(Observer::new(&host, traffic.clone()));
            let (site, reloading) = (ArcSwap::from_pointee(site), tokio::sync::Mutex::default());
            let shared = Shared {
                site,
                host,
                pool,
                traffic,
                file,
                lenient,
                programs,
                reloading,
                reloads: AtomicU64::new(0),
            };
            let shared = Arc::new(shared);
            Ok((Gateway { listeners, watched, observer, admin, shared, grace }, warnings))
        }
        Err(e) => {
            host.stop(STOP_GRACE).await;
            Err(e)
        }
    }
}

/// Everything `config` asks for, beside what `host` runs already; all of it is ready, or nothing has changed.
///
/// # Errors
/// [`SetupError`]; what served goes on.
pub(super) async fn site(
    mut config: Config,
    lenient: bool,
    host: &Host,
    pool: &Pool,
    traffic: &Arc<Traffic>,
) -> Result<(Site, Vec<Diagnostic>), SetupError> {
    let severity = if lenient { Severity::Warning } else { Severity::Error };
    let unstartable = refuse_unstartable(&config, lenient)?;
    let payloads = constant_payloads(&config);
    let mut missing: Vec<_> = unstartable.iter().map(|(name, _)| name.clone()).collect();
    let mut warnings: Vec<_> = unstartable.into_iter().map(|(_, problem)| problem).collect();
    let (plugins, specs): (Vec<_>, Vec<_>) = config
        .plugins
        .iter()
        .zip(&payloads)
        .filter(|(plugin, _)| !missing.contains(&plugin.name))
        .map(|(plugin, payloads)| {
            let crash_reports = config.runtime.crash_reports.clone();
            (plugin, PluginSpec { crash_reports, ..spec(plugin, payloads) })
        })
        .unzip();
    let (prepared, failed) = host.prepare(specs).await?;
    let problem = |i: usize, e| plugins[i].not_started(e).with_severity(severity);
    let problems: Vec<_> = failed.iter().map(|(i, e)| problem(*i, e)).collect();
    if !problems.is_empty() && !lenient {
        return Err(SetupError::Plugins(problems));
    }
    missing.extend(failed.iter().map(|(i, _)| plugins[*i].name.clone()));
    warnings.extend(problems);
    let unknown = unknown_entries(&config, |name| prepared.status(name), &missing, severity);
    if !unknown.is_empty() && !lenient {
        return Err(SetupError::Config(unknown.into_iter().map(|(_, _, d)| d).collect()));
    }
    for name in &missing {
        config.break_uses(name, None, &format!("plugin `{name}` could not be started"));
    }
    for (plugin, entry, problem) in unknown {
        config.break_uses(
            &plugin,
            Some(&entry),
            &format!("plugin `{plugin}` has no entry `{entry}`"),
        );
        warnings.push(problem);
    }
    let paths = match serve(&config, || host.chain_of(prepared.bound()), pool) {
        Ok(paths) => paths,
        Err(UnknownPlugin(name)) => {
            let problem = Diagnostic::about_file(name.clone(), format!("unknown plugin `{name}`"));
            return Err(SetupError::Config(vec![problem]));
        }
    };
    prepared.commit();
    let routes = config.routes.iter().map(|r| r.name.as_str().into()).collect();
    let (access, traffic) = (config.runtime.log.access, traffic.clone());
    let (selector, router) = (config.header_selector, config.router);
    Ok((Site { selector, router, paths, routes, access, traffic }, warnings))
}

/// Plugins whose program cannot be run: an error, unless `lenient`.
fn refuse_unstartable(
    config: &Config,
    lenient: bool,
) -> Result<Vec<(String, Diagnostic)>, SetupError> {
    let unstartable =
        unstartable(config, if lenient { Severity::Warning } else { Severity::Error });
    if unstartable.is_empty() || lenient {
        return Ok(unstartable);
    }
    Err(SetupError::Config(unstartable.into_iter().map(|(_, d)| d).collect()))
}

/// Time for workers to stop when the start itself failed.
const STOP_GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// Plugins whose program cannot be run, as far as that shows without running it. One that nobody waits for is tried, and
/// tried again: its program may come yet.
fn unstartable(config: &Config, severity: Severity) -> Vec<(String, Diagnostic)> {
    let problem = |p: &Plugin| p.start_problem().map(|d| d.with_severity(severity));
    let known = |p: &&Plugin| p.required || p.kind != PluginKind::Process;
    config
        .plugins
        .iter()
        .filter(known)
        .filter_map(|p| Some((p.name.clone(), problem(p)?)))
        .collect()
}

/// Uses of entries that running plugins did not register: plugin, entry and what to tell the operator.
pub fn unknown_entries(
    config: &Config,
    status: impl Fn(&str) -> Option<PluginStatus>,
    missing: &[String],
    severity: Severity,
) -> Vec<(String, String, Diagnostic)> {
    let mut unknown = Vec::new();
    for used in config.entry_uses() {
        if missing.contains(&used.plugin.name) {
            continue;
        }
        // What has never been ready has registered nothing yet.
        let status = status(&used.plugin.name).filter(|status| !status.sdk.is_empty());
        let Some(status) = status else { continue };
        if !status.entries.iter().any(|e| e == used.entry) {
            let registered: Vec<_> = status.entries.iter().map(String::as_str).collect();
            let problem = used.unknown(severity, &registered);
            unknown.push((used.plugin.name.clone(), used.entry.to_owned(), problem));
        }
    }
    unknown
}

fn bind(addr: &SocketAddr) -> Result<TcpListener, SetupError> {
    let listen = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(*addr)?;
        socket.listen(1024)
    };
    listen().map_err(|source| SetupError::Bind { addr: *addr, source })
}

/// For each plugin, in order: its constant payloads, each once.
fn constant_payloads(config: &Config) -> Vec<Vec<Vec<u8>>> {
    let mut all = vec![Vec::new(); config.plugins.len()];
    for call in calls(config) {
        if let Some(json) = constant(call)
            && !all[call.plugin].contains(&json)
        {
            all[call.plugin].push(json);
        }
    }
    all
}

/// The payload of a use, where it is the same for every request.
fn constant(call: &PluginCall) -> Option<Vec<u8>> {
    let template = call.payload.as_ref().filter(|p| p.is_constant())?;
    Some(template.expand_json(&NoRequest).to_vec())
}

fn calls(config: &Config) -> impl Iterator<Item = &Arc<PluginCall>> {
    let paths = config.routes.iter().flat_map(|r| &r.paths);
    let middleware = config
        .routes
        .iter()
        .flat_map(|r| r.middleware.iter().chain(r.paths.iter().flat_map(|p| &p.middleware)));
    let items = middleware.filter_map(|m| match m {
        Middleware::Plugin(call) => Some(call),
        _ => None,
    });
    let services = paths.filter_map(|p| match p.service.as_deref() {
        Ok(service) => match &service.kind {
            ServiceKind::Plugin(call) => Some(call),
            _ => None,
        },
        Err(_) => None,
    });
    items.chain(services)
}

/// A configured plugin as the host library takes it, without the payloads its uses would give it.
pub fn plugin_spec(plugin: &Plugin) -> PluginSpec {
    spec(plugin, &[])
}

fn spec(plugin: &Plugin, payloads: &[Vec<u8>]) -> PluginSpec {
    PluginSpec {
        args: plugin.args.clone(),
        env: plugin.env.clone(),
        workers: plugin.workers,
        workers_max: plugin.workers_max,
        config: plugin.config.as_ref().map(|c| c.to_string().into_bytes()).unwrap_or_default(),
        payloads: payloads.to_vec(),
        lanes: plugin.lanes,
        wait: plugin.wake,
        start_timeout: plugin.start_timeout,
        supervision: plugin.supervision,
        required: plugin.required,
        retry: plugin.retry,
        sandbox: plugin.sandbox.clone(),
        sha256: plugin.sha256,
        limits: plugin.limits.clone(),
        ..PluginSpec::new(plugin.name.clone(), plugin.file.clone())
    }
}

fn serve(
    config: &Config,
    begin: impl Fn() -> ChainBuilder,
    pool: &Pool,
) -> Result<HashMap<Target, Result<Served, String>>, UnknownPlugin> {
    let mut all = HashMap::new();
    // A service keeps its state (whose turn it is) however many paths name it.
    let mut upstreams: HashMap<&str, Arc<Upstream>> = HashMap::new();
    for (route, r) in config.routes.iter().enumerate() {
        for (path, p) in r.paths.iter().enumerate() {
            let target = Target { route, path };
            let service = match &p.service {
                Ok(service) => service,
                Err(why) => {
                    all.insert(target, Err(why.clone()));
                    continue;
                }
            };
            let middleware = r.middleware.iter().chain(&p.middleware);
            let answers = match &service.kind {
                ServiceKind::Plugin(call) => Some(call),
                _ => None,
            };
            let builder = begin().websockets(Arc::new(p.websocket.clone()));
            let chain = chain(config, builder, middleware, answers)?;
            let service = match &service.kind {
                ServiceKind::Http { endpoints } => Service::Http(
                    upstreams
                        .entry(&service.name)
                        .or_insert_with(|| Arc::new(Upstream::new(endpoints, pool.clone())))
                        .clone(),
                ),
                ServiceKind::Static(files) => Service::Static(Arc::new(Files::new(files.clone()))),
                ServiceKind::Plugin(_) => Service::Plugin,
            };
            all.insert(target, Ok(Served { chain, service, rewrite: p.rewrite.clone() }));
        }
    }
    Ok(all)
}

fn chain<'c>(
    config: &Config,
    mut builder: ChainBuilder,
    middleware: impl Iterator<Item = &'c Middleware>,
    service: Option<&Arc<PluginCall>>,
) -> Result<Arc<Chain>, UnknownPlugin> {
    let item = |call: &PluginCall| {
        let payload = match &call.payload {
            None => Payload::None,
            Some(template) => match constant(call) {
                Some(json) => Payload::Constant(json.into()),
                None => Payload::Template(template.clone()),
            },
        };
        let plugin = config.plugins[call.plugin].name.clone();
        Item::new(plugin, call.entry.clone()).payload(payload).policies(call.policies)
    };
    builder = builder.failure_header(config.runtime.failure_header).tracing(config.runtime.tracing);
    for m in middleware {
        builder = match m {
            Middleware::Plugin(call) => builder.item(item(call))?,
            Middleware::RequestHeaders(modifier) => builder.request_headers(modifier.clone()),
            Middleware::ResponseHeaders(modifier) => builder.response_headers(modifier.clone()),
        };
    }
    if let Some(call) = service {
        builder = builder.service(item(call))?;
    }
    Ok(builder.build())
}

/// The context of a payload that asks for nothing.
struct NoRequest;

impl crate::template::TemplateContext for NoRequest {
    fn header(&self, _: &str) -> Option<std::borrow::Cow<'_, str>> {
        None
    }
    fn query(&self) -> &str {
        ""
    }
    fn param(&self, _: &str) -> Option<&str> {
        None
    }
    fn client_ip(&self) -> std::borrow::Cow<'_, str> {
        "".into()
    }
    fn host(&self) -> &str {
        ""
    }
    fn method(&self) -> &str {
        ""
    }
    fn path(&self) -> &str {
        ""
    }
    fn tls(&self) -> bool {
        false
    }
}
