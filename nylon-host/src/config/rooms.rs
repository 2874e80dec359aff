//! Where rooms of WebSockets are kept: in this process alone, or with those of other gateways in a Redis.

use std::fmt;

use super::diagnostic::Report;
use super::fields::Fields;

/// Where rooms are kept (`websocket.adapter_type`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Rooms {
    /// In this process.
    #[default]
    Memory,
    /// In this process, and all gateways at this Redis send each other what is said in them.
    Redis(RedisConfig),
}

/// A Redis server (`websocket.redis`).
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What it asks for, if it does.
    pub password: Option<String>,
    /// The number of the database.
    pub db: u8,
    /// What all keys begin with.
    pub key_prefix: String,
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, password: _, db, key_prefix } = self;
        write!(f, "RedisConfig({host}:{port}/{db} {key_prefix})")
    }
}

impl fmt::Display for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

const DEFAULT_PREFIX: &str = "nylon:ws";

#[derive(Clone, Copy, PartialEq)]
enum Adapter {
    Memory,
    Redis,
    Cluster,
}

impl Rooms {
    /// Reads the keys of the websocket section that are about rooms.
    pub(super) fn read(section: &mut Fields<'_>, report: &mut Report) -> Self {
        let adapters =
            [("memory", Adapter::Memory), ("redis", Adapter::Redis), ("cluster", Adapter::Cluster)];
        let adapter = section.choice("adapter_type", &adapters, report);
        if let Some(adapter) = adapter.as_ref().filter(|adapter| adapter.value != Adapter::Memory)
            && section.get("redis").is_none()
        {
            report.error(&adapter.at, "this adapter needs a `redis` section").help =
                Some("add `redis: {host: .., port: ..}` below `websocket`".to_owned());
        }
        let adapter = adapter.map_or(Adapter::Memory, |adapter| adapter.value);
        let unused: &[_] = match adapter {
            Adapter::Memory => &[("redis", "memory"), ("cluster", "memory")],
            Adapter::Redis => &[("cluster", "redis")],
            Adapter::Cluster => &[],
        };
        for (key, adapter) in unused {
            if let Some(at) = section.place(key) {
                report.no_effect(at, &format!("`{key}`"), &format!("`adapter_type` is {adapter}"));
            }
        }
        let redis = redis(section, report);
        let prefix = cluster(section, adapter == Adapter::Cluster, report);
        match (adapter, redis) {
            (Adapter::Memory, _) | (_, None) => Self::Memory,
            (Adapter::Redis, Some((redis, own))) => Self::Redis(with_prefix(redis, own)),
            (Adapter::Cluster, Some((redis, own))) => {
                Self::Redis(with_prefix(redis, prefix.or(own)))
            }
        }
    }
}

fn with_prefix(redis: RedisConfig, prefix: Option<String>) -> RedisConfig {
    RedisConfig { key_prefix: prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned()), ..redis }
}

/// The server and its own prefix, if all it needs is there.
fn redis(section: &mut Fields<'_>, report: &mut Report) -> Option<(RedisConfig, Option<String>)> {
    let mut redis = section.map("redis", "redis section", report)?;
    let host = redis.required_text("host", report);
    if let Some(host) = host.as_ref().filter(|host| host.value.contains("://")) {
        report.error(&host.at, "`host` is a name or an address, not a URL").help = Some(
            "TLS to Redis is not spoken: put a tunnel before it, and name its end here".to_owned(),
        );
    }
    redis.required("port", report);
    let port = redis.integer("port", 1..=u64::from(u16::MAX), report);
    let password = redis.text("password", report).map(|password| password.value);
    let db = redis.integer("db", 0..=u64::from(u8::MAX), report).unwrap_or(0);
    let prefix = key_prefix(&mut redis, report);
    redis.finish(report);
    let config = RedisConfig {
        host: host?.value,
        port: u16::try_from(port?).ok()?,
        password: password.filter(|password| !password.is_empty()),
        db: u8::try_from(db).ok()?,
        key_prefix: String::new(),
    };
    Some((config, prefix))
}

fn cluster(section: &mut Fields<'_>, used: bool, report: &mut Report) -> Option<String> {
    let mut cluster = section.map("cluster", "cluster section", report)?;
    cluster.texts("nodes", report);
    if let Some(at) = cluster.place("nodes").filter(|_| used) {
        report.no_effect(at, "`nodes`", "nodes find each other at their Redis");
    }
    let prefix = key_prefix(&mut cluster, report);
    cluster.finish(report);
    prefix
}

fn key_prefix(fields: &mut Fields<'_>, report: &mut Report) -> Option<String> {
    let prefix = fields.text("key_prefix", report)?;
    if prefix.value.is_empty() {
        report.error(&prefix.at, "`key_prefix` is empty").help =
            Some(format!("leave it out, which means `{DEFAULT_PREFIX}`, or write another"));
        return None;
    }
    Some(prefix.value)
}
