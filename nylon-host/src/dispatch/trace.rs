//! Traces as W3C Trace Context has them: which request belongs to which, and a span for it and each of its phases.
//!
//! A span is one event of target `trace`, written when it ends. Where no trace is sampled nothing is made or kept.

use std::time::{Instant, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use uuid::Uuid;

use super::access::millis;
use super::chain::PluginStep;
use crate::config::Tracing;
use crate::log::TRACE;
use crate::request_id::RequestId;
use crate::session::Phase;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const SAMPLED: u8 = 1;
/// The trace id is random (level 2).
const RANDOM: u8 = 2;

/// A `traceparent` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Traceparent {
    trace: [u8; 16],
    parent: [u8; 8],
    flags: u8,
}

impl Traceparent {
    /// `None` when it is not one: such a header counts as absent.
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(55)?;
        let [version] = hex(&known[..2])?;
        let dashed = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        // What a later version has more comes after another dash.
        let whole = rest.is_empty() || (version != 0 && rest[0] == b'-');
        let [flags] = hex(&known[53..])?;
        let (trace, parent) = (hex(&known[3..35])?, hex(&known[36..52])?);
        let told = trace != [0; 16] && parent != [0; 8];
        (version != 0xff && dashed && whole && told).then_some(Self { trace, parent, flags })
    }

    /// That of the only such header; `Err` when there are more, or it is none.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, ()> {
        let mut all = headers.get_all(TRACEPARENT).iter();
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some(one), None) => Self::parse(one.as_bytes()).map(Some).ok_or(()),
            _ => Err(()),
        }
    }

    fn value(self) -> Option<HeaderValue> {
        let Self { trace, parent, flags } = self;
        let (trace, parent) = (u128::from_be_bytes(trace), u64::from_be_bytes(parent));
        HeaderValue::from_str(&format!("00-{trace:032x}-{parent:016x}-{flags:02x}")).ok()
    }
}

/// Bytes of lower-case digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |d: u8| match d {
        b'0'..=b'9' => Some(d - b'0'),
        b'a'..=b'f' => Some(d - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (digits.len() == 2 * N).then_some(bytes)
}

/// An id of a span: the random half of a UUID, which is never zero.
fn span_id() -> [u8; 8] {
    let mut id = [0; 8];
    id.copy_from_slice(&Uuid::new_v4().as_bytes()[8..]);
    id
}

/// The trace of one request, as seen from here. Its own span is written when it is dropped.
#[derive(Debug)]
pub(super) struct Trace {
    /// That of the headers plugins and the service get: its parent is the request's span.
    ours: Traceparent,
    parent: Option<[u8; 8]>,
    method: Method,
    path: String,
    request_id: RequestId,
    start: SystemTime,
    started: Instant,
    pub(super) status: Option<StatusCode>,
    /// `ok`, `error`, or `client_gone` while there is no response.
    pub(super) outcome: &'static str,
}

impl Trace {
    /// Continues the trace a request belongs to, or begins one if it is its turn; from then on the request's headers say
    /// that it belongs to a span of ours. `None` when it is not traced: its headers stay as they are.
    pub(super) fn enter(
        wanted: Tracing,
        parts: &mut Parts,
        request_id: impl FnOnce() -> RequestId,
    ) -> Option<Box<Self>> {
        if !wanted.enabled || !tracing::enabled!(target: TRACE, tracing::Level::INFO) {
            return None;
        }
        let (ours, parent) = match Traceparent::of(&parts.headers) {
            Ok(Some(theirs)) if theirs.flags & SAMPLED == 0 => return None,
            Ok(Some(theirs)) => {
                let flags = theirs.flags & (SAMPLED | RANDOM);
                (Traceparent { parent: span_id(), flags, ..theirs }, Some(theirs.parent))
            }
            Ok(None) | Err(()) if wanted.sample == 0 => return None,
            Ok(None) | Err(()) => {
                let id = Uuid::new_v4().into_bytes();
                let turn = u32::from_be_bytes([id[12], id[13], id[14], id[15]]);
                if turn > wanted.sample {
                    return None;
                }
                // That of a trace that is not continued.
                parts.headers.remove(TRACESTATE);
                (Traceparent { trace: id, parent: span_id(), flags: SAMPLED | RANDOM }, None)
            }
        };
        parts.headers.insert(TRACEPARENT, ours.value()?);
        Some(Box::new(Self {
            ours,
            parent,
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            request_id: request_id(),
            start: SystemTime::now(),
            started: Instant::now(),
            status: None,
            outcome: "client_gone",
        }))
    }

    /// A span for a phase, from now on.
    pub(super) fn phase(&self, step: &PluginStep, phase: Phase) -> PhaseSpan {
        PhaseSpan(Box::new(Running {
            ours: self.ours,
            id: span_id(),
            plugin: step.item.plugin.clone(),
            entry: step.item.entry.clone(),
            phase: phase.name(),
            request_id: self.request_id.clone(),
            start: SystemTime::now(),
            started: Instant::now(),
            ended: None,
            outcome: "cancelled",
        }))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let Self { ours, parent, method, path, request_id, .. } = self;
        let parent = parent.map(u64::from_be_bytes);
        let mut id = Uuid::encode_buffer();
        tracing::info!(
            target: TRACE,
            name = "request",
            trace_id = %format_args!("{:032x}", u128::from_be_bytes(ours.trace)),
            span_id = %format_args!("{:016x}", u64::from_be_bytes(ours.parent)),
            parent_id = parent.map(|id| tracing::field::display(format!("{id:016x}"))),
            start = %humantime::format_rfc3339_micros(self.start),
            duration_ms = millis(self.started.elapsed()),
            outcome = self.outcome, %method, path, status = self.status.map(|s| s.as_u16()), request_id = request_id.shown(&mut id),
            "span",
        );
    }
}

/// The span of a phase, written when it is dropped. It may have run more than once: once for each piece of a body.
#[derive(Debug)]
pub(super) struct PhaseSpan(Box<Running>);

#[derive(Debug)]
struct Running {
    /// The parent in it is the request's span.
    ours: Traceparent,
    id: [u8; 8],
    plugin: String,
    entry: String,
    phase: &'static str,
    request_id: RequestId,
    start: SystemTime,
    started: Instant,
    ended: Option<Instant>,
    /// Empty while it did not run: it is then not written.
    outcome: &'static str,
}

impl PhaseSpan {
    /// It ran until now, and this came of it: `next`, `end`, `stream`, or the reason of a failure.
    pub(super) fn ran(&mut self, outcome: &'static str) {
        (self.0.outcome, self.0.ended) = (outcome, Some(Instant::now()));
    }

    /// It does not run, unless it will.
    pub(super) fn idle(mut self) -> Self {
        self.0.outcome = "";
        self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.outcome.is_empty() {
            return;
        }
        let Self { ours, plugin, entry, phase, request_id, .. } = self;
        let ended = self.ended.unwrap_or_else(Instant::now);
        let mut id = Uuid::encode_buffer();
        tracing::info!(
            target: TRACE,
            name = *phase,
            trace_id = %format_args!("{:032x}", u128::from_be_bytes(ours.trace)),
            span_id = %format_args!("{:016x}", u64::from_be_bytes(self.id)),
            parent_id = %format_args!("{:016x}", u64::from_be_bytes(ours.parent)),
            start = %humantime::format_rfc3339_micros(self.start),
            duration_ms = millis(ended.saturating_duration_since(self.started)),
            outcome = self.outcome, plugin, entry, request_id = request_id.shown(&mut id),
            "span",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_back() {
        let parsed = Traceparent::parse(GOOD.as_bytes()).expect("a traceparent");
        assert_eq!(parsed.value().expect("a value"), GOOD);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what-the-future-has";
        let later = Traceparent::parse(later.as_bytes()).expect("of a later version");
        assert_eq!((later.trace, later.flags), (parsed.trace, 3));
    }

    #[test]
    fn what_is_none_is_ignored() {
        for text in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &format!("{GOOD}0"),
            &GOOD.replace("00-4b", "ff-4b"),
            &GOOD.replace("00-4b", "cc-4b").replace("-01", "-01x"),
            &GOOD.replace("4bf9", "4BF9"),
            &GOOD.replace("4bf9", "4bg9"),
            &GOOD.replace("-01", "_01"),
            &GOOD.replace("-01", "-0A"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace('-', " "),
        ] {
            assert_eq!(Traceparent::parse(text.as_bytes()), None, "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert!(matches!(Traceparent::of(&headers), Ok(Some(_))));
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(Traceparent::of(&headers), Err(()), "which of them?");
    }

    fn enter(
        enabled: bool,
        sample: u32,
        headers: &[(&'static str, &'static str)],
    ) -> (bool, Parts) {
        let (mut request, ()) = http::Request::new(()).into_parts();
        for (name, value) in headers {
            request.headers.append(*name, HeaderValue::from_static(value));
        }
        let subscriber = tracing_subscriber::registry();
        let trace = tracing::subscriber::with_default(subscriber, || {
            let id = RequestId::of(&request.headers);
            Trace::enter(Tracing { enabled, sample }, &mut request, || id).is_some()
        });
        (trace, request)
    }

    #[test]
    fn a_sampled_trace_is_continued_below_a_span_of_ours() {
        let (traced, request) = enter(true, 0, &[("traceparent", GOOD), ("tracestate", "a=b")]);
        assert!(traced);
        let found = Traceparent::of(&request.headers).unwrap().expect("a traceparent");
        let theirs = Traceparent::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((found.trace, found.flags), (theirs.trace, 1));
        assert_ne!(found.parent, theirs.parent);
        assert_eq!(request.headers["tracestate"], "a=b");
    }

    #[test]
    fn what_is_not_traced_stays_as_it_is() {
        let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        for (enabled, sample, header) in
            [(false, u32::MAX, GOOD), (true, u32::MAX, unsampled), (true, 0, "nonsense")]
        {
            let (traced, request) = enter(enabled, sample, &[("traceparent", header)]);
            assert!(!traced, "{header}");
            assert_eq!(request.headers["traceparent"], header);
        }
        assert!(!enter(true, 0, &[]).0);
    }

    #[test]
    fn a_new_trace_has_no_state_of_another() {
        let (traced, request) =
            enter(true, u32::MAX, &[("traceparent", "x"), ("tracestate", "a=b")]);
        assert!(traced && !request.headers.contains_key("tracestate"));
        let ours = Traceparent::of(&request.headers).unwrap().expect("a traceparent");
        assert_eq!(ours.flags, SAMPLED | RANDOM);
        let (mut begun, all) = (0, 2000);
        (0..all).for_each(|_| begun += u32::from(enter(true, u32::MAX / 4, &[]).0));
        assert!((all / 8..all / 2).contains(&begun), "a quarter of {all}: {begun}");
    }
}
