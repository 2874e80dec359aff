//! What of a session is evaluation: finding the route, expanding a payload. The figures the roadmap's JIT row asks for.

use std::borrow::Cow;
use std::hint::black_box;

use http::Method;
use nylon_host::dispatch::route::{Found, Matcher, Router, Target};
use nylon_host::template::{PayloadNode, PayloadTemplate, Template, TemplateContext};
use serde_json::{Value, json};

use crate::Result;
use crate::case::{Case, Round, Taken};

/// Paths of the one host.
const PATHS: usize = 40;

/// Host, method and path to a route: 40 patterns, a parameter and a catch-all among them.
pub(crate) struct Route {
    router: Router,
}

impl Route {
    pub(crate) fn new() -> Result<Self> {
        let mut router = Router::default();
        let host = Matcher::Host("shop.example".into());
        for path in 0..PATHS {
            let pattern = match path % 4 {
                0 => format!("/api/v1/things{path}/{{id}}"),
                1 => format!("/files{path}/{{*rest}}"),
                _ => format!("/pages/page{path}"),
            };
            let target = Target { route: 0, path };
            let methods = [Method::GET, Method::POST];
            router.insert(&host, &pattern, &methods, target).map_err(|e| e.to_string())?;
        }
        Ok(Self { router })
    }
}

impl Case for Route {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        round.take(|| {
            let path = black_box("/api/v1/things36/4711");
            match self.router.find(None, "shop.example:443", &Method::GET, path) {
                Found::Matched(found) if found.target.path == 36 && found.params[0].1 == "4711" => {
                    Ok(())
                }
                other => Err(format!("the wrong route: {other:?}")),
            }
        })
    }
}

/// A payload with three templates, of a request, to JSON text.
pub(crate) struct Expand {
    template: PayloadTemplate,
}

impl Expand {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { template: payload()? })
    }
}

impl Case for Expand {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let wanted = json!({"user": "ada", "key": "GET:/bench", "role": "reader", "limit": 5});
        let wanted = wanted.to_string();
        round.take(|| {
            let found = self.template.expand_json(black_box(&Asked));
            if found == wanted { Ok(()) } else { Err(format!("{found:?} is not {wanted}")) }
        })
    }
}

/// The payload of [`Expand`], and of the entry `payload`.
pub(crate) fn payload() -> Result<PayloadTemplate> {
    let text = |source: &str| {
        let parsed = Template::parse(source).map_err(|e| e.to_string());
        parsed.map(|(template, _)| PayloadNode::Text(template))
    };
    let entry = |key: &str, node| (key.to_owned(), node);
    let map = vec![
        entry("user", text("${or(header(x-user), 'ada')}")?),
        entry("key", text("${request(method)}:${request(path)}")?),
        entry("role", text("${if_cond(query(admin), 'admin', 'reader')}")?),
        entry("limit", PayloadNode::Constant(Value::from(5))),
    ];
    Ok(PayloadTemplate::new(PayloadNode::Map(map)))
}

/// A request as the templates see it.
struct Asked;

impl TemplateContext for Asked {
    fn header(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }
    fn query(&self) -> &str {
        ""
    }
    fn param(&self, _: &str) -> Option<&str> {
        None
    }
    fn client_ip(&self) -> Cow<'_, str> {
        Cow::Borrowed("127.0.0.1")
    }
    fn host(&self) -> &str {
        "shop.example"
    }
    fn method(&self) -> &str {
        "GET"
    }
    fn path(&self) -> &str {
        "/bench"
    }
    fn tls(&self) -> bool {
        true
    }
}
