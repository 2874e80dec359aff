//! A plugin: the program that is started once and serves its entries.

use super::Declared;
use super::diagnostic::{Diagnostic, Report, Severity};
use super::fields::{Fields, Located, text};
use super::files::locate;
use super::limits;
use super::policy::PhasePolicies;
use super::program::Program;
use super::sandbox;
use super::source::Location;
use super::supervision;
use super::yaml::{Node, Value};
use crate::error::StartError;
use crate::lane::WaitPolicy;
use crate::supervisor::{LANES_MAX, Limits, Sandbox, Sha256, Supervision};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time a worker has to start, unless told.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Names that middleware items use for what the gateway does itself.
pub(super) const BUILT_INS: [&str; 2] = ["RequestHeaderModifier", "ResponseHeaderModifier"];

/// A configured plugin.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Its unique name.
    pub name: String,
    /// How it is run.
    pub kind: PluginKind,
    /// The program, as an absolute path. A relative `file` is looked for beside the configuration
    /// file that names it, then in the working directory.
    pub file: PathBuf,
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Variables set in the program's environment.
    pub env: Vec<(String, String)>,
    /// How many processes run it, at least 1.
    pub workers: u32,
    /// Most of them, where the load decides.
    pub workers_max: u32,
    /// Time from exec to the end of the handshake.
    pub start_timeout: Duration,
    /// How its processes are kept.
    pub supervision: Supervision,
    /// Whether the gateway needs it.
    pub required: bool,
    /// Whether a request whose worker died is sent once more.
    pub retry: bool,
    /// How they and the gateway wait for each other.
    pub wake: WaitPolicy,
    /// Lanes of each process, 1 ..= 8; 0 leaves it to the host.
    pub lanes: u32,
    /// What they may take.
    pub limits: Limits,
    /// What `initialize` receives; nothing when the key is absent.
    pub config: Option<serde_json::Value>,
    /// What its processes may do outside themselves.
    pub sandbox: Sandbox,
    /// What the program must be, to be run.
    pub sha256: Option<Sha256>,
    /// Deadlines and failure policies, before a middleware item changes them.
    pub policies: PhasePolicies,
    name_at: Location,
    kind_at: Location,
    file_at: Location,
}

/// How a plugin is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginKind {
    /// A program that calls the SDK's serve function.
    Process,
    /// A shared library with the original's six exports; refused for now.
    Ffi,
    /// A WebAssembly module; refused for now.
    Wasm,
}

impl Plugin {
    pub(super) fn read(node: &Node, base: &Path, report: &mut Report) -> Option<Declared<Self>> {
        let mark = report.mark();
        let mut fields = Fields::of(node, "plugin", report)?;
        let name = fields.required_text("name", report);
        let kinds = [
            ("process", PluginKind::Process),
            ("ffi", PluginKind::Ffi),
            ("wasm", PluginKind::Wasm),
        ];
        let kind = fields.required_choice("type", &kinds, report);
        let file = fields.required_text("file", report);
        let config = config(&mut fields, report);
        let args = fields.texts("args", report);
        let env = env(&mut fields, report);
        let (workers, workers_max) = supervision::workers(&mut fields, report);
        let lanes = fields.integer("lanes", 1..=u64::from(LANES_MAX), report).unwrap_or(0);
        let wakes = [
            ("latency", WaitPolicy::Latency),
            ("balanced", WaitPolicy::Balanced),
            ("cpu", WaitPolicy::Cpu),
        ];
        let wake = fields.choice("wake", &wakes, report);
        let sandbox = sandbox::read(&mut fields, base, report);
        let sha256 = sandbox::sha256(&mut fields, report);
        let limits = limits::read(&mut fields, report);
        if kind.as_ref().is_some_and(|kind| kind.value != PluginKind::Process) {
            for key in ["args", "env", "workers", "lanes", "wake", "sandbox", "sha256", "limits"] {
                if let Some(at) = fields.place(key) {
                    report.warning(at, format!("`{key}` only has an effect with `type: process`"));
                }
            }
        }
        let required = fields.boolean("required", report).unwrap_or(true);
        let retry = fields.boolean("retry", report).unwrap_or(false);
        let start_timeout = fields.duration("start_timeout", report).unwrap_or(START_TIMEOUT);
        let supervision = supervision::read(&mut fields, report);
        let policies = PhasePolicies::read(&mut fields, report);
        fields.finish(report);

        let name = name?;
        if BUILT_INS.contains(&name.value.as_str()) {
            report.error(&name.at, format!("`{}` is the name of a built-in", name.value)).help =
                Some("choose another name for this plugin".to_owned());
        }
        let item = match (kind, file) {
            (Some(kind), Some(file)) => Some(Self {
                name: name.value.clone(),
                kind: kind.value,
                file: locate(&file.value, base),
                args: args.into_iter().map(|arg| arg.value).collect(),
                env,
                workers,
                workers_max,
                start_timeout,
                supervision,
                required,
                retry,
                lanes: u32::try_from(lanes).unwrap_or(0),
                wake: wake.map_or(WaitPolicy::default(), |wake| wake.value),
                limits,
                config,
                sandbox,
                sha256,
                policies,
                name_at: name.at.clone(),
                kind_at: kind.at,
                file_at: file.at,
            }),
            _ => None,
        };
        Some(Declared { name, item, fault: report.fault_since(mark) })
    }

    /// Why this plugin cannot be started, as far as that shows without starting it.
    pub fn start_problem(&self) -> Option<Diagnostic> {
        let Self { name, .. } = self;
        let error = |at: &Location, message: String, help: &str| {
            Some(at.diagnostic(Severity::Error, message).with_help(help))
        };
        match self.kind {
            PluginKind::Process => {}
            PluginKind::Ffi => {
                let message = format!("plugin `{name}`: .so plugins come with a later release");
                let help = "build it as a program whose main calls sdk.Serve(), and say \
                            `type: process`";
                return error(&self.kind_at, message, help);
            }
            PluginKind::Wasm => {
                let message = format!("plugin `{name}`: wasm plugins come with a later release");
                return error(&self.kind_at, message, "use `type: process`");
            }
        }
        let file = self.file.display();
        match std::fs::metadata(&self.file) {
            Err(_) => {
                let message = format!("the program of plugin `{name}` is not there: {file}");
                let help = "build it first, or correct `file`: it is looked for beside this file, \
                            then in the working directory";
                error(&self.file_at, message, help)
            }
            Ok(found) if !found.is_file() => {
                let message = format!("the program of plugin `{name}` is not a file: {file}");
                error(&self.file_at, message, "name the program itself")
            }
            Ok(found) => self.program_problem(found.permissions().mode() & 0o111 != 0),
        }
    }

    /// Why the kernel would not run this file.
    fn program_problem(&self, executable: bool) -> Option<Diagnostic> {
        let (name, file) = (&self.name, self.file.display());
        let (message, help) = match Program::of(&self.file) {
            Program::Library => (
                format!("the program of plugin `{name}` is a shared library: {file}"),
                "build a program whose main calls sdk.Serve(), with `go build` and without \
                 `-buildmode=c-shared`",
            ),
            _ if !executable => (
                format!("the program of plugin `{name}` may not be run: {file}"),
                "make it executable with `chmod +x`",
            ),
            Program::Needs(other) if !Path::new(&other).exists() => (
                format!(
                    "the program of plugin `{name}` is run by `{}`, which is not there: {file}",
                    other.escape_debug()
                ),
                "install that, or correct the first line of a script; a Go program built with \
                 CGO_ENABLED=0 needs nothing",
            ),
            _ => return None,
        };
        Some(self.file_at.diagnostic(Severity::Error, message).with_help(help))
    }

    /// What happened when it was started, as a message about its place.
    pub fn not_started(&self, error: &StartError) -> Diagnostic {
        self.name_at.diagnostic(Severity::Error, error.to_string())
    }
}

/// What `Initialize` gets: the SDK hands on a map.
fn config(fields: &mut Fields<'_>, report: &mut Report) -> Option<serde_json::Value> {
    let node = fields.get("config")?;
    if !matches!(node.value, Value::Map(_)) {
        report.error(&node.at, format!("`config` must be a map, not {}", node.kind())).help =
            Some("`Initialize` takes a map: give it a key, as in `config: {items: ..}`".to_owned());
    }
    Some(node.to_json())
}

fn env(fields: &mut Fields<'_>, report: &mut Report) -> Vec<(String, String)> {
    let entries = fields.named("env", report);
    entries
        .iter()
        .filter_map(|(key, node)| {
            let Located { value, .. } = text(node, &key.name, report)?;
            if key.name.is_empty() || key.name.contains(['=', '\0']) {
                let message = format!("{:?} cannot be the name of a variable", key.name);
                report.error(&key.at, message).help =
                    Some("a name is not empty and has no `=` and no NUL".to_owned());
                return None;
            }
            Some((key.name.clone(), value))
        })
        .collect()
}
