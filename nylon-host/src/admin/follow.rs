//! What came one after the other, as a stream of lines: what is kept, then what comes.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use serde::Serialize;

use super::answer::Refused;
use super::query::Query;
use super::server::Admin;
use crate::body::{Body, Pump};
use crate::inspect::{Event, Journal};
use crate::log::{self, LogRecord, Recent};

/// Something that is kept for a while and can be followed.
trait Feed: Send + Sync + 'static {
    type Item: Serialize + Send + Sync;
    /// How it is handed out.
    type Held: Deref<Target = Self::Item> + Send + Sync;

    /// What came after number `after`.
    fn since(&self, after: u64) -> Vec<Self::Held>;

    /// Likewise, and waits until there is something.
    fn next(&self, after: u64) -> impl Future<Output = Vec<Self::Held>> + Send;

    /// The number of one of them.
    fn number(item: &Self::Item) -> u64;
}

impl Feed for Journal {
    type Item = Event;
    type Held = Arc<Event>;

    fn since(&self, after: u64) -> Vec<Arc<Event>> {
        Journal::since(self, after).0
    }

    async fn next(&self, after: u64) -> Vec<Arc<Event>> {
        Journal::next(self, after).await.0
    }

    fn number(item: &Event) -> u64 {
        item.seq
    }
}

impl Feed for Recent {
    type Item = LogRecord;
    type Held = Box<LogRecord>;

    fn since(&self, after: u64) -> Vec<Box<LogRecord>> {
        Recent::since(self, after).0.into_iter().map(Box::new).collect()
    }

    async fn next(&self, after: u64) -> Vec<Box<LogRecord>> {
        Recent::next(self, after).await.0.into_iter().map(Box::new).collect()
    }

    fn number(item: &LogRecord) -> u64 {
        item.seq
    }
}

/// Levels of the log, the gravest first.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

impl Admin {
    pub(super) fn events(&self, query: &Query<'_>) -> Result<Response<Body>, Refused> {
        let plugin = self.only(query)?;
        let wanted = move |event: &Event| plugin.as_ref().is_none_or(|name| *name == event.plugin);
        lines(self.control.host().events().clone(), query, wanted)
    }

    pub(super) fn logs(&self, query: &Query<'_>) -> Result<Response<Body>, Refused> {
        let plugin = self.only(query)?;
        let level = match query.text("level") {
            None => LEVELS.len(),
            Some(level) => rank(level).ok_or_else(|| {
                Refused::bad(format!("`level` is one of {}, not `{level}`", LEVELS.join(", ")))
            })?,
        };
        let feed = if query.flag("requests")? { log::requests() } else { log::recent() };
        let wanted = move |line: &LogRecord| {
            plugin.as_ref().is_none_or(|name| line.plugin.as_ref() == Some(name))
                && rank(&line.level).is_none_or(|rank| rank <= level)
        };
        lines(feed, query, wanted)
    }

    /// The one plugin that is asked for.
    fn only(&self, query: &Query<'_>) -> Result<Option<String>, Refused> {
        let Some(name) = query.text("plugin") else { return Ok(None) };
        self.plugin(name).map(|plugin| Some(plugin.name.to_string()))
    }
}

fn rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| known.eq_ignore_ascii_case(level))
}

/// Answers with those that are `wanted`.
fn lines<F: Feed>(
    feed: F,
    query: &Query<'_>,
    wanted: impl Fn(&F::Item) -> bool + Send + Sync + 'static,
) -> Result<Response<Body>, Refused> {
    let (follow, tail) = (query.flag("follow")?, query.number("tail")?);
    let kept = feed.since(0);
    let last = kept.last().map_or(0, |item| F::number(item));
    let mut kept: Vec<_> = kept.into_iter().filter(|item| wanted(item)).collect();
    let begin = kept.len().saturating_sub(tail.unwrap_or(usize::MAX));
    kept.drain(..begin);
    let kept = text(&kept);
    let body = if follow {
        let (pump, body) = Body::pumped();
        tokio::spawn(go_on(feed, last, kept, pump, wanted));
        body
    } else {
        Body::from(kept)
    };
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// Sends what is kept and what comes, until the client leaves.
async fn go_on<F: Feed>(
    feed: F,
    mut last: u64,
    kept: Bytes,
    pump: Pump,
    wanted: impl Fn(&F::Item) -> bool,
) {
    let mut piece = kept;
    loop {
        if !piece.is_empty() && pump.send(Ok(Frame::data(piece))).await.is_err() {
            return;
        }
        let mut came = tokio::select! {
            came = feed.next(last) => came,
            () = pump.closed() => return,
        };
        last = came.last().map_or(last, |item| F::number(item));
        came.retain(|item| wanted(item));
        piece = text(&came);
    }
}

fn text<T: Deref<Target: Serialize>>(items: &[T]) -> Bytes {
    let mut text = Vec::new();
    for item in items {
        // Maps have texts as keys, and nothing here fails by itself.
        if serde_json::to_writer(&mut text, &**item).is_ok() {
            text.push(b'\n');
        }
    }
    text.into()
}
