//! A configuration that uses every key of the contract is taken, and means what it says.
//! What has no effect yet is listed in `tests/config/contract_keys.stderr`.

use nylon_host::config::{self, Mode, OnFailure, PluginKind, ServiceKind, Severity};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

#[test]
fn every_key_is_taken() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/contract_keys/nylon.yaml");
    let loaded = config::load(Path::new(file), Mode::Strict).unwrap_or_else(|e| panic!("{e}"));
    assert!(loaded.warnings.iter().all(|warning| warning.severity == Severity::Warning));
    let config = loaded.config;

    let listening: Vec<String> = config.runtime.http.iter().map(ToString::to_string).collect();
    assert_eq!(listening, ["127.0.0.1:8080", "[::1]:8080"]);
    assert_eq!(config.runtime.threads, 3);
    assert_eq!(config.runtime.grace_period, Duration::from_secs(30));
    assert_eq!(config.runtime.upstream_keepalive_pool_size, 64);
    assert_eq!(config.header_selector, "x-tenant");

    let kinds: Vec<_> = config.plugins.iter().map(|plugin| plugin.kind).collect();
    assert_eq!(kinds, [PluginKind::Ffi, PluginKind::Wasm, PluginKind::Process]);
    let legacy = config.plugins[0].config.as_ref().unwrap();
    assert_eq!(legacy, &json!({"debug": true, "list": [1, "two", {"three": 3.5}]}));
    let authz = &config.plugins[2];
    assert_eq!(authz.args, ["--verbose", "8"]);
    assert_eq!(authz.env, [("MODE", "strict"), ("LEVEL", "3")].map(|(k, v)| (k.into(), v.into())));
    assert_eq!(authz.workers, 2);
    assert_eq!(authz.config.as_ref().unwrap().to_string(), r#"{"z":"last","a":"first"}"#);
    assert_eq!(authz.policies.request_filter.timeout, Duration::from_millis(250));
    assert_eq!(authz.policies.response_filter.timeout, Duration::from_secs(2));
    assert_eq!(authz.policies.response_filter.on_failure, OnFailure::Open);
    assert_eq!(authz.policies.request_body_filter.timeout, Duration::from_secs(10));

    let main = &config.routes[0];
    assert_eq!(main.middleware.len(), 3);
    assert_eq!(main.paths[0].rewrite.as_deref(), Some("/v2"));
    assert_eq!(main.paths[0].middleware.len(), 1);
    let api = main.paths[0].service.as_ref().unwrap();
    let ServiceKind::Http { endpoints } = &api.kind else { panic!("{api:?}") };
    assert_eq!(endpoints.len(), 2);
    let files = config.routes[1].paths[0].service.as_ref().unwrap();
    let ServiceKind::Static(files) = &files.kind else { panic!("{files:?}") };
    assert_eq!((files.index.as_str(), files.spa), ("home.html", true));
}
