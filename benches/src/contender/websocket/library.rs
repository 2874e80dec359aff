//! The same without Nylon: a process that echoes with tokio-tungstenite, on the gateway's kind of runtime.

use std::io;
use std::net::SocketAddr;

use clap::{Parser, ValueEnum};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::frame::BROADCAST;
use crate::Result;

#[derive(Parser)]
struct Args {
    addr: SocketAddr,
    threads: usize,
    manner: Manner,
}

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manner {
    /// Each text by a `send` of its own.
    Echo,
    /// Texts that came together leave together, as in the library's example of an echo.
    Forward,
    /// As `echo`, but that some texts go to everybody.
    Room,
}

/// Texts that may wait for a member of the room.
const ROOM: usize = 1024;

/// The process, with its arguments; it ends with its input.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let Args { addr, threads, manner } = Args::try_parse_from(args).map_err(|e| e.to_string())?;
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let listener = runtime.block_on(TcpListener::bind(addr)).map_err(|e| e.to_string())?;
    runtime.spawn(accept(listener, manner));
    println!("ready");
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop).map_err(|e| e.to_string())
}

async fn accept(listener: TcpListener, manner: Manner) {
    let (room, _) = broadcast::channel(ROOM);
    while let Ok((stream, _)) = listener.accept().await {
        let room = room.clone();
        tokio::spawn(async move {
            // A client that goes ends its connection with an error; one that misses something says so.
            let _ = serve(stream, manner, room).await;
        });
    }
}

type Room = broadcast::Sender<Message>;

async fn serve(stream: TcpStream, manner: Manner, room: Room) -> std::result::Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut socket = accept_async(stream).await?;
    match manner {
        Manner::Echo => {
            while let Some(message) = socket.next().await {
                socket.send(message?).await?;
            }
            Ok(())
        }
        Manner::Forward => {
            let (write, read) = socket.split();
            read.forward(write).await
        }
        Manner::Room => member(socket, room).await,
    }
}

async fn member(
    mut socket: WebSocketStream<TcpStream>,
    room: Room,
) -> std::result::Result<(), Error> {
    let mut heard = room.subscribe();
    loop {
        let message = tokio::select! {
            message = socket.next() => match message {
                Some(message) => message?,
                None => return Ok(()),
            },
            message = heard.recv() => match message {
                Ok(message) => {
                    socket.send(message).await?;
                    continue;
                }
                Err(_) => return Ok(()),
            },
        };
        if message.to_text()?.as_bytes().first() == Some(&BROADCAST) {
            let _ = room.send(message);
        } else {
            socket.send(message).await?;
        }
    }
}
