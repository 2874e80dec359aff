//! `cargo xtask demo [--json] [--serve [--port N]]`: builds what it needs and hands over to tests/src/bin/nylon-demo.rs.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::{Result, go, process, target, tool};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The same as data
    #[arg(long)]
    json: bool,
    /// Leave upstream and gateway running and print what to try
    #[arg(long)]
    serve: bool,
    /// Port of the gateway with --serve; a free one by default
    #[arg(long, requires = "serve")]
    port: Option<u16>,
}

pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let mut demo = launch(root, "nylon-demo", &["quickstart"])?;
    if args.json {
        demo.arg("--json");
    }
    if args.serve {
        demo.arg("--serve");
    }
    if let Some(port) = args.port {
        demo.args(["--port", &port.to_string()]);
    }
    // In its place, so that a signal to this command reaches it.
    Err(demo.exec().to_string())
}

/// Builds the gateway, a program of the tests crate and the plugins it names; the command that runs it.
pub(crate) fn launch(root: &Path, program: &str, plugins: &[&str]) -> Result<Command> {
    tool::go(root)?;
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "-p", "nylon-host", "-p", "nylon-tests"]);
    build.args(["--bin", "nylon", "--bin", program, "--bin", "nylon-hostile-worker"]);
    build.current_dir(root);
    eprintln!("building the gateway");
    process::show(&mut build)?;
    let out = std::path::absolute(target(root)).map_err(|e| e.to_string())?;
    let all = go::plugins(root);
    for name in plugins {
        let plugin = all.iter().find(|p| p.name == *name);
        let plugin = plugin.ok_or(format!("there is no Go plugin `{name}`"))?;
        eprintln!("building the plugin {name}");
        process::show(&mut go::build(plugin, &out.join("plugins")))?;
    }
    let mut command = Command::new(out.join("debug").join(program));
    command.env("NYLON_BIN", out.join("debug/nylon")).env("NYLON_PLUGINS", out.join("plugins"));
    Ok(command)
}
