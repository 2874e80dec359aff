//! A body there and back: the plugin reads it with RawBody and answers with it changed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
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
    calls: Calls,
}

impl BodyEcho {
    /// Bodies of `size` bytes, a multiple of a page; `plugin` is one of the policies in [`super::sessions`].
    pub(crate) fn start(env: &Env, plugin: &'static str, size: usize) -> Result<Self> {
        let all = env.sessions()?;
        let calls = Calls::new(all.service(plugin, "body")?, size);
        Ok(Self { all, plugin, calls })
    }
}

impl Case for BodyEcho {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let before = self.all.status(self.plugin);
        let (round, mut calls) = (*round, self.calls.clone());
        let taken = self.all.runtime.spawn(async move {
            let taken = calls.take(round).await?;
            Ok::<_, String>((taken, calls))
        });
        let (taken, calls) = self.all.runtime.block_on(taken).map_err(|e| e.to_string())??;
        self.all.audit(self.plugin, &before, taken.calls)?;
        self.calls = calls;
        Ok(taken)
    }

    fn cpu(&self) -> Duration {
        self.all.cpu(self.plugin)
    }
}

/// What a task needs to call it: the body of the next request, and what is to come back.
#[derive(Clone)]
struct Calls {
    chain: Arc<Chain>,
    /// The same memory for each request: fresh memory is no cost of the way there and back.
    sent: Bytes,
    wanted: Vec<u8>,
    count: u64,
}

impl Calls {
    fn new(chain: Arc<Chain>, size: usize) -> Self {
        let sent: Vec<u8> = (0..size).map(|i| i.to_le_bytes()[0]).collect();
        let mut wanted = sent.clone();
        let changed = wanted[PAGE..size - 8].iter_mut().step_by(PAGE);
        changed.for_each(|byte| *byte = byte.wrapping_add(1));
        Self { chain, sent: sent.into(), wanted, count: 0 }
    }

    async fn take(&mut self, round: Round) -> Result<Taken> {
        let mut taken = Taken::default();
        for _ in 0..WARM_UP {
            self.call().await?;
            taken.calls += 1;
        }
        let began = Instant::now();
        while round.goes_on(&taken, began) {
            taken.samples.push(ns(self.call().await?));
            taken.calls += 1;
        }
        Ok(taken)
    }

    /// The time from the call to the last piece of the answer. Making the body and comparing the answer are outside.
    async fn call(&mut self) -> Result<Duration> {
        self.count += 1;
        let mut sent = BytesMut::from(std::mem::take(&mut self.sent));
        stamp(&mut sent, self.count);
        self.sent = sent.freeze();
        stamp(&mut self.wanted, !self.count);
        let request = Request::post("/bench").header("content-length", self.sent.len());
        let request = request.body(Body::from(self.sent.clone())).map_err(|e| e.to_string())?;
        let service = async |_| Ok(Response::new(Body::empty()));
        let client = Client { ip: [127, 0, 0, 1].into(), tls: true };
        let mut pieces = Vec::new();
        let start = Instant::now();
        let mut response = self.chain.call(request, client, Vec::new(), service).await;
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|e| format!("body {}: {e}", self.count))?;
            pieces.extend(frame.into_data());
        }
        let took = start.elapsed();
        let mut rest = self.wanted.as_slice();
        let mut same = |piece: &Bytes| match rest.split_at_checked(piece.len()) {
            Some((due, after)) => {
                rest = after;
                due == piece
            }
            None => false,
        };
        if response.status() == 200 && pieces.iter().all(&mut same) && rest.is_empty() {
            return Ok(took);
        }
        Err(format!("body {} came back as other bytes, {}", self.count, response.status()))
    }
}
