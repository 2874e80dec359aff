//! From declarations to a configuration: names are looked up, groups expanded in place.

use super::diagnostic::Report;
use super::fields::Located;
use super::middleware::{Item, ItemKind, Middleware, PluginCall, PluginUse};
use super::plugin::Plugin;
use super::proxy::Declarations;
use super::route::{Path, PathItem, Route, RouteItem};
use super::runtime::Runtime;
use super::service::{Service, ServiceItem, ServiceKind};
use super::websocket::WebSockets;
use super::{Config, Declared};
use crate::dispatch::route::{Matcher, PatternError, Router, Target};
use http::HeaderName;
use std::collections::HashMap;
use std::path;
use std::sync::Arc;

const DEFAULT_SELECTOR: HeaderName = HeaderName::from_static("x-nylon-proxy");

/// Something looked up, or why lenient mode answers 500 in its place.
type Outcome<T> = Result<T, String>;

/// Builds the configuration and reports every reference that leads nowhere. With errors in the
/// report the result is incomplete and must not be used.
pub(super) fn resolve(
    file: &path::Path,
    runtime: Runtime,
    declared: Declarations,
    report: &mut Report,
) -> Config {
    report_duplicates("plugin", &declared.plugins, report);
    report_duplicates("service", &declared.services, report);
    report_duplicates("middleware group", &declared.groups, report);
    report_duplicates("route", &declared.routes, report);

    let mut resolver = Resolver {
        plugins: &declared.plugins,
        groups: &declared.groups,
        expanded: HashMap::new(),
        open: Vec::new(),
        calls: Vec::new(),
        patterns: Vec::new(),
        report,
    };
    for group in &declared.groups {
        // Groups that no route names are checked as well.
        let _ = resolver.group(&group.name);
    }
    let services = resolver.services(&declared.services);
    let mut router = Router::default();
    let routes = declared
        .routes
        .iter()
        .enumerate()
        .map(|(index, route)| resolver.route(index, route, &services, &mut router))
        .collect();
    let calls = resolver.calls;
    Config {
        file: file.to_owned(),
        runtime,
        header_selector: declared.header_selector.unwrap_or(DEFAULT_SELECTOR),
        plugins: declared.plugins.into_iter().filter_map(|plugin| plugin.item).collect(),
        routes,
        router,
        calls,
    }
}

fn report_duplicates<T>(kind: &str, declared: &[Declared<T>], report: &mut Report) {
    for (index, Declared { name, .. }) in declared.iter().enumerate() {
        let earlier = declared[..index].iter().find(|other| other.name.value == name.value);
        if let Some(Declared { name: first, .. }) = earlier {
            report.error(&name.at, format!("duplicate {kind} `{}`", name.value)).help =
                Some(format!("it is first defined in {}:{}", first.at.file(), first.at.line()));
        }
    }
}

fn find<'a, T>(declared: &'a [Declared<T>], name: &str) -> Option<(usize, &'a Declared<T>)> {
    declared.iter().enumerate().find(|(_, declared)| declared.name.value == name)
}

fn names<T>(declared: &[Declared<T>]) -> impl Iterator<Item = &str> {
    declared.iter().map(|declared| declared.name.value.as_str())
}

/// Whether two matchers take the same requests; hosts are compared in any case.
fn is_same(one: &Matcher, other: &Matcher) -> bool {
    match (one, other) {
        (Matcher::Host(one), Matcher::Host(other)) => one.eq_ignore_ascii_case(other),
        _ => one == other,
    }
}

struct Resolver<'a> {
    plugins: &'a [Declared<Plugin>],
    groups: &'a [Declared<Vec<Item>>],
    /// Groups that were expanded before.
    expanded: HashMap<&'a str, Outcome<Vec<Middleware>>>,
    /// Groups that are being expanded, outermost first.
    open: Vec<&'a str>,
    calls: Vec<Arc<PluginCall>>,
    /// Patterns in the router, with who takes them by which methods.
    patterns: Vec<(&'a RouteItem, &'a PathItem, &'a Located<String>)>,
    report: &'a mut Report,
}

type Services<'a> = HashMap<&'a str, Outcome<Arc<Service>>>;

impl<'a> Resolver<'a> {
    fn middleware(&mut self, items: &'a [Item]) -> Outcome<Vec<Middleware>> {
        // Every item is looked at, also after one that leads nowhere.
        let outcomes: Vec<_> = items.iter().map(|item| self.item(item)).collect();
        outcomes.into_iter().collect::<Outcome<Vec<_>>>().map(|lists| lists.concat())
    }

    fn item(&mut self, item: &'a Item) -> Outcome<Vec<Middleware>> {
        let outcome = match &item.kind {
            ItemKind::BuiltIn(built_in) => Ok(vec![built_in.clone()]),
            ItemKind::Plugin(plugin_use) => {
                self.call(plugin_use).map(|call| vec![Middleware::Plugin(call)])
            }
            ItemKind::Group(name) => self.group(name),
        };
        item.fault.clone().map_or(outcome, Err)
    }

    fn group(&mut self, name: &Located<String>) -> Outcome<Vec<Middleware>> {
        if let Some(done) = self.expanded.get(name.value.as_str()) {
            return done.clone();
        }
        let mark = self.report.mark();
        let Some((_, group)) = find(self.groups, &name.value) else {
            self.report.unknown(&name.at, "middleware group", &name.value, names(self.groups));
            return Err(self.report.fault_since(mark).unwrap_or_default());
        };
        let key = group.name.value.as_str();
        if let Some(start) = self.open.iter().position(|open| *open == key) {
            let cycle = format!("{} -> {key}", self.open[start..].join(" -> "));
            let message = format!("middleware group `{key}` contains itself: {cycle}");
            self.report.error(&name.at, &message).help =
                Some("take one of these references out".to_owned());
            return Err(message);
        }
        self.open.push(key);
        let outcome = self.middleware(group.item.as_deref().unwrap_or_default());
        self.open.pop();
        self.expanded.insert(key, outcome.clone());
        outcome
    }

    fn call(&mut self, wanted: &PluginUse) -> Outcome<Arc<PluginCall>> {
        let mark = self.report.mark();
        let name = &wanted.plugin;
        let Some((index, plugin)) = find(self.plugins, &name.value) else {
            self.report.unknown(&name.at, "plugin", &name.value, names(self.plugins));
            return Err(self.report.fault_since(mark).unwrap_or_default());
        };
        let policies = plugin.item.as_ref().map(|plugin| plugin.policies).unwrap_or_default();
        let call = Arc::new(PluginCall {
            id: u32::try_from(self.calls.len()).unwrap_or(u32::MAX),
            plugin: index,
            entry: wanted.entry.value.clone(),
            payload: wanted.payload.clone(),
            policies: policies.with(wanted.change),
            location: wanted.entry.at.clone(),
        });
        self.calls.push(Arc::clone(&call));
        plugin.fault.clone().map_or(Ok(call), Err)
    }

    fn services(&mut self, declared: &'a [Declared<ServiceItem>]) -> Services<'a> {
        let mut services = Services::new();
        for Declared { name, item, fault } in declared {
            let kind = match item {
                None => Err(format!("service `{}` is not usable", name.value)),
                Some(ServiceItem::Http(endpoints)) => {
                    Ok(ServiceKind::Http { endpoints: endpoints.clone() })
                }
                Some(ServiceItem::Static(files)) => Ok(ServiceKind::Static(files.clone())),
                Some(ServiceItem::Plugin(wanted)) => self.call(wanted).map(ServiceKind::Plugin),
            };
            let service = kind.map(|kind| Arc::new(Service { name: name.value.clone(), kind }));
            services.insert(&name.value, fault.clone().map_or(service, Err));
        }
        services
    }

    fn route(
        &mut self,
        index: usize,
        declared: &'a Declared<RouteItem>,
        services: &Services<'_>,
        router: &mut Router,
    ) -> Route {
        let name = declared.name.value.clone();
        let Some(item) = &declared.item else {
            return Route { name, middleware: Vec::new(), paths: Vec::new() };
        };
        let middleware = self.middleware(&item.middleware);
        let route_fault = declared.fault.clone().or(middleware.as_ref().err().cloned());
        let websocket = item.websocket.over(&WebSockets::default());
        let mut paths = Vec::new();
        for path in &item.paths {
            let target = Target { route: index, path: paths.len() };
            self.add_patterns(router, item, path, target);
            let mut resolved = self.path(path, services, &websocket);
            if let Some(fault) = &route_fault {
                resolved.service = Err(fault.clone());
            }
            paths.push(resolved);
        }
        Route { name, middleware: middleware.unwrap_or_default(), paths }
    }

    fn path(
        &mut self,
        path: &'a PathItem,
        services: &Services<'_>,
        websocket: &WebSockets,
    ) -> Path {
        let middleware = self.middleware(&path.middleware);
        let mark = self.report.mark();
        let wanted = &path.service;
        let service = match services.get(wanted.value.as_str()) {
            Some(service) => service.clone(),
            None => {
                let known = services.keys().copied().collect::<std::collections::BTreeSet<_>>();
                self.report.unknown(&wanted.at, "service", &wanted.value, known);
                Err(self.report.fault_since(mark).unwrap_or_default())
            }
        };
        if let (Ok(service), Some(rewrite)) = (&service, &path.rewrite)
            && matches!(service.kind, ServiceKind::Plugin(_))
        {
            let message = "`rewrite` has no effect on a plugin service";
            self.report.warning(&rewrite.at, message).help =
                Some("the plugin gets the path as the client sent it: take `rewrite` out".into());
        }
        let fault = path.fault.clone().or(middleware.as_ref().err().cloned());
        Path {
            service: fault.map_or(service, Err),
            rewrite: path.rewrite.as_ref().map(|rewrite| rewrite.value.clone()),
            middleware: middleware.unwrap_or_default(),
            websocket: path.websocket.over(websocket),
        }
    }

    fn add_patterns(
        &mut self,
        router: &mut Router,
        route: &'a RouteItem,
        path: &'a PathItem,
        target: Target,
    ) {
        for pattern in path.patterns.iter().filter(|pattern| pattern.value.starts_with('/')) {
            let added = route.matchers.iter().try_for_each(|matcher| {
                let added = router.insert(matcher, &pattern.value, &path.methods, target);
                added.map_err(|error| (matcher, error))
            });
            if let Err((matcher, error)) = added {
                let help = self.taken(matcher, &error);
                let message = format!("the path `{}` cannot be used: {error}", pattern.value);
                self.report.error(&pattern.at, message).help = help;
            }
            self.patterns.push((route, path, pattern));
        }
    }

    /// Where the pattern stands that takes the same requests already.
    fn taken(&self, matcher: &Matcher, error: &PatternError) -> Option<String> {
        let PatternError::Conflict { method, with } = error else { return None };
        let (_, _, Located { at, .. }) = self.patterns.iter().find(|(route, path, pattern)| {
            pattern.value == *with
                && path.methods.contains(method)
                && route.matchers.iter().any(|other| is_same(other, matcher))
        })?;
        Some(format!("`{with}` is in {}:{}", at.file(), at.line()))
    }
}
