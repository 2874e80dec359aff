//! A gateway's configuration, written by a test in a line per route.
//!
//! It is written as JSON, which is YAML: quoting is never a question.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Temp, program};

/// Plugins, services and routes of one gateway; the folder it runs in.
#[derive(Debug)]
pub struct Site {
    dir: Temp,
    plugins: Vec<Value>,
    services: Vec<Value>,
    paths: Vec<Value>,
    middleware: Vec<Value>,
    ready: Vec<String>,
    runtime: Value,
}

/// A middleware item.
pub fn step(plugin: &str, entry: &str) -> Value {
    json!({"plugin": plugin, "entry": entry})
}

/// A middleware item with a payload.
pub fn step_with(plugin: &str, entry: &str, payload: Value) -> Value {
    json!({"plugin": plugin, "entry": entry, "payload": payload})
}

impl Site {
    /// Without anything.
    #[expect(clippy::new_without_default, reason = "a builder is started, not defaulted")]
    pub fn new() -> Site {
        Site {
            dir: Temp::new(),
            plugins: Vec::new(),
            services: Vec::new(),
            paths: Vec::new(),
            middleware: Vec::new(),
            ready: Vec::new(),
            runtime: json!({}),
        }
    }

    /// An http service.
    pub fn upstream(mut self, name: &str, addr: SocketAddr) -> Site {
        self.services.push(json!({
            "name": name, "service_type": "http", "algorithm": "round_robin",
            "endpoints": [{"ip": addr.ip().to_string(), "port": addr.port()}],
        }));
        self
    }

    /// A plugin under its program's own name.
    pub fn plugin(self, program: &str) -> Site {
        self.plugin_with(program, program, json!({}))
    }

    /// A plugin with more keys: `timeout`, `on_failure`, `workers`, `env`, … Its `config` always names the trace file.
    pub fn plugin_with(mut self, name: &str, program: &str, more: Value) -> Site {
        let mut plugin = json!({
            "name": name, "type": "process", "file": program::plugin(program),
            "config": {"name": name, "trace": self.trace_file()},
        });
        merge(&mut plugin, more);
        self.plugins.push(plugin);
        let ready = format!("/ready/{name}");
        let service = format!("ready-{name}");
        self.ready.push(ready.clone());
        self.service(&service, name, "pid", Value::Null).path(&ready, &service, &[])
    }

    /// Changes keys of a plugin that is there.
    pub fn change(mut self, plugin: &str, more: Value) -> Site {
        let found = self.plugins.iter_mut().find(|p| p["name"] == plugin);
        merge(found.unwrap_or_else(|| panic!("no plugin {plugin}")), more);
        self
    }

    /// Takes a plugin out, with its services and their paths.
    pub fn without(mut self, plugin: &str) -> Site {
        self.plugins.retain(|p| p["name"] != plugin);
        let gone = |s: &Value| s["plugin"]["name"] == plugin;
        let names: Vec<Value> =
            self.services.iter().filter(|s| gone(s)).map(|s| s["name"].clone()).collect();
        self.services.retain(|s| !gone(s));
        self.paths.retain(|p| !names.contains(&p["service"]["name"]));
        self
    }

    /// A program by its path that is no plugin of the tests, or no good one; nobody waits for it.
    pub fn program(mut self, name: &str, file: &Path, more: Value) -> Site {
        let mut plugin = json!({"name": name, "type": "process", "file": file});
        merge(&mut plugin, more);
        self.plugins.push(plugin);
        self
    }

    /// A plugin service.
    pub fn service(mut self, name: &str, plugin: &str, entry: &str, payload: Value) -> Site {
        let mut item = json!({"name": plugin, "entry": entry});
        if !payload.is_null() {
            item["payload"] = payload;
        }
        self.services.push(json!({"name": name, "service_type": "plugin", "plugin": item}));
        self
    }

    /// A path of the one route.
    pub fn path(self, path: &str, service: &str, middleware: &[Value]) -> Site {
        self.path_with(path, service, middleware, json!({}))
    }

    /// A path with more keys: `methods`, `websocket`, …
    pub fn path_with(
        mut self,
        path: &str,
        service: &str,
        middleware: &[Value],
        more: Value,
    ) -> Site {
        let mut item =
            json!({"path": path, "service": {"name": service}, "middleware": middleware});
        merge(&mut item, more);
        self.paths.push(item);
        self
    }

    /// Middleware of the route itself, before that of its paths.
    pub fn around(mut self, middleware: &[Value]) -> Site {
        self.middleware.extend_from_slice(middleware);
        self
    }

    /// More keys of the runtime file.
    pub fn runtime(mut self, more: Value) -> Site {
        merge(&mut self.runtime, more);
        self
    }

    /// Where plugins write what they saw.
    pub fn trace_file(&self) -> PathBuf {
        self.dir.path().join("trace")
    }

    /// The lines plugins wrote so far.
    pub fn trace(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.trace_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The runtime file, once it is written.
    pub fn runtime_file(&self) -> PathBuf {
        self.dir.path().join("nylon.yaml")
    }

    /// The file with plugins and routes, once it is written.
    pub fn proxy_file(&self) -> PathBuf {
        self.dir.path().join("conf.d/proxy.yaml")
    }

    /// Where the gateway answers operators.
    pub fn admin_socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Paths that answer 200 once every plugin serves.
    pub(crate) fn ready(&self) -> &[String] {
        &self.ready
    }

    /// Writes both files for a gateway on `addr`; the runtime file.
    pub fn write(&self, addr: SocketAddr) -> PathBuf {
        let proxy = json!({
            "plugins": self.plugins, "services": self.services,
            "routes": [{
                "route": {"type": "host", "value": "127.0.0.1|localhost"}, "name": "main",
                "middleware": self.middleware, "paths": self.paths,
            }],
        });
        self.dir.write("conf.d/proxy.yaml", &format!("{proxy:#}\n"));
        let mut runtime = json!({
            "http": [addr.to_string()], "config_dir": self.dir.path().join("conf.d"),
            "admin": {"socket": self.admin_socket()},
            "pingora": {"grace_period_seconds": 10, "graceful_shutdown_timeout_seconds": 10},
        });
        merge(&mut runtime, self.runtime.clone());
        self.dir.write("nylon.yaml", &format!("{runtime:#}\n"))
    }
}

/// Adds the keys of `more` to the object `into`, objects in it as well.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}
