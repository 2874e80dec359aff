//! `session`: one request through the public API of the host into an ordinary entry of a Go plugin.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};
use nylon_host::{Body, Chain, Client, Item, Payload};

use super::evaluate;
use super::sessions::Sessions;
use crate::Result;
use crate::case::{Case, Round, Taken, WARM_UP, due, ns};
use crate::env::Env;
use crate::timer::Timer;

/// What the plugin does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Reads method, path and a header, sets one response header, says NEXT.
    Getters,
    /// The same, in the static form of entry.
    Static,
    /// Says NEXT.
    Next,
    /// Reads its payload, which the host expands for each request, and a header; sets one response header, says NEXT.
    Payload,
    /// As `Getters`, and burns CPU for 100 ms where the request asks for it.
    Burner,
}

impl Entry {
    fn name(self) -> &'static str {
        match self {
            Self::Getters => "getters",
            Self::Static => "static",
            Self::Next => "next",
            Self::Payload => "payload",
            Self::Burner => "burner",
        }
    }
}

/// Calls of one entry under one policy.
pub(crate) struct Session {
    all: Rc<Sessions>,
    target: Target,
    plugin: &'static str,
    count: u64,
}

/// What a task needs to call it.
#[derive(Clone)]
pub(crate) struct Target {
    chain: Arc<Chain>,
    entry: Entry,
}

impl Session {
    /// `plugin` is one of the policies in [`super::sessions`].
    pub(crate) fn start(env: &Env, plugin: &'static str, entry: Entry) -> Result<Self> {
        let all = env.sessions()?;
        let target = Target::of(&all, plugin, entry)?;
        Ok(Self { all, target, plugin, count: 0 })
    }
}

impl Case for Session {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let before = self.all.status(self.plugin);
        let waits = self.all.waits(self.plugin);
        // As the gateway has it: a task of the pool, not the thread that waits for it.
        let calls = self.all.runtime.spawn(take(*round, self.target.clone(), self.count));
        let taken = self.all.runtime.block_on(calls).map_err(|e| e.to_string())??;
        self.all.audit(self.plugin, &before, taken.calls)?;
        self.count += taken.calls;
        Ok(round.hold(taken, waits, before.pid))
    }

    fn cpu(&self) -> Duration {
        self.all.cpu(self.plugin)
    }
}

/// The samples of a round; its requests have the numbers after `n`.
async fn take(round: Round, target: Target, mut n: u64) -> Result<Taken> {
    let mut taken = Taken { samples: Vec::with_capacity(round.samples), ..Taken::default() };
    let timer = Timer::new()?;
    let first = n;
    let began = Instant::now();
    let mut next = began;
    if round.gap.is_none() {
        for _ in 0..WARM_UP {
            n += 1;
            target.call(n).await?;
        }
    }
    while round.goes_on(&taken, began) {
        if let Some(gap) = round.gap {
            next = due(next, gap);
            timer.until(next).await?;
        }
        n += 1;
        taken.samples.push(ns(target.call(n).await?));
    }
    taken.calls = n - first;
    Ok(taken)
}

impl Target {
    /// `entry` behind `chain`, whose one middleware it is.
    pub(crate) fn new(chain: Arc<Chain>, entry: Entry) -> Self {
        Self { chain, entry }
    }

    /// `entry` of `plugin`.
    pub(crate) fn of(all: &Sessions, plugin: &str, entry: Entry) -> Result<Self> {
        let mut item = Item::new(plugin, entry.name());
        if entry == Entry::Payload {
            item = item.payload(Payload::Template(evaluate::payload()?));
        }
        Ok(Self::new(all.middleware(item)?, entry))
    }

    /// Request `n`, as a browser sends it: 12 headers. The time is that of the chain alone.
    pub(crate) async fn call(&self, n: u64) -> Result<Duration> {
        self.send(request(n)?, n).await
    }

    /// Request `n`, which has a handler of [`Entry::Burner`] burn.
    pub(crate) async fn burn(&self, n: u64) -> Result<Duration> {
        let mut request = request(n)?;
        request.headers_mut().insert("x-burn", HeaderValue::from_static("100ms"));
        self.send(request, n).await
    }

    async fn send(&self, request: Request<Body>, n: u64) -> Result<Duration> {
        let service = async |_| Ok(Response::new(Body::empty()));
        let client = Client { ip: [127, 0, 0, 1].into(), tls: true };
        let start = Instant::now();
        let response = self.chain.call(request, client, Vec::new(), service).await;
        let took = start.elapsed();
        let set = response.headers().get("x-bench");
        let right = match self.entry {
            Entry::Getters | Entry::Static | Entry::Payload | Entry::Burner => {
                set == Some(&HeaderValue::from(n))
            }
            Entry::Next => set.is_none(),
        };
        if right && response.status() == 200 {
            return Ok(took);
        }
        Err(format!("request {n} was answered {} {:?}", response.status(), response.headers()))
    }
}

fn request(n: u64) -> Result<Request<Body>> {
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
    let mut request = Request::get("/bench").body(Body::empty()).map_err(|e| e.to_string())?;
    let headers = request.headers_mut();
    headers.reserve(HEADERS.len() + 1);
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("x-nonce", HeaderValue::from(n));
    Ok(request)
}
