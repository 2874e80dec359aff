//! What the admin endpoint serves: the one table that the server, its description and its tests read.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::view::{
    Change, CrashList, Dump, GatewayView, Health, Nothing, PluginList, PluginView, Reloaded,
    Upgrade,
};
use crate::inspect::{CrashReport, Event};
use crate::log::LogRecord;

/// Something that can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Its name, unique; the verb of `nylon` that asks it, if there is one.
    pub name: &'static str,
    /// `GET`: nothing changes. `POST`: something may.
    pub method: &'static str,
    /// Its path; `{plugin}` and `{id}` stand for one segment each, percent-encoded.
    pub path: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Parameters of its query, each with what it means.
    pub query: &'static [(&'static str, &'static str)],
    /// What it takes, where that is something.
    pub takes: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// What it answers.
    pub gives: Kind,
    pub(super) ask: Ask,
}

/// The shape of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One JSON value.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// JSON values, one a line (`application/x-ndjson`).
    Lines(fn(&mut SchemaGenerator) -> Schema),
    /// Text of its own kind.
    Text(&'static str),
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Gateway,
    Health,
    Plugins,
    Plugin,
    Change(Verb),
    Reload,
    Dump,
    Crashes,
    Crash,
    Events,
    Logs,
    OpenApi,
    Observe,
}

/// A change of one plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Restart,
    Drain,
    Upgrade,
    Rollback,
    Pause,
    Resume,
}

fn schema<T: JsonSchema>(of: &mut SchemaGenerator) -> Schema {
    of.subschema_for::<T>()
}

const fn get(name: &'static str, path: &'static str, gives: Kind, ask: Ask) -> Endpoint {
    Endpoint { name, method: "GET", path, summary: "", query: &[], takes: None, gives, ask }
}

const fn change(name: &'static str, path: &'static str, verb: Verb) -> Endpoint {
    let gives = Kind::Json(schema::<Change>);
    let takes: Option<fn(&mut SchemaGenerator) -> Schema> = Some(schema::<Nothing>);
    let ask = Ask::Change(verb);
    Endpoint { name, method: "POST", path, summary: "", query: &[], takes, gives, ask }
}

impl Endpoint {
    const fn says(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    const fn query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }
}

const FOLLOW: (&str, &str) =
    ("follow", "`true`: go on with those to come, until the client leaves");
const PLUGIN: (&str, &str) = ("plugin", "only those of this plugin");

const LEVEL: (&str, &str) =
    ("level", "only lines of this level or graver: error, warn, info, debug, trace");
const REQUESTS: (&str, &str) = (
    "requests",
    "`true`: lines of requests (access, trace) instead, which are kept while somebody follows them",
);
const TAIL: (&str, &str) = ("tail", "so many of those that are kept, the latest; without it all");

/// All of them.
pub const ENDPOINTS: &[Endpoint] = &[
    get("gateway", "/v1/gateway", Kind::Json(schema::<GatewayView>), Ask::Gateway)
        .says("What runs here."),
    get("health", "/v1/health", Kind::Json(schema::<Health>), Ask::Health)
        .says("Whether the gateway can do its work, and what keeps it from that; always 200."),
    get("ps", "/v1/plugins", Kind::Json(schema::<PluginList>), Ask::Plugins)
        .says("How all plugins fare."),
    get("plugin", "/v1/plugins/{plugin}", Kind::Json(schema::<PluginView>), Ask::Plugin)
        .says("How a plugin fares."),
    change("restart", "/v1/plugins/{plugin}/restart", Verb::Restart)
        .says("Starts its workers anew, beside those that serve; answers when the new ones serve."),
    change("drain", "/v1/plugins/{plugin}/drain", Verb::Drain)
        .says("No new requests; its workers stop when theirs are done. Answers when they have."),
    Endpoint {
        takes: Some(schema::<Upgrade>),
        ..change("upgrade", "/v1/plugins/{plugin}/upgrade", Verb::Upgrade)
    }
    .says(
        "Brings another program, or the file as it is now, into service; answers when it serves.",
    ),
    change("rollback", "/v1/plugins/{plugin}/rollback", Verb::Rollback)
        .says("Takes the last upgrade back; answers when the earlier program serves."),
    change("pause", "/v1/plugins/{plugin}/pause", Verb::Pause)
        .says("No new requests go to it; its workers stay."),
    change("resume", "/v1/plugins/{plugin}/resume", Verb::Resume)
        .says("Requests go to it again, after a pause or a drain."),
    get("dump", "/v1/plugins/{plugin}/dump", Kind::Json(schema::<Dump>), Ask::Dump)
        .says("Rings and sessions of its workers in service, as they stand."),
    Endpoint {
        method: "POST",
        takes: Some(schema::<Nothing>),
        ..get("reload", "/v1/reload", Kind::Json(schema::<Reloaded>), Ask::Reload)
    }
    .says("Reads the configuration anew and serves it, or says why not; what served then goes on."),
    get("crash list", "/v1/crashes", Kind::Json(schema::<CrashList>), Ask::Crashes)
        .query(&[PLUGIN])
        .says("Crashes that are remembered, oldest first."),
    get("crash show", "/v1/crashes/{id}", Kind::Json(schema::<CrashReport>), Ask::Crash)
        .says("The report of a crash."),
    get("events", "/v1/events", Kind::Lines(schema::<Event>), Ask::Events)
        .query(&[FOLLOW, PLUGIN, TAIL])
        .says("What happened to plugins, oldest first."),
    get("logs", "/v1/logs", Kind::Lines(schema::<LogRecord>), Ask::Logs)
        .query(&[FOLLOW, PLUGIN, TAIL, LEVEL, REQUESTS])
        .says("The last lines of the log, oldest first."),
    get("openapi", "/openapi.json", Kind::Text("application/json"), Ask::OpenApi)
        .says("This description."),
    get("metrics", "/metrics", Kind::Text("text/plain; version=0.0.4"), Ask::Observe)
        .says("Metrics for Prometheus, or as OpenMetrics where `Accept` prefers it."),
    get("livez", "/livez", Kind::Text("text/plain"), Ask::Observe)
        .says("200 as long as the gateway answers."),
    get("readyz", "/readyz", Kind::Text("text/plain"), Ask::Observe)
        .query(&[("verbose", "answers the JSON of /v1/health instead")])
        .says("200 if the gateway can do its work, else 503."),
];
