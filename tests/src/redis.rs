//! A redis-server of a test's own, and a wire to it that breaks.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Temp, ports, watchdog};

/// A redis-server that writes nothing down: when it starts anew it is empty.
#[derive(Debug)]
pub struct Redis {
    addr: SocketAddr,
    args: Vec<String>,
    dir: Temp,
    child: Option<Child>,
}

impl Redis {
    /// Starts one, with `args` beside its own. None, and a word of it, where there is none to start.
    pub fn start(args: &[&str]) -> Option<Redis> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            let name = std::thread::current().name().unwrap_or("a test").to_owned();
            println!("NOT TESTED: {name}, for want of redis-server (apt-get install redis-server)");
            return None;
        }
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut redis = Redis { addr: ports::free(), args, dir: Temp::new(), child: None };
        redis.restart();
        Some(redis)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Kills it, as a machine does that goes down.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            watchdog::ended(child.id());
        }
    }

    /// Kills it if it runs, and starts it at the same address; it answers when this is done.
    pub fn restart(&mut self) {
        self.kill();
        let port = self.addr.port().to_string();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
        ]);
        command.arg(self.dir.path()).args(&self.args).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("redis-server starts");
        watchdog::started(child.id());
        self.child = Some(child);
        let end = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(self.addr).is_err() {
            assert!(Instant::now() < end, "redis-server does not listen on {}", self.addr);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a command on a connection of its own. The answer, a list with spaces between its items.
    pub fn ask(&self, words: &[&[u8]]) -> String {
        let mut stream = std::net::TcpStream::connect(self.addr).expect("redis listens");
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        stream.write_all(&command).expect("redis takes a command");
        answer(&mut BufReader::new(stream))
    }

    /// [`Redis::ask`] with words of text.
    pub fn say(&self, words: &[&str]) -> String {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        self.ask(&words)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn answer(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("redis answers");
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).expect("redis answers");
    match kind {
        "$" => {
            let Ok(len) = rest.parse::<usize>() else { return String::new() };
            let mut bytes = vec![0; len + 2];
            reader.read_exact(&mut bytes).expect("redis says all of it");
            bytes.truncate(len);
            String::from_utf8_lossy(&bytes).into_owned()
        }
        "*" => {
            let count = rest.parse().unwrap_or(0);
            (0..count).map(|_| answer(reader)).collect::<Vec<_>>().join(" ")
        }
        _ => rest.to_owned(),
    }
}

/// A wire between a client and a server: what goes in comes out, until something happens to it.
#[derive(Debug)]
pub struct Wire {
    addr: SocketAddr,
    fate: watch::Sender<Fate>,
    task: JoinHandle<()>,
}

/// What has happened to the connections so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Fate {
    reset: u32,
    hushed: u32,
}

impl Wire {
    /// A wire to `to`.
    pub async fn to(to: SocketAddr) -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (fate, watched) = watch::channel(Fate::default());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, to, watched.clone()));
            }
        });
        Wire { addr, fate, task }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends all connections with RST. Returns how many there were.
    pub fn reset(&self) -> usize {
        // First: they go as soon as they hear of it.
        let count = self.fate.receiver_count() - 1;
        self.fate.send_modify(|fate| fate.reset += 1);
        count
    }

    /// From now on nothing passes on the connections there are, for ever; they stay open. Returns how many there were.
    pub fn hush(&self) -> usize {
        // First: they go as soon as they hear of it.
        let count = self.fate.receiver_count() - 1;
        self.fate.send_modify(|fate| fate.hushed += 1);
        count
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, to: SocketAddr, mut fate: watch::Receiver<Fate>) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let first = *fate.borrow_and_update();
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        _ = fate.changed() => {}
    }
    if fate.borrow().reset == first.reset {
        let _ = fate.wait_for(|fate| fate.reset != first.reset).await;
    }
    for end in [&client, &server] {
        let _ = rustix::net::sockopt::set_socket_linger(end, Some(Duration::ZERO));
    }
}
