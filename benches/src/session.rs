//! `session`: one request through the public API of the host into an ordinary entry of a Go plugin, on the gateway's own
//! kind of runtime. Deadlines, validation and counters are on: there is no way to turn them off.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use nylon_host::{Body, Chain, Client, Host, Item, PluginSpec, WaitPolicy};
use tokio::runtime::Runtime;

use crate::cpus::Cpus;
use crate::roundtrip::{Case, Round, Taken, WARM_UP, due, ns};
use crate::{Result, asleep};

/// One host with a plugin for each policy.
pub(crate) struct Sessions {
    runtime: Runtime,
    host: Host,
}

impl Sessions {
    pub(crate) fn start(cpus: &Cpus, program: &Path) -> Result<Self> {
        let pinned = *cpus;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads((cpus.count - 1).max(1))
            .on_thread_start(move || pinned.pin_to_host())
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let spec = |name: &str, wait| PluginSpec { wait, ..PluginSpec::new(name, program) };
        let specs = vec![spec(BUSY, WaitPolicy::Latency), spec(PARKED, WaitPolicy::Balanced)];
        // The host starts its workers from a thread of its own, which starts here.
        let host = cpus.on_worker(|| runtime.block_on(Host::start(specs)));
        let host = host.map_err(|e| e.to_string())?;
        Ok(Self { runtime, host })
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.runtime.block_on(self.host.stop(Duration::from_secs(2)));
    }
}

/// Plugin of policy `latency`.
const BUSY: &str = "busy";
/// Plugin of policy `balanced`.
const PARKED: &str = "parked";

pub(crate) struct Session {
    all: Rc<Sessions>,
    chain: Arc<Chain>,
    name: &'static str,
    count: u64,
}

impl Session {
    pub(crate) fn new(all: &Rc<Sessions>, busy: bool) -> Result<Self> {
        let name = if busy { BUSY } else { PARKED };
        let chain = all.host.chain().item(Item::new(name, "bench")).map_err(|e| e.to_string())?;
        Ok(Self { all: all.clone(), chain: chain.build(), name, count: 0 })
    }
}

impl Case for Session {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let status = || self.all.host.status(self.name).unwrap_or_default();
        let before = status();
        let waits = (asleep::waits(std::process::id()), asleep::waits(before.pid));
        let (chain, first, plan) = (self.chain.clone(), self.count, *round);
        // As the gateway has it: a task of the pool, not the thread that waits for it.
        let calls = self.all.runtime.spawn(take(plan, chain, first));
        let (samples, last) = self.all.runtime.block_on(calls).map_err(|e| e.to_string())??;
        let after = status();
        let calls = after.calls - before.calls;
        if calls != last - first || after.pid != before.pid || after.deadlines != before.deadlines {
            let asked = last - first;
            return Err(format!("{asked} requests were {calls} calls: {after:?}"));
        }
        self.count = last;
        Ok(round.hold(samples, waits, after.pid))
    }
}

/// The samples of a round, and how many calls there were up to its end.
async fn take(round: Round, chain: Arc<Chain>, mut n: u64) -> Result<(Vec<u64>, u64)> {
    let mut samples = Vec::with_capacity(round.samples);
    let began = Instant::now();
    let mut next = began;
    if round.gap.is_none() {
        for _ in 0..WARM_UP {
            n += 1;
            call(&chain, n).await?;
        }
    }
    while samples.len() < round.samples && began.elapsed() < round.limit {
        if let Some(gap) = round.gap {
            next = due(next, gap);
            tokio::time::sleep_until(next.into()).await;
        }
        n += 1;
        samples.push(ns(call(&chain, n).await?));
    }
    Ok((samples, n))
}

/// A request as a browser sends it: 12 headers. The plugin must have put the nonce into the response. The time is that
/// of the chain alone.
async fn call(chain: &Arc<Chain>, n: u64) -> Result<Duration> {
    const HEADERS: [(&str, &str); 11] = [
        ("host", "shop.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
        ("accept-encoding", "gzip, deflate, br"),
        ("connection", "keep-alive"),
        ("referer", "https://shop.example/catalogue?page=3"),
        ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
        ("x-request-id", "01980000-0000-7000-8000-000000000000"),
        ("cache-control", "no-cache"),
        ("x-forwarded-proto", "https"),
    ];
    let nonce = HeaderValue::from(n);
    let mut request = Request::get("/bench").body(Body::empty()).map_err(|e| e.to_string())?;
    let headers = request.headers_mut();
    headers.reserve(HEADERS.len() + 1);
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("x-nonce", nonce.clone());
    let client = Client { ip: [127, 0, 0, 1].into(), tls: true };
    let service = async |_| Ok(Response::new(Body::empty()));
    let start = Instant::now();
    let response = chain.call(request, client, Vec::new(), service).await;
    let took = start.elapsed();
    match response.headers().get("x-bench") {
        Some(found) if *found == nonce && response.status() == 200 => Ok(took),
        _ => {
            Err(format!("request {n} was answered {} {:?}", response.status(), response.headers()))
        }
    }
}
