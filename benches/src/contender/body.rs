//! A body there and back: the plugin reads it with RawBody and answers with it changed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use nylon_host::{Body, Chain, Client};

use super::pipe::stamp;
use super::sessions::Sessions;
use crate::Result;
use crate::case::{Case, Round, Taken, ns};
use crate::env::Env;

/// Calls before the first sample of a round.
const WARM_UP: usize = 5;
/// The plugin adds one to the first byte of each page but the first, and inverts the numbers at both ends.
const PAGE: usize = 4096;

pub(crate) struct BodyEcho {
    all: Rc<Sessions>,
    plugin: &'static str,
    chain: Arc<Chain>,
    size: usize,
    count: u64,
}

impl BodyEcho {
    /// Bodies of `size` bytes, a multiple of a page; `plugin` is one of the policies in [`super::sessions`].
    pub(crate) fn start(env: &Env, plugin: &'static str, size: usize) -> Result<Self> {
        let all = env.sessions()?;
        let chain = all.service(plugin, "body")?;
        Ok(Self { all, plugin, chain, size, count: 0 })
    }
}

impl Case for BodyEcho {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let before = self.all.status(self.plugin);
        let calls = self.all.runtime.spawn(take(*round, self.chain.clone(), self.size, self.count));
        let taken = self.all.runtime.block_on(calls).map_err(|e| e.to_string())??;
        self.all.audit(self.plugin, &before, taken.calls)?;
        self.count += taken.calls;
        Ok(taken)
    }

    fn cpu(&self) -> Duration {
        self.all.cpu(self.plugin)
    }
}

async fn take(round: Round, chain: Arc<Chain>, size: usize, mut n: u64) -> Result<Taken> {
    let mut taken = Taken::default();
    for _ in 0..WARM_UP {
        n += 1;
        call(&chain, size, n).await?;
        taken.calls += 1;
    }
    let began = Instant::now();
    while round.goes_on(&taken, began) {
        n += 1;
        taken.samples.push(ns(call(&chain, size, n).await?));
        taken.calls += 1;
    }
    Ok(taken)
}

/// The time from the call to the last piece of the answer. Making the body and comparing the answer are outside.
async fn call(chain: &Arc<Chain>, size: usize, n: u64) -> Result<Duration> {
    let mut body: Vec<u8> = (0..size).map(|i| i.to_le_bytes()[0]).collect();
    stamp(&mut body, n);
    let mut wanted = body.clone();
    wanted[PAGE..size - 8].iter_mut().step_by(PAGE).for_each(|byte| *byte = byte.wrapping_add(1));
    stamp(&mut wanted, !n);
    let request = Request::post("/bench").header("content-length", size);
    let request = request.body(Body::from(Bytes::from(body))).map_err(|e| e.to_string())?;
    let service = async |_| Ok(Response::new(Body::empty()));
    let client = Client { ip: [127, 0, 0, 1].into(), tls: true };
    let mut pieces = Vec::new();
    let start = Instant::now();
    let mut response = chain.call(request, client, Vec::new(), service).await;
    while let Some(frame) = response.body_mut().frame().await {
        let piece = frame.map_err(|e| format!("body {n}: {e}"))?.into_data();
        pieces.extend(piece);
    }
    let took = start.elapsed();
    if response.status() == 200 && pieces.concat() == wanted {
        return Ok(took);
    }
    let got: usize = pieces.iter().map(Bytes::len).sum();
    Err(format!("body {n} came back as {got} other bytes, {}", response.status()))
}
