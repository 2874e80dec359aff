//! The request record: what a session may ask about its request (SPEC.md 4.3).

use super::TooLarge;
use super::names::Names;
use super::pairs::{PAIR, Pairs, SPAN, SpanRules, TEXT, put_pairs, put_span, span};
use crate::bytes::{len32, pad8, u16_at, u32_at, u64_at};
use crate::violation::Violation;
use crate::wire;

const RULES: SpanRules = SpanRules {
    past_end: "request-span-past-end",
    in_header: "request-span-in-header",
    overflow: "request-span-overflow",
    empty: "request-span-empty",
    name_id: "request-name-id",
};

/// Offsets of the fixed part's spans, in the order their strings are written.
const SPANS: [usize; 6] = [
    wire::REQUEST_METHOD,
    wire::REQUEST_PATH,
    wire::REQUEST_QUERY,
    wire::REQUEST_HOST,
    wire::REQUEST_CLIENT_IP,
    wire::REQUEST_REQUEST_ID,
];

/// What goes into a request record. `headers` and `params` are iterators of `(name, value)`, walked once.
#[derive(Clone, Debug)]
pub struct RequestFields<'a, H, P> {
    /// Unix ms.
    pub timestamp_ms: i64,
    /// Content-Length or 0.
    pub bytes: u64,
    /// Port of the URL; 0 when none, 80 or 443.
    pub port: u16,
    /// Whether the client connection is TLS.
    pub tls: bool,
    /// 10, 11 or 20.
    pub version: u8,
    /// GET, POST, …
    pub method: &'a [u8],
    /// Undecoded path.
    pub path: &'a [u8],
    /// Raw query without '?'.
    pub query: &'a [u8],
    /// Host without port.
    pub host: &'a [u8],
    /// Peer address as text.
    pub client_ip: &'a [u8],
    /// The id in logs and traces.
    pub request_id: &'a [u8],
    /// Header pairs, names in lower case; repeated names are kept.
    pub headers: H,
    /// Route parameters.
    pub params: P,
}

/// Appends the record of `fields` to `out`.
///
/// # Errors
/// [`TooLarge`] when it would be longer than `wire::LIMIT_RECORD`; `out` is then as before.
pub fn write_request<'a, H, P>(
    out: &mut Vec<u8>,
    fields: RequestFields<'a, H, P>,
    names: Names,
) -> Result<(), TooLarge>
where
    H: ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
    P: ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
{
    let strings = [
        fields.method,
        fields.path,
        fields.query,
        fields.host,
        fields.client_ip,
        fields.request_id,
    ];
    let (headers, params) = (fields.headers.len(), fields.params.len());
    let (Ok(header_count), Ok(param_count)) = (u16::try_from(headers), u16::try_from(params))
    else {
        return Err(TooLarge);
    };
    let params_at = wire::REQUEST_PAIRS + headers * PAIR;
    let pairs_end = params_at + params * PAIR;
    let fixed: usize = strings.iter().map(|s| s.len()).sum();

    let start = out.len();
    out.reserve(pairs_end + fixed + (headers + params) * TEXT);
    out.resize(start + pairs_end, 0);
    let mut put = |at: usize, bytes: &[u8]| {
        out[start + at..start + at + bytes.len()].copy_from_slice(bytes);
    };
    put(wire::REQUEST_HEADERS, &header_count.to_le_bytes());
    put(wire::REQUEST_PARAMS, &param_count.to_le_bytes());
    put(wire::REQUEST_TIMESTAMP, &fields.timestamp_ms.to_le_bytes());
    put(wire::REQUEST_BYTES, &fields.bytes.to_le_bytes());
    put(wire::REQUEST_PORT, &fields.port.to_le_bytes());
    put(wire::REQUEST_FLAGS, &[if fields.tls { wire::REQFLAG_TLS } else { 0 }]);
    put(wire::REQUEST_VERSION, &[fields.version]);
    for (at, bytes) in SPANS.into_iter().zip(strings) {
        put_span(out, start, start + at, bytes);
    }
    put_pairs(out, start, start + wire::REQUEST_PAIRS, fields.headers, names);
    put_pairs(out, start, start + params_at, fields.params, Names::Spelled);
    pad8(out, start);
    let len = out.len() - start;
    if len > wire::LIMIT_RECORD {
        out.truncate(start);
        return Err(TooLarge);
    }
    let at = start + wire::REQUEST_LEN;
    out[at..at + 4].copy_from_slice(&len32(len).to_le_bytes());
    Ok(())
}

/// A checked request record.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    record: &'a [u8],
    headers: u16,
    params: u16,
}

impl<'a> Request<'a> {
    /// Checks `record`, which is the record and nothing else.
    ///
    /// # Errors
    /// `Violation::Record` naming the broken rule of SPEC.md 4.1, 4.3 or 4.8.
    pub fn parse(record: &'a [u8], names: Names) -> Result<Self, Violation> {
        let length = Violation::Record("request-len");
        if record.len() < wire::REQUEST_PAIRS || !record.len().is_multiple_of(8) {
            return Err(length);
        }
        if u32_at(record, wire::REQUEST_LEN).map(|len| len as usize) != Some(record.len()) {
            return Err(length);
        }
        let reserved = record.get(wire::REQUEST_RESERVED..wire::REQUEST_METHOD).ok_or(length)?;
        let spare = record.get(wire::REQUEST_SPARE..wire::REQUEST_PAIRS).ok_or(length)?;
        if reserved.iter().chain(spare).any(|&b| b != 0) {
            return Err(Violation::Record("request-reserved"));
        }
        let headers = u16_at(record, wire::REQUEST_HEADERS).ok_or(length)?;
        let params = u16_at(record, wire::REQUEST_PARAMS).ok_or(length)?;
        let pairs = usize::from(headers) + usize::from(params);
        let floor = wire::REQUEST_PAIRS + pairs * PAIR;
        if floor > record.len() {
            return Err(Violation::Record("request-pairs-past-end"));
        }
        for at in SPANS {
            RULES.check(record, at, floor)?;
        }
        let params_at = wire::REQUEST_PAIRS + usize::from(headers) * PAIR;
        RULES.check_headers(record, (wire::REQUEST_PAIRS, params_at), floor, names)?;
        for at in (params_at..floor).step_by(SPAN) {
            RULES.check(record, at, floor)?;
        }
        Ok(Self { record, headers, params })
    }

    /// Unix ms.
    pub fn timestamp_ms(&self) -> i64 {
        u64_at(self.record, wire::REQUEST_TIMESTAMP).unwrap_or_default().cast_signed()
    }

    /// Content-Length or 0.
    pub fn bytes(&self) -> u64 {
        u64_at(self.record, wire::REQUEST_BYTES).unwrap_or_default()
    }

    /// Port of the URL; 0 when none, 80 or 443.
    pub fn port(&self) -> u16 {
        u16_at(self.record, wire::REQUEST_PORT).unwrap_or_default()
    }

    /// Whether the client connection is TLS.
    pub fn tls(&self) -> bool {
        self.record.get(wire::REQUEST_FLAGS).is_some_and(|f| f & wire::REQFLAG_TLS != 0)
    }

    /// 10, 11 or 20.
    pub fn version(&self) -> u8 {
        self.record.get(wire::REQUEST_VERSION).copied().unwrap_or_default()
    }

    /// GET, POST, …
    pub fn method(&self) -> &'a [u8] {
        span(self.record, wire::REQUEST_METHOD)
    }

    /// Undecoded path.
    pub fn path(&self) -> &'a [u8] {
        span(self.record, wire::REQUEST_PATH)
    }

    /// Raw query without '?'.
    pub fn query(&self) -> &'a [u8] {
        span(self.record, wire::REQUEST_QUERY)
    }

    /// Host without port.
    pub fn host(&self) -> &'a [u8] {
        span(self.record, wire::REQUEST_HOST)
    }

    /// Peer address as text.
    pub fn client_ip(&self) -> &'a [u8] {
        span(self.record, wire::REQUEST_CLIENT_IP)
    }

    /// The id in logs and traces.
    pub fn request_id(&self) -> &'a [u8] {
        span(self.record, wire::REQUEST_REQUEST_ID)
    }

    /// Header pairs, names in lower case; repeated names are kept.
    pub fn headers(&self) -> Pairs<'a> {
        Pairs::new(self.record, wire::REQUEST_PAIRS, self.headers.into())
    }

    /// Route parameters.
    pub fn params(&self) -> Pairs<'a> {
        let at = wire::REQUEST_PAIRS + usize::from(self.headers) * PAIR;
        Pairs::new(self.record, at, self.params.into())
    }

    /// The whole record.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.record
    }
}
