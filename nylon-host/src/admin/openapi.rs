//! The description of the admin endpoint (OpenAPI 3.1), made from its table and its types.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::endpoint::{ENDPOINTS, Endpoint, Kind};
use super::top::Top;
use super::view::Refusal;

/// The description, as it is served and kept in docs/openapi.json.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let operation = operation(endpoint, &mut schemas);
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.to_ascii_lowercase()] = operation;
    }
    // Of a verb that asks nobody.
    schemas.subschema_for::<Top>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Nylon admin",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What an operator asks of a running gateway: on its Unix socket, or on loopback with a \
                            bearer token. A request with an `Origin` is refused, and so is whatever a worker asks.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "The first line of `admin.token_file`; on TCP only.",
            }},
        },
    })
}

fn operation(endpoint: &Endpoint, schemas: &mut schemars::SchemaGenerator) -> Value {
    let content = match endpoint.gives {
        Kind::Json(schema) => json!({"application/json": {"schema": schema(schemas)}}),
        Kind::Lines(schema) => json!({"application/x-ndjson": {"schema": schema(schemas)}}),
        Kind::Text(kind) => json!({kind: {}}),
    };
    let refusal = schemas.subschema_for::<Refusal>();
    let mut operation = json!({
        "operationId": endpoint.name.replace(' ', "-"),
        "summary": endpoint.summary,
        "security": [{}, {"token": []}],
        "responses": {
            "200": {"description": "Done.", "content": content},
            "default": {
                "description": "Not done, and why.",
                "content": {"application/json": {"schema": refusal}},
            },
        },
    });
    let parameters: Vec<Value> = parameters(endpoint).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(takes) = endpoint.takes {
        let content = json!({"application/json": {"schema": takes(schemas)}});
        operation["requestBody"] = json!({"required": false, "content": content});
    }
    operation
}

fn parameters(endpoint: &Endpoint) -> impl Iterator<Item = Value> {
    let segments = endpoint.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let text = || json!({"type": "string"});
    let in_path = segments
        .map(move |name| json!({"name": name, "in": "path", "required": true, "schema": text()}));
    let in_query = endpoint.query.iter().map(move |(name, what)| {
        json!({"name": name, "in": "query", "description": what, "schema": text()})
    });
    in_path.chain(in_query)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_file_in_docs_is_what_is_served() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let kept = std::fs::read_to_string(file).unwrap_or_default();
        let made = format!("{:#}\n", super::document());
        assert!(kept == made, "docs/openapi.json differs: `nylon openapi > docs/openapi.json`");
    }
}
