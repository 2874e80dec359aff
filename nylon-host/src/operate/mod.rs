//! The verbs of an operator: each is a question to a running gateway, and its answer as text or JSON.
//!
//! In: a command line.  Out: what the gateway says, printed.
//! Never: a decision of its own.

mod client;
mod find;
mod print;

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nylon_host::admin::view::{
    Change, CrashList, Dump, Health, PluginList, PluginView, Refusal, Reloaded,
};
use nylon_host::cli::{
    Ask, Crash, CrashShowArgs, EXIT_CONFIG, EXIT_GONE, EXIT_RUNTIME, EventsArgs, Named, Operate,
    PluginVerb, UpgradeArgs,
};
use nylon_host::inspect::{CrashReport, Event};
use nylon_host::log::LogRecord;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use client::{Client, Trouble};

/// What is not written as it is in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// How often somebody who waits at a terminal is told what for.
const PROGRESS: Duration = Duration::from_secs(2);

/// Does what the line asks for.
pub(crate) fn run(verb: &Operate) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return crate::fail(&e),
    };
    let done = runtime.block_on(ask(verb));
    // A print that nobody reads any more holds nothing up.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(Trouble::Print(e)) if e.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(trouble) => failed(&trouble, verb.is_json()),
    }
}

fn failed(trouble: &Trouble, json: bool) -> ExitCode {
    match trouble {
        Trouble::Refused(refusal) if json => println!("{:#}", json!(refusal)),
        Trouble::Refused(Refusal { problems, .. }) if !problems.is_empty() => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
        }
        trouble => return fail_with(trouble),
    }
    ExitCode::from(EXIT_RUNTIME)
}

fn fail_with(trouble: &Trouble) -> ExitCode {
    crate::fail(trouble);
    match trouble {
        Trouble::Gone { .. } | Trouble::Nobody(_) => ExitCode::from(EXIT_GONE),
        Trouble::Several(_) => ExitCode::from(EXIT_CONFIG),
        _ => ExitCode::from(EXIT_RUNTIME),
    }
}

async fn ask(verb: &Operate) -> Result<ExitCode, Trouble> {
    let done = ExitCode::SUCCESS;
    match verb {
        Operate::Ps(ask) => {
            show(ask, "/v1/plugins", |list: &PluginList| print::plugins(list)).await?
        }
        Operate::Health(ask) => return health(ask).await,
        Operate::Reload(ask) => reload(ask).await?,
        Operate::One(verb) | Operate::Plugin(verb) => change(verb).await?,
        Operate::Dump(named) => {
            let path = plugin_path(&named.plugin, "/dump");
            let text = |dump: &Dump| match dump.workers.as_slice() {
                [] => format!("{}: no worker is in service\n", named.plugin),
                workers => workers.iter().map(ToString::to_string).collect(),
            };
            show(&named.ask, &path, text).await?;
        }
        Operate::Crash(Crash::List(args)) => {
            let path = with_query("/v1/crashes", &[("plugin", args.plugin.as_deref())]);
            show(&args.ask, &path, |list: &CrashList| print::crashes(list)).await?;
        }
        Operate::Crash(Crash::Show(args)) => crash(args).await?,
        Operate::Events(args) => follow::<Event>("/v1/events", args, &[]).await?,
        Operate::Logs(args) => {
            let more =
                [("level", args.level.as_deref()), ("requests", args.requests.then_some("true"))];
            follow::<LogRecord>("/v1/logs", &args.lines, &more).await?;
        }
        Operate::Openapi => out(&format!("{:#}\n", nylon_host::admin::document()))?,
    }
    Ok(done)
}

fn plugin_path(plugin: &str, rest: &str) -> String {
    format!("/v1/plugins/{}{rest}", utf8_percent_encode(plugin, SEGMENT))
}

fn with_query(path: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Prints what `path` answers.
async fn show<T: DeserializeOwned>(
    ask: &Ask,
    path: &str,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Trouble> {
    let (answer, value) = find::gateway(&ask.to).await?.get(path).await?;
    print(ask.json, &value, || text(&answer))
}

fn print(as_json: bool, value: &Value, text: impl FnOnce() -> String) -> Result<(), Trouble> {
    out(&if as_json { format!("{value:#}\n") } else { text() })
}

fn out(text: &str) -> Result<(), Trouble> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

async fn change(verb: &PluginVerb) -> Result<(), Trouble> {
    let (word, Named { plugin, ask }) = match verb {
        PluginVerb::Restart(named) => ("restart", named),
        PluginVerb::Drain(named) => ("drain", named),
        PluginVerb::Upgrade(args) => ("upgrade", &args.named),
        PluginVerb::Rollback(named) => ("rollback", named),
        PluginVerb::Pause(named) => ("pause", named),
        PluginVerb::Resume(named) => ("resume", named),
    };
    let body = match verb {
        PluginVerb::Upgrade(UpgradeArgs { program, .. }) => {
            // The gateway has another working directory.
            let program = program.as_ref().map(std::path::absolute).transpose()?;
            json!({"program": program})
        }
        _ => json!({}),
    };
    let client = find::gateway(&ask.to).await?;
    let path = plugin_path(plugin, &format!("/{word}"));
    let asked = client.post(&path, &body);
    tokio::pin!(asked);
    let answer = loop {
        tokio::select! {
            answer = &mut asked => break answer,
            () = tokio::time::sleep(PROGRESS) => progress(&client, plugin, word).await,
        }
    };
    let (change, value): (Change, Value) = answer?;
    print(ask.json, &value, || print::change(&change))
}

/// Tells somebody at a terminal what is waited for.
async fn progress(client: &Client, plugin: &str, verb: &str) {
    if !io::stderr().is_terminal() {
        return;
    }
    let path = plugin_path(plugin, "");
    let asked = client.get::<PluginView>(&path);
    if let Ok(Ok((PluginView { sessions, workers, .. }, _))) =
        tokio::time::timeout(PROGRESS, asked).await
    {
        let workers: Vec<_> = workers.iter().map(|w| format!("{} {}", w.pid, w.state)).collect();
        eprintln!("{verb} {plugin}: {sessions} requests, workers: {}", workers.join(", "));
    }
}

async fn reload(ask: &Ask) -> Result<(), Trouble> {
    let (reloaded, value): (Reloaded, Value) =
        find::gateway(&ask.to).await?.post("/v1/reload", &json!({})).await?;
    if !ask.json {
        reloaded.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    }
    print(ask.json, &value, || "reloaded\n".to_owned())
}

/// Not ready is no trouble of the asking, and leaves with 1.
async fn health(ask: &Ask) -> Result<ExitCode, Trouble> {
    let (health, value): (Health, Value) = find::gateway(&ask.to).await?.get("/v1/health").await?;
    print(ask.json, &value, || print::health(&health))?;
    Ok(if health.ready { ExitCode::SUCCESS } else { ExitCode::from(EXIT_RUNTIME) })
}

async fn crash(args: &CrashShowArgs) -> Result<(), Trouble> {
    let CrashShowArgs { crash, ask } = args;
    if let Some(file) = crash.as_ref().map(PathBuf::from).filter(|file| file.is_file()) {
        return crash_file(&file, ask.json);
    }
    let client = find::gateway(&ask.to).await?;
    let (list, _): (CrashList, Value) = client.get("/v1/crashes").await?;
    let mut latest = list.crashes.iter().rev();
    let id = match crash {
        // The name of a plugin stands for its last crash.
        Some(name) => latest.find(|c| c.id == *name || c.plugin == *name).map_or(name, |c| &c.id),
        None => match latest.next() {
            Some(last) => &last.id,
            None => return out("no plugin crashed since the gateway was started\n"),
        },
    };
    let path = format!("/v1/crashes/{}", utf8_percent_encode(id, SEGMENT));
    let (report, value): (CrashReport, Value) = client.get(&path).await?;
    print(ask.json, &value, || report.to_string())
}

/// Prints a stream: what is kept, and what comes if that is wanted.
async fn follow<T: DeserializeOwned + Display>(
    path: &str,
    args: &EventsArgs,
    more: &[(&str, Option<&str>)],
) -> Result<(), Trouble> {
    let EventsArgs { plugin, follow, lines, ask } = args;
    let client = find::gateway(&ask.to).await?;
    let tail = lines.to_string();
    let mut pairs = vec![("plugin", plugin.as_deref()), ("tail", Some(&*tail))];
    pairs.push(("follow", follow.then_some("true")));
    pairs.extend_from_slice(more);
    let each = |line: &[u8]| {
        let odd = |e: serde_json::Error| Trouble::Odd(e.to_string());
        let item: T = serde_json::from_slice(line).map_err(odd)?;
        out(&if ask.json {
            format!("{}\n", String::from_utf8_lossy(line))
        } else {
            format!("{item}\n")
        })
    };
    client.lines(&with_query(path, &pairs), each).await
}

/// A report that was written to a file (`crash_reports`): also when the gateway is gone.
fn crash_file(file: &Path, as_json: bool) -> Result<(), Trouble> {
    let odd = |e: serde_json::Error| Trouble::Odd(format!("{}: {e}", file.display()));
    let value: Value = serde_json::from_slice(&std::fs::read(file)?).map_err(odd)?;
    let report: CrashReport = serde_json::from_value(value.clone()).map_err(odd)?;
    print(as_json, &value, || report.to_string())
}
