//! What a request record costs with header names spelled out and with names as ids:
//! `cargo run --release -p nylon-protocol --example record`. Least of many rounds, ns per record.

use std::hint::black_box;
use std::time::Instant;

use nylon_protocol::record::{Names, Request, RequestFields, write_request};

type Pair = (&'static str, &'static str);

/// A browser's request behind a proxy: ten names of the table, two others.
const HEADERS: [Pair; 12] = [
    ("host", "api.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("cookie", "sid=0123456789abcdef0123456789abcdef"),
    ("referer", "https://example.com/shop"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "0199f1a2-7b3c-7def-8123-456789abcdef"),
    ("x-tenant", "blue"),
    ("x-api-key", "k-0123456789"),
];

fn write(out: &mut Vec<u8>, headers: &[Pair], names: Names) {
    let bytes = |&(name, value): &Pair| (name.as_bytes(), value.as_bytes());
    let fields = RequestFields {
        timestamp_ms: 1,
        bytes: 0,
        port: 0,
        tls: true,
        version: 11,
        method: b"GET",
        path: b"/users/42",
        query: b"a=1",
        host: b"api.example.com",
        client_ip: b"203.0.113.7",
        request_id: b"0199f1a2-7b3c-7def-8123-456789abcdef",
        headers: headers.iter().map(bytes),
        params: [(&b"id"[..], &b"42"[..])].into_iter(),
    };
    out.clear();
    write_request(out, fields, names).expect("it is small");
}

/// ns per call of `f`.
fn round(mut f: impl FnMut()) -> f64 {
    const CALLS: u32 = 2000;
    let start = Instant::now();
    (0..CALLS).for_each(|_| f());
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn main() {
    let mut best = [[f64::MAX; 2]; 2];
    let mut out = Vec::with_capacity(2048);
    let ways = [("spelled out", Names::Spelled), ("ids", Names::Ids)];
    for _ in 0..300 {
        for ((_, names), best) in ways.iter().zip(&mut best) {
            best[0] = best[0].min(round(|| write(&mut out, black_box(&HEADERS), *names)));
            best[1] = best[1].min(round(|| {
                let _ = black_box(Request::parse(black_box(&out), *names));
            }));
        }
    }
    for ((way, names), [written, parsed]) in ways.iter().zip(best) {
        write(&mut out, &HEADERS, *names);
        println!("{way:12} {:4} bytes, write {written:5.1} ns, check {parsed:5.1} ns", out.len());
    }
}
