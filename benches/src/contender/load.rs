//! The load of the gateway rows: connections that each send a request and read its answer, closed or open loop.
//!
//! It shares the CPUs with what it measures, so it does as little as a client can: the request is bytes made once, of
//! an answer only what says that it is the right one is looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use crate::Result;
use crate::case::ns;
use crate::timer::Timer;

/// The body of every answer: 100 bytes.
pub(crate) const ANSWER: &str = "The quick brown fox jumps over the lazy dog, then sleeps until \
                                 the next request wakes it up again..\n";

/// What is asked, and what the answer must have.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) path: String,
    /// The plugins that stamp the answer: `x-bench-1: NUMBER` and so on.
    pub(crate) plugins: usize,
}

/// What a load gave: the time of each request in ns, and how long all of it took.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) samples: Vec<u64>,
    pub(crate) seconds: f64,
}

impl Target {
    /// One request on a connection of its own.
    pub(crate) async fn once(&self) -> Result<()> {
        Connection::open(self.clone(), 0).await?.exchange().await
    }

    /// `connections` that each send their next request when the last is answered, for `time`.
    pub(crate) async fn closed(&self, connections: usize, time: Duration) -> Result<Load> {
        let open = self.connect(connections).await?;
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for mut connection in open {
            tasks.spawn(async move {
                let mut samples = Vec::new();
                let mut start = began;
                while start - began < time {
                    connection.exchange().await?;
                    let now = Instant::now();
                    samples.push(ns(now - start));
                    start = now;
                }
                Ok::<_, String>(samples)
            });
        }
        let mut load = Load::default();
        while let Some(done) = tasks.join_next().await {
            load.samples.extend(done.map_err(|e| e.to_string())??);
        }
        load.seconds = began.elapsed().as_secs_f64();
        Ok(load)
    }

    /// `rate` requests a second on a schedule, each counted from when it was due, whatever became of those before.
    pub(crate) async fn open(&self, connections: usize, rate: f64, time: Duration) -> Result<Load> {
        let idle = Arc::new(Mutex::new(self.connect(connections).await?));
        let places = Arc::new(Semaphore::new(connections));
        let timer = Timer::new()?;
        let gap = Duration::from_secs_f64(1.0 / rate.max(1.0));
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        let mut due = began;
        while due - began < time {
            timer.until(due).await?;
            let (idle, places) = (idle.clone(), places.clone());
            tasks.spawn(async move {
                let _place = places.acquire_owned().await.map_err(|e| e.to_string())?;
                let connection = idle.lock().await.pop();
                let mut connection = connection.ok_or("a place without a connection")?;
                connection.exchange().await?;
                idle.lock().await.push(connection);
                Ok::<_, String>(ns(due.elapsed()))
            });
            due += gap;
        }
        let mut load = Load::default();
        while let Some(done) = tasks.join_next().await {
            load.samples.push(done.map_err(|e| e.to_string())??);
        }
        load.seconds = began.elapsed().as_secs_f64();
        Ok(load)
    }

    /// Connections that have had their first answer.
    async fn connect(&self, connections: usize) -> Result<Vec<Connection>> {
        let mut open = Vec::new();
        for i in 0..connections {
            let mut connection = Connection::open(self.clone(), i).await?;
            connection.exchange().await?;
            open.push(connection);
        }
        Ok(open)
    }
}

/// A connection and its next number.
struct Connection {
    stream: TcpStream,
    target: Target,
    number: usize,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// Digits of a number on the wire.
const DIGITS: usize = 16;

impl Connection {
    /// Connection `index` of a load: no two use the same numbers.
    async fn open(target: Target, index: usize) -> Result<Self> {
        let stream = TcpStream::connect(target.addr).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: 127.0.0.1\r\n\
             user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
             accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
             accept-language: en-GB,en;q=0.7,de;q=0.3\r\naccept-encoding: gzip, deflate, br\r\n\
             cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
             x-nonce: {:0DIGITS$}\r\n\r\n",
            target.path, 0
        );
        let (request, answer) = (request.into_bytes(), Vec::with_capacity(1024));
        Ok(Self { stream, target, number: index * 1_000_000_000, request, answer })
    }

    /// One request and its whole answer.
    async fn exchange(&mut self) -> Result<()> {
        self.number += 1;
        let digits = format!("{:0DIGITS$}", self.number);
        let end = self.request.len() - 4;
        self.request[end - DIGITS..end].copy_from_slice(digits.as_bytes());
        self.stream.write_all(&self.request).await.map_err(|e| e.to_string())?;
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await.map_err(|e| e.to_string())?;
            if let Some(right) = self.whole(&digits) {
                return right;
            }
            if read == 0 {
                return Err("the connection was cut".into());
            }
        }
    }

    /// Whether the answer is there, and right.
    fn whole(&self, digits: &str) -> Option<Result<()>> {
        let end = self.answer.windows(4).position(|w| w == b"\r\n\r\n")?;
        let (head, body) = (&self.answer[..end + 2], &self.answer[end + 4..]);
        let head = String::from_utf8_lossy(head);
        let wrong =
            |why: &str| Some(Err(format!("{why}: {head}{}", String::from_utf8_lossy(body))));
        if !head.starts_with("HTTP/1.1 200 ") {
            return wrong("not a 200");
        }
        if body.len() < ANSWER.len() {
            return None;
        }
        if body != ANSWER.as_bytes() {
            return wrong("another body");
        }
        let stamped = (1..=self.target.plugins)
            .all(|i| head.contains(&format!("\r\nx-bench-{i}: {digits}\r\n")));
        let stamps = head.matches("\r\nx-bench-").count();
        if stamped && stamps == self.target.plugins { Some(Ok(())) } else { wrong("other stamps") }
    }
}
