//! The configuration: a runtime file and the proxy files below its `config_dir`, as one value.
//!
//! [`load`] reads everything, reports every problem with its line, and hands out an immutable
//! [`Config`] in which names are looked up and middleware groups are expanded in place.
//!
//! # Files
//! The runtime file says how the gateway runs (`http`, `config_dir`, `pingora`, `websocket` ..);
//! the proxy files say what it serves (`plugins`, `services`, `middleware_groups`, `routes` ..).
//! Proxy files are all files below `config_dir`, whatever they are called (a name that begins
//! with a dot is left out), in the order of their names; their lists are joined, and the last
//! `header_selector` wins. `config_dir` is relative to the runtime file.
//!
//! One file is enough: the runtime file may hold the proxy keys as well. `/etc/nylon/config`, the
//! `config_dir` of a runtime file that names none, is then not looked into.
//!
//! ```yaml
//! http: 127.0.0.1:8080
//! plugins:
//!   - name: authz
//!     type: process
//!     file: ./authz          # beside this file, else in the working directory
//!     timeout: 2s            # for every phase; 5s when absent
//!     phases:
//!       logging: {timeout: 500ms, on_failure: open}
//! services:
//!   - name: api
//!     service_type: http
//!     algorithm: round_robin
//!     endpoints: [{ip: 127.0.0.1, port: 3000}]
//! routes:
//!   - name: main
//!     route: {type: host, value: example.com}
//!     middleware: [{plugin: authz, entry: check}]
//!     paths: [{path: "/{*rest}", service: {name: api}}]
//! ```
//!
//! # Strict and lenient
//! An unknown key, plugin, service or group, and a `root` that is not there, refuse the start. In [`Mode::Lenient`] it is a
//! warning, and every path it belongs to answers 500 `CONFIG_ERROR`: a misspelt `middleware`
//! never leaves a route unguarded. All other errors refuse the start in both modes.

mod admin;
mod diagnostic;
mod fields;
mod files;
mod inputs;
mod limits;
mod log;
mod middleware;
mod payload;
mod plugin;
mod policy;
mod program;
mod proxy;
mod resolve;
mod rooms;
mod route;
mod runtime;
mod sandbox;
mod service;
mod source;
mod suggest;
mod supervision;
#[cfg(test)]
mod tests;
mod websocket;
mod yaml;

pub use admin::{Admin, AdminSocket, AdminTcp};
pub use diagnostic::{Diagnostic, Severity, Snippet};
pub use inputs::Inputs;
pub use log::{Log, Tracing};
pub use middleware::{Middleware, PluginCall};
pub use plugin::{Plugin, PluginKind};
pub use policy::{OnFailure, PhasePolicies, Policy};
pub use rooms::{RedisConfig, Rooms};
pub use route::{Path, Route};
pub use runtime::Runtime;
pub use service::{Service, ServiceKind, StaticFiles};
pub use source::Location;
pub use websocket::{OnWorkerLoss, SlowClient, WebSockets};

use crate::dispatch::route::Router;
use diagnostic::Report;
use fields::{Fields, Located};
use http::HeaderName;
use proxy::Declarations;
use std::fmt;
use std::path::{self, PathBuf};
use std::sync::Arc;

/// Where proxy files are looked for when the runtime file does not say.
const DEFAULT_CONFIG_DIR: &str = "/etc/nylon/config";

/// Everything a gateway needs to know.
#[derive(Debug)]
pub struct Config {
    /// The runtime file it was read from.
    pub file: PathBuf,
    /// How the gateway itself runs.
    pub runtime: Runtime,
    /// The header whose value selects a route before the host does.
    pub header_selector: HeaderName,
    /// The plugins, in the order of the files.
    pub plugins: Vec<Plugin>,
    /// The routes; [`Router`] answers with indices into them.
    pub routes: Vec<Route>,
    /// Finds the route and path of a request.
    pub router: Router,
    /// Every use of a plugin's entry, also in groups no route names.
    calls: Vec<Arc<PluginCall>>,
}

/// A use of a plugin's entry, to be checked once the plugins have started.
#[derive(Debug, Clone, Copy)]
pub struct EntryUse<'a> {
    /// The plugin.
    pub plugin: &'a Plugin,
    /// The entry's name.
    pub entry: &'a str,
    /// Where it is named.
    pub location: &'a Location,
}

/// How strictly unknown names are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They refuse the start.
    Strict,
    /// They are warnings, and their routes answer 500.
    Lenient,
}

/// A configuration that can be served.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What has no effect, and what lenient mode let pass.
    pub warnings: Vec<Diagnostic>,
}

/// A configuration that is refused: all its problems, warnings included.
#[derive(Debug)]
pub struct Refused {
    /// At least one is an error.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// Something with a name, as declared in a file.
#[derive(Debug)]
struct Declared<T> {
    name: Located<String>,
    /// `None` if it was declared with errors: its name is known all the same.
    item: Option<T>,
    /// What lenient mode let pass in it.
    fault: Option<String>,
}

/// Reads the runtime file `file` and the proxy files it leads to.
pub fn load(file: &path::Path, mode: Mode) -> Result<Loaded, Refused> {
    let mut report = Report::new(mode == Mode::Lenient);
    let config = read(file, &mut report);
    match config.filter(|_| !report.has_errors()) {
        Some(config) => Ok(Loaded { config, warnings: report.into_diagnostics() }),
        None => Err(Refused { diagnostics: report.into_diagnostics() }),
    }
}

/// Where the runtime file `file` puts the admin socket, whatever else is wrong in it; `None` if it cannot be read.
pub fn admin_socket(file: &path::Path) -> Option<AdminSocket> {
    let mut report = Report::new(true);
    let base = file.parent().unwrap_or(path::Path::new(""));
    let node = read_file(file, &mut report)?;
    let mut fields = Fields::of(&node, "runtime file", &mut report)?;
    Some(Admin::read(&mut fields, base, &mut report).socket)
}

/// `None` if a file could not be read: names it declares would all seem to be missing.
fn read(file: &path::Path, report: &mut Report) -> Option<Config> {
    let mut declared = Declarations::default();
    let base = file.parent().unwrap_or(path::Path::new(""));
    let node = read_file(file, report)?;
    let mut fields = Fields::of(&node, "runtime file", report)?;
    let (runtime, config_dir) = Runtime::read(&mut fields, base, report);
    declared.read(&mut fields, base, report);
    fields.finish(report);

    let mut readable = true;
    for proxy_file in proxy_files(file, base, config_dir, &declared, report) {
        let Some(node) = read_file(&proxy_file, report) else {
            readable = false;
            continue;
        };
        if let Some(mut fields) = Fields::of(&node, "proxy file", report) {
            let base = proxy_file.parent().unwrap_or(base);
            declared.read(&mut fields, base, report);
            fields.finish(report);
        }
    }
    if declared.routes.is_empty() && !report.has_errors() {
        let message = "there are no routes: every request is answered with 404";
        let mut about = Diagnostic::about_file(file.display().to_string(), message);
        about.severity = Severity::Warning;
        report.add(about.with_help("add `routes`, here or in a file below `config_dir`"));
    }
    readable.then(|| resolve::resolve(file, runtime, declared, report))
}

fn read_file(file: &path::Path, report: &mut Report) -> Option<yaml::Node> {
    match files::read(file).and_then(|source| yaml::parse(&source)) {
        Ok(node) => {
            fields::refuse_duplicate_keys(&node, report);
            Some(node)
        }
        Err(problem) => {
            report.add(*problem);
            None
        }
    }
}

/// The directory of the proxy files, there or not; `None` if the runtime file, in `base`, is all there is.
fn directory(
    base: &path::Path,
    config_dir: Option<&Located<String>>,
    any_proxy_key: bool,
) -> Option<PathBuf> {
    match config_dir {
        Some(named) => Some(base.join(&named.value)),
        None => (!any_proxy_key).then(|| PathBuf::from(DEFAULT_CONFIG_DIR)),
    }
}

/// The files below `config_dir`, without the runtime file itself.
fn proxy_files(
    file: &path::Path,
    base: &path::Path,
    config_dir: Option<Located<String>>,
    declared: &Declarations,
    report: &mut Report,
) -> Vec<PathBuf> {
    let Some(dir) = directory(base, config_dir.as_ref(), declared.any_key) else {
        return Vec::new();
    };
    if config_dir.is_none() && !dir.exists() {
        let message = "nothing to serve: this file has no proxy keys and no `config_dir`";
        let help = format!(
            "name the directory of the proxy files ({DEFAULT_CONFIG_DIR} does not exist), or add \
             plugins, services and routes here"
        );
        let about = Diagnostic::about_file(file.display().to_string(), message);
        report.add(about.with_help(help));
        return Vec::new();
    }
    match files::below(&dir) {
        Ok(files::Below { files: mut found, .. }) => {
            let own = file.canonicalize().ok();
            found.retain(|found| found.canonicalize().ok() != own);
            found
        }
        Err(error) => {
            let message = format!("the directory {} cannot be read: {error}", dir.display());
            match config_dir {
                Some(named) => {
                    report.error(&named.at, message).help =
                        Some("`config_dir` is relative to this file".to_owned());
                }
                None => report.add(Diagnostic::about_file(file.display().to_string(), message)),
            }
            Vec::new()
        }
    }
}

impl Config {
    /// Every use of a plugin's entry, to be compared with the entries the plugins register.
    pub fn entry_uses(&self) -> impl Iterator<Item = EntryUse<'_>> {
        self.calls.iter().map(|call| EntryUse {
            plugin: &self.plugins[call.plugin],
            entry: &call.entry,
            location: &call.location,
        })
    }

    /// Makes every path that uses `plugin` (and `entry` of it, if given) answer 500
    /// `CONFIG_ERROR`, as lenient mode does for what shows only once plugins have started.
    pub fn break_uses(&mut self, plugin: &str, entry: Option<&str>, reason: &str) {
        let Self { plugins, routes, .. } = self;
        let uses = |call: &PluginCall| {
            plugins[call.plugin].name == plugin && entry.is_none_or(|entry| call.entry == entry)
        };
        let any_uses = |items: &[Middleware]| {
            items.iter().any(|item| matches!(item, Middleware::Plugin(call) if uses(call)))
        };
        for route in routes {
            let whole_route = any_uses(&route.middleware);
            for path in &mut route.paths {
                let serves = matches!(&path.service, Ok(service)
                    if matches!(&service.kind, ServiceKind::Plugin(call) if uses(call)));
                if whole_route || serves || any_uses(&path.middleware) {
                    path.service = Err(reason.to_owned());
                }
            }
        }
    }
}

impl EntryUse<'_> {
    /// The message for an entry that the plugin did not register.
    pub fn unknown(&self, severity: Severity, registered: &[&str]) -> Diagnostic {
        let Self { plugin, entry, location } = self;
        let list = match registered {
            [] => format!("plugin `{}` registers no entries", plugin.name),
            names => format!("entries of `{}`: {}", plugin.name, names.join(", ")),
        };
        let message = format!("plugin `{}` has no entry `{entry}`", plugin.name);
        let help = suggest::sentence(entry, registered, list);
        location.diagnostic(severity, message).with_help(help)
    }
}
