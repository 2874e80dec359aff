//! A server that answers every request with the same 100 bytes, on a thread of its own: what the gateway proxies to.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::load::ANSWER;
use crate::Result;

/// Starts one on a free port; it runs as long as this process.
pub(crate) fn start() -> Result<SocketAddr> {
    let text = |e: std::io::Error| e.to_string();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).map_err(text)?;
    let addr = listener.local_addr().map_err(text)?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
    });
    Ok(addr)
}

/// Requests without bodies, one after another. A head that carries no number is not answered: it is cut off.
async fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{ANSWER}", ANSWER.len());
    let mut head = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut head).await {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let numbered = head.windows(9).any(|bytes| bytes.eq_ignore_ascii_case(b"\nx-nonce:"));
        if !numbered || stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        head.clear();
    }
}
