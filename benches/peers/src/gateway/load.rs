//! Those who ask: so many connections, each with one request at a time, from one thread.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Result;

/// What a round gave.
pub(crate) struct Taken {
    /// Of each request, ns.
    pub(crate) samples: Vec<u64>,
    pub(crate) time: Duration,
}

/// A request as a browser sends it, with a number of its own in the header the plugin copies.
const HEAD: &str = "GET /bench HTTP/1.1\r\nhost: shop.example\r\n\
user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
accept-language: en-GB,en;q=0.7,de;q=0.3\r\naccept-encoding: gzip, deflate, br\r\n\
referer: https://shop.example/catalogue?page=3\r\n\
cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
x-request-id: 01980000-0000-7000-8000-000000000000\r\ncache-control: no-cache\r\n\
x-forwarded-proto: https\r\nx-nonce: ";

/// Asks for `time`; `plugged`: a plugin must have set its headers.
pub(crate) fn run(port: u16, connections: usize, time: Duration, plugged: bool) -> Result<Taken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(async {
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        for n in 0..connections {
            tasks.spawn(one(port, n, start + time, plugged));
        }
        let mut samples = Vec::new();
        while let Some(done) = tasks.join_next().await {
            samples.extend(done.map_err(|e| e.to_string())??);
        }
        Ok(Taken { samples, time: start.elapsed() })
    })
}

/// One connection, until `end`.
async fn one(port: u16, connection: usize, end: Instant, plugged: bool) -> Result<Vec<u64>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let mut samples = Vec::new();
    let mut buffer = Vec::new();
    while Instant::now() < end {
        let nonce = format!("{connection}-{}", samples.len());
        let request = format!("{HEAD}{nonce}\r\n\r\n");
        let start = Instant::now();
        stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
        answer(&mut stream, &mut buffer).await?;
        samples.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let text = String::from_utf8_lossy(&buffer);
        let set = text.contains(&format!("x-bench: {nonce}\r\n"))
            && text.contains("x-content: text/plain\r\n");
        if !text.starts_with("HTTP/1.1 200 ") || (plugged && !set) {
            return Err(format!("{nonce} was answered {text}"));
        }
    }
    Ok(samples)
}

/// Reads one answer, whose body is that of [`super::serve`].
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await.map_err(|e| e.to_string())? == 0 {
            return Err("the gateway closed the connection".into());
        }
        if buffer.ends_with(super::serve::BODY.as_bytes()) {
            return Ok(());
        }
    }
}
