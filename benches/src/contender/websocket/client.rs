//! The load of the WebSocket rows: a process of its own with many connections, one thread and one epoll.
//!
//! It shares the CPUs with what it measures, so it does as little as a client can: one read and one write for all that a
//! connection has at a time. Every text that comes back is compared with the one that is due.
//!
//! It opens its connections, on each of which a text goes there and back, and says `ready`. Then it does what each line
//! of its input says, and answers with a line of JSON: `echo MS` keeps texts in flight on every connection for so long,
//! `broadcast MS` has one text at a time go to all of them. It ends with its input.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use clap::Parser;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{AddressFamily, SocketType};
use rustix::time::Timespec;
use serde_json::json;

use super::frame::{self, BROADCAST, ECHO, Heard, TEXT};
use crate::case::ns;
use crate::{Result, cpu};

#[derive(Parser)]
struct Args {
    addr: SocketAddr,
    path: String,
    connections: usize,
    /// Texts on their way on each connection, at most [`FLIGHT`].
    flight: u64,
}

/// Most texts on their way on one connection.
const FLIGHT: usize = 64;
/// Connections that share a source address: 127.0.0.2 and so on.
const PER_SOURCE: usize = 1000;
/// Samples of a load; where there are more, every so manyth.
const SAMPLES: usize = 50_000;
/// Nothing that is due takes so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// What stands for the standard input among the connections.
const INPUT: u64 = u64::MAX;

/// The process, with its arguments.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let args = Args::try_parse_from(args).map_err(|e| e.to_string())?;
    let mut client = Client::open(&args)?;
    println!("ready");
    loop {
        client.idle()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(|e| e.to_string())?;
        let began = cpu::own();
        let load = match line.split_whitespace().collect::<Vec<_>>()[..] {
            [] => return Ok(()),
            ["echo", time] => client.echo(millis(time)?, args.flight)?,
            ["broadcast", time] => client.broadcast(millis(time)?)?,
            _ => return Err(format!("{line:?} is nothing it can do")),
        };
        let step = load.samples.len().div_ceil(SAMPLES).max(1);
        let samples: Vec<_> = load.samples.iter().step_by(step).collect();
        let cpu = (cpu::own() - began).as_secs_f64();
        let seconds = load.seconds;
        println!(
            "{}",
            json!({"samples": samples, "answers": load.answers, "seconds": seconds, "cpu": cpu})
        );
    }
}

fn millis(text: &str) -> Result<Duration> {
    text.parse().map(Duration::from_millis).map_err(|e| format!("{text}: {e}"))
}

struct Load {
    /// ns each.
    samples: Vec<u64>,
    /// Texts that came back.
    answers: u64,
    seconds: f64,
}

struct Client {
    epoll: OwnedFd,
    connections: Vec<Connection>,
}

struct Connection {
    index: usize,
    stream: TcpStream,
    /// Texts that went out, and those that came back.
    sent: u64,
    came: u64,
    /// When the latest went out.
    starts: [Instant; FLIGHT],
    /// The beginning of a frame.
    rest: Vec<u8>,
}

impl Client {
    fn open(args: &Args) -> Result<Self> {
        let text = |e: rustix::io::Errno| e.to_string();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(text)?;
        let readable = EventFlags::IN;
        epoll::add(&epoll, io::stdin(), EventData::new_u64(INPUT), readable).map_err(text)?;
        let mut connections = Vec::new();
        for index in 0..args.connections {
            let connection = Connection::open(args, index)
                .map_err(|e| format!("connection {index} of {}: {e}", args.connections))?;
            let data = EventData::new_u64(index as u64);
            epoll::add(&epoll, &connection.stream, data, readable).map_err(text)?;
            connections.push(connection);
        }
        Ok(Self { epoll, connections })
    }

    /// Answers pings until there is something to do.
    fn idle(&mut self) -> Result<()> {
        let unasked = |_: &mut Connection, text: &[u8], _: Instant, _: &mut Vec<u8>| {
            Err(format!("{:?}, which nobody asked for", String::from_utf8_lossy(text)))
        };
        while !self.turn(None, unasked)? {}
        Ok(())
    }

    /// `flight` texts on their way on every connection, for `time`.
    fn echo(&mut self, time: Duration, flight: u64) -> Result<Load> {
        let (mut samples, mut answers) = (Vec::new(), 0);
        let mut out = Vec::new();
        let began = Instant::now();
        for connection in &mut self.connections {
            let now = Instant::now();
            (0..flight).for_each(|_| connection.say(now, &mut out));
            connection.flush(&mut out)?;
        }
        let mut open = flight * self.connections.len() as u64;
        while open > 0 {
            self.turn(Some(PATIENCE), |connection, text, now, out| {
                samples.push(connection.heard(text, now)?);
                answers += 1;
                if now - began < time {
                    connection.say(now, out);
                } else {
                    open -= 1;
                }
                Ok(())
            })?;
        }
        Ok(Load { samples, answers, seconds: began.elapsed().as_secs_f64() })
    }

    /// One text after another that all connections get. A sample is the time until the last has it.
    fn broadcast(&mut self, time: Duration) -> Result<Load> {
        let (mut samples, mut answers) = (Vec::new(), 0);
        let mut out = Vec::new();
        let began = Instant::now();
        let mut start = began;
        while start - began < time {
            let wanted = frame::text(BROADCAST, 0, samples.len() as u64);
            frame::send(&mut out, wanted);
            self.connections[0].flush(&mut out)?;
            let mut missing = vec![true; self.connections.len()];
            let mut open = missing.len();
            while open > 0 {
                self.turn(Some(PATIENCE), |connection, text, _, _| {
                    let first = std::mem::take(&mut missing[connection.index]);
                    if !first || text != wanted {
                        return Err(wrong(text, &wanted));
                    }
                    open -= 1;
                    answers += 1;
                    Ok(())
                })?;
            }
            let now = Instant::now();
            samples.push(ns(now - start));
            start = now;
        }
        Ok(Load { samples, answers, seconds: began.elapsed().as_secs_f64() })
    }

    /// Waits, for `patience`, and takes what has come; whether the standard input has something. `heard` may append to
    /// what its connection sends.
    fn turn(
        &mut self,
        patience: Option<Duration>,
        mut heard: impl FnMut(&mut Connection, &[u8], Instant, &mut Vec<u8>) -> Result<()>,
    ) -> Result<bool> {
        let mut events = Vec::with_capacity(256);
        let timeout = patience.map(|p| Timespec { tv_sec: p.as_secs().cast_signed(), tv_nsec: 0 });
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(0) => return Err(format!("nothing came within {patience:?}")),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(e) => return Err(e.to_string()),
        }
        let mut input = false;
        let mut out = Vec::new();
        for event in &events {
            let data = event.data.u64();
            let connection = usize::try_from(data).ok().and_then(|i| self.connections.get_mut(i));
            match connection {
                Some(connection) => {
                    let index = connection.index;
                    let taken = connection.take(&mut out, &mut heard);
                    taken.map_err(|e| format!("connection {index}: {e}"))?;
                }
                None => input = true,
            }
        }
        Ok(input)
    }
}

impl Connection {
    /// One that has had its first text back.
    fn open(args: &Args, index: usize) -> Result<Self> {
        let text = |e: io::Error| e.to_string();
        let stream = connect(args.addr, index / PER_SOURCE)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
        let (starts, rest) = ([Instant::now(); FLIGHT], Vec::new());
        let mut connection = Self { index, stream, sent: 0, came: 0, starts, rest };
        connection.upgrade(args)?;
        let mut out = Vec::new();
        connection.say(Instant::now(), &mut out);
        connection.flush(&mut out)?;
        while connection.came < connection.sent {
            connection.take(&mut out, &mut |connection, text, now, _| {
                connection.heard(text, now).map(drop)
            })?;
        }
        connection.stream.set_nonblocking(true).map_err(text)?;
        Ok(connection)
    }

    /// What a browser asks, with the key of RFC 6455 1.3.
    fn upgrade(&mut self, args: &Args) -> Result<()> {
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\npragma: no-cache\r\n\
             cache-control: no-cache\r\n\
             user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
             upgrade: websocket\r\norigin: http://{}\r\nsec-websocket-version: 13\r\n\
             accept-encoding: gzip, deflate, br\r\naccept-language: en-GB,en;q=0.7,de;q=0.3\r\n\
             cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            args.path, args.addr, args.addr
        );
        self.stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the connection was cut".into()),
                Ok(read) => head.extend_from_slice(&buffer[..read]),
                Err(e) => return Err(format!("no answer to the upgrade: {e}")),
            }
        }
        let head = String::from_utf8_lossy(&head);
        let accepted = head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let switched = head.starts_with("HTTP/1.1 101 ") && accepted;
        if switched { Ok(()) } else { Err(format!("no WebSocket: {head}")) }
    }

    /// Appends the next text.
    fn say(&mut self, now: Instant, out: &mut Vec<u8>) {
        frame::send(out, frame::text(ECHO, self.index, self.sent));
        self.starts[place(self.sent)] = now;
        self.sent += 1;
    }

    /// Holds a text to the one that is due, and gives its time.
    fn heard(&mut self, text: &[u8], now: Instant) -> Result<u64> {
        let wanted = frame::text(ECHO, self.index, self.came);
        if text != wanted {
            return Err(wrong(text, &wanted));
        }
        let start = self.starts[place(self.came)];
        self.came += 1;
        Ok(ns(now - start))
    }

    /// Writes all of `out`; it is far less than a socket takes.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let written = (&self.stream).write(out).map_err(|e| e.to_string())?;
        if written < out.len() {
            return Err(format!("{written} of {} bytes were taken", out.len()));
        }
        out.clear();
        Ok(())
    }

    /// Reads once, gives every text to `heard`, and sends what came of them.
    fn take(
        &mut self,
        out: &mut Vec<u8>,
        heard: &mut impl FnMut(&mut Self, &[u8], Instant, &mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let mut buffer = [0; (TEXT + 2) * FLIGHT];
        let read = match (&self.stream).read(&mut buffer) {
            Ok(0) => return Err("the connection was cut".into()),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.to_string()),
        };
        let now = Instant::now();
        let mut whole = std::mem::take(&mut self.rest);
        let mut bytes = &buffer[..read];
        if !whole.is_empty() {
            whole.extend_from_slice(bytes);
            bytes = &whole;
        }
        while let Some((what, rest)) = frame::heard(bytes)? {
            match what {
                Heard::Text(text) => heard(self, text, now, out)?,
                Heard::Ping(payload) => frame::pong(out, payload),
            }
            bytes = rest;
        }
        self.rest = bytes.to_vec();
        if out.is_empty() { Ok(()) } else { self.flush(out) }
    }
}

fn place(count: u64) -> usize {
    usize::try_from(count).unwrap_or(0) % FLIGHT
}

fn wrong(text: &[u8], wanted: &[u8]) -> String {
    let [text, wanted] = [text, wanted].map(String::from_utf8_lossy);
    format!("{text:?} came, {wanted:?} was due")
}

/// A connection from the loopback address of that number.
fn connect(addr: SocketAddr, source: usize) -> Result<TcpStream> {
    let text = |e: rustix::io::Errno| e.to_string();
    let socket =
        rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).map_err(text)?;
    let last = u8::try_from(2 + source).map_err(|_| "too many connections")?;
    let source = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0);
    rustix::net::bind(&socket, &source).map_err(text)?;
    rustix::net::connect(&socket, &addr).map_err(text)?;
    Ok(socket.into())
}
