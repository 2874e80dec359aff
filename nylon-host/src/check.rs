//! `nylon check`: reads the configuration, starts each plugin, lists its entries and stops it.

use std::process::ExitCode;

use nylon_host::cli::{CheckArgs, EXIT_CONFIG, EXIT_RUNTIME};
use nylon_host::config::{self, Config, Diagnostic, PluginKind, Severity};
use nylon_host::gateway;
use nylon_host::{Host, PluginSpec};
use serde_json::json;

use crate::{CHECK_GRACE, mode, runtime};

/// A plugin that started, and what it says of itself.
struct Checked {
    name: String,
    sdk: String,
    entries: Vec<String>,
}

/// What was found.
#[derive(Default)]
struct Findings {
    diagnostics: Vec<Diagnostic>,
    /// Plugins that did not start; in lenient mode they are warnings among the others.
    failed: Vec<Diagnostic>,
    plugins: Vec<Checked>,
}

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let mut found = Findings::default();
    match config::load(&args.config, mode(args.lenient)) {
        Err(refused) => found.diagnostics = refused.diagnostics,
        Ok(loaded) => {
            found.diagnostics = loaded.warnings;
            if !args.static_only {
                match runtime(1) {
                    Ok(runtime) => {
                        runtime.block_on(start(&loaded.config, args.lenient, &mut found))
                    }
                    Err(e) => {
                        let file = args.config.display().to_string();
                        found.failed.push(Diagnostic::about_file(file, e.to_string()));
                    }
                }
            }
        }
    }
    if args.json {
        found.print_json()
    } else {
        found.print(args)
    }
    found.exit()
}

/// Starts each plugin by itself, so that one that fails does not hide another.
async fn start(config: &Config, lenient: bool, found: &mut Findings) {
    for plugin in &config.plugins {
        // The gateway starts without a plugin that is not required.
        let lenient = lenient || (!plugin.required && plugin.kind == PluginKind::Process);
        let severity = if lenient { Severity::Warning } else { Severity::Error };
        if let Some(problem) = plugin.start_problem() {
            found.diagnostics.push(problem.with_severity(severity));
            continue;
        }
        let spec: PluginSpec = gateway::plugin_spec(plugin);
        match Host::start(vec![spec]).await {
            Err(errors) => {
                let problems = errors.as_slice().iter().map(|e| plugin.not_started(e));
                let to = if lenient { &mut found.diagnostics } else { &mut found.failed };
                to.extend(problems.map(|problem| problem.with_severity(severity)));
            }
            Ok(host) => {
                let unknown =
                    gateway::unknown_entries(config, |name| host.status(name), &[], severity);
                found.diagnostics.extend(unknown.into_iter().map(|(_, _, problem)| problem));
                if let Some(status) = host.status(&plugin.name) {
                    let (sdk, entries) = (status.sdk, status.entries);
                    found.plugins.push(Checked { name: plugin.name.clone(), sdk, entries });
                }
                host.stop(CHECK_GRACE).await;
            }
        }
    }
}

impl Findings {
    fn refused(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    fn exit(&self) -> ExitCode {
        if self.refused() {
            ExitCode::from(EXIT_CONFIG)
        } else if self.failed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(EXIT_RUNTIME)
        }
    }

    fn print(&self, args: &CheckArgs) {
        self.diagnostics.iter().chain(&self.failed).for_each(|d| eprintln!("{d}"));
        for Checked { name, sdk, entries } in &self.plugins {
            println!("plugin {name} ({sdk}): {}", entries.join(", "));
        }
        if !self.refused() && self.failed.is_empty() {
            println!("{}: ok", args.config.display());
        }
    }

    fn print_json(&self) {
        let plugins: Vec<_> = self
            .plugins
            .iter()
            .map(|p| json!({"name": p.name, "sdk": p.sdk, "entries": p.entries}))
            .collect();
        let ok = !self.refused() && self.failed.is_empty();
        let list = |all: &[Diagnostic]| serde_json::to_value(all).unwrap_or_default();
        let (diagnostics, failed) = (list(&self.diagnostics), list(&self.failed));
        let all =
            json!({"ok": ok, "diagnostics": diagnostics, "failed": failed, "plugins": plugins});
        println!("{all:#}");
    }
}
