use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::super::frame::Kind;
use super::*;

const LIMITS: SocketLimits = SocketLimits { max_message: 1 << 20, max_frame: 1 << 20 };

/// A socket and its client, with room for so many bytes between them.
fn pair(room: usize) -> (Socket, DuplexStream) {
    let (ours, theirs) = duplex(room);
    (Socket::new(Either::Right(Box::new(ours)), Bytes::new(), &LIMITS), theirs)
}

/// A client's frame of at most 125 bytes.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [9, 8, 7, 6];
    let len = 0x80 | u8::try_from(payload.len()).expect("a short one");
    let payload = payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]);
    [first, len].into_iter().chain(mask).chain(payload).collect()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), what).await.expect("it hangs")
}

async fn read(socket: &mut Socket) -> Result<Incoming, Broken> {
    soon(poll_fn(|cx| socket.poll_read(cx))).await
}

async fn flush(socket: &mut Socket) {
    soon(poll_fn(|cx| socket.poll_flush(cx))).await.expect("flushed");
}

/// Finishes a socket, whose client reads to the end and leaves: what it has read.
async fn finish(mut socket: Socket, mut client: DuplexStream) -> Vec<(u8, Vec<u8>)> {
    let reads = async move { rest(&mut client).await };
    tokio::join!(reads, soon(poll_fn(|cx| socket.poll_finish(cx)))).0
}

fn sent<const N: usize>(frames: [(u8, &[u8]); N]) -> Vec<(u8, Vec<u8>)> {
    frames.map(|(first, payload)| (first, payload.to_vec())).into()
}

/// Polls once: whether it is done.
fn once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> bool {
    poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
}

/// The frames in what the server sent: first byte and payload of each.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, len, rest @ ..] = bytes {
        let (size, len) = match len {
            126 => (2, usize::from(u16::from_be_bytes(rest[..2].try_into().expect("two")))),
            127 => (
                8,
                usize::try_from(u64::from_be_bytes(rest[..8].try_into().expect("8")))
                    .expect("fits"),
            ),
            n => (0, usize::from(*n)),
        };
        frames.push((*first, rest[size..][..len].to_vec()));
        bytes = &rest[size + len..];
    }
    frames
}

/// Everything the server says until it ends.
async fn rest(client: &mut DuplexStream) -> Vec<(u8, Vec<u8>)> {
    let mut bytes = Vec::new();
    soon(client.read_to_end(&mut bytes)).await.expect("to the end");
    frames(&bytes)
}

fn said(code: u16, reason: &str) -> Closing {
    Closing { code: Some(code), reason: reason.into() }
}

#[test]
fn an_idle_socket_is_small() {
    assert!(size_of::<Socket>() <= 512, "{}", size_of::<Socket>());
}

#[tokio::test]
async fn a_ping_between_fragments_is_answered_at_once() {
    let (mut socket, mut client) = pair(1000);
    let bytes = [masked(0x01, b"two "), masked(0x89, b"hi"), masked(0x80, b"parts")].concat();
    client.write_all(&bytes).await.expect("written");
    assert_eq!(read(&mut socket).await, Ok(Incoming::Ping));
    flush(&mut socket).await;
    assert_eq!(read(&mut socket).await, Ok(Incoming::Text("two parts".into())));
    socket.push(frame::message(Kind::Text, b"two parts"));
    socket.ping(b"you?");
    socket.close(Some(&said(1001, "going")));
    client.write_all(&masked(0x88, b"\x03\xe9")).await.expect("written");
    let expected =
        sent([(0x8a, b"hi"), (0x89, b"you?"), (0x81, b"two parts"), (0x88, b"\x03\xe9going")]);
    assert_eq!(finish(socket, client).await, expected);
}

#[tokio::test]
async fn the_answer_to_a_close_waits_for_what_came_before() {
    let (mut socket, mut client) = pair(1000);
    let bytes = [masked(0x82, b"last"), masked(0x88, b"\x0f\xa1done"), masked(0x82, b"late")];
    client.write_all(&bytes.concat()).await.expect("written");
    assert_eq!(read(&mut socket).await, Ok(Incoming::Binary("last".into())));
    assert_eq!(read(&mut socket).await, Ok(Incoming::Close(said(4001, "done"))));
    assert!(!once(|cx| socket.poll_read(cx)), "nothing comes after a close");
    flush(&mut socket).await;
    socket.push(frame::message(Kind::Binary, b"last"));
    socket.close(Some(&said(1000, "what the plugin says now is too late")));
    socket.push(frame::message(Kind::Binary, b"after"));
    socket.ping(b"after");
    let expected = sent([(0x82, b"last"), (0x88, b"\x0f\xa1done")]);
    assert_eq!(finish(socket, client).await, expected);
}

#[tokio::test]
async fn a_close_says_what_may_be_said() {
    for (closing, payload) in [
        (None, &b""[..]),
        (Some(Closing::default()), b""),
        (Some(said(1000, "")), b"\x03\xe8"),
        (Some(said(4999, "x")), b"\x13\x87x"),
        (Some(said(1005, "")), b"\x03\xf3"),
        (Some(said(1006, "")), b"\x03\xf3"),
        (Some(said(70, "x")), b"\x03\xf3x"),
    ] {
        let (mut socket, client) = pair(1000);
        socket.close(closing.as_ref());
        socket.close(None);
        assert!(!once(|cx| socket.poll_finish(cx)), "the client has not closed");
        let (mut theirs, mut client) = tokio::io::split(client);
        client.write_all(&masked(0x81, b"still here")).await.expect("written");
        client.write_all(&masked(0x89, b"answer me")).await.expect("written");
        assert!(!once(|cx| socket.poll_finish(cx)), "messages are no close");
        client.write_all(&masked(0x88, b"")).await.expect("written");
        let reads = async {
            let mut bytes = Vec::new();
            soon(theirs.read_to_end(&mut bytes)).await.expect("the server ends first");
            drop((theirs, client));
            frames(&bytes)
        };
        let (frames, ()) = tokio::join!(reads, soon(poll_fn(|cx| socket.poll_finish(cx))));
        assert_eq!(
            frames,
            sent([(0x88, payload)]),
            "{closing:?}: one close, and no pong behind it"
        );
    }
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_behind_what_waits() {
    for (bytes, code) in [
        (vec![0x81, 1, b'x'], 1002),
        (masked(0xc1, b""), 1002),
        (masked(0x80, b""), 1002),
        (masked(0x81, b"\xff"), 1007),
        (vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0], 1009),
    ] {
        let (mut socket, mut client) = pair(1000);
        socket.push(frame::message(Kind::Text, b"before"));
        client.write_all(&bytes).await.expect("written");
        let broken = read(&mut socket).await.expect_err("broken");
        assert_eq!(broken.closing.code, Some(code));
        assert!(broken.error.is_some());
        socket.close(None);
        let told = finish(socket, client).await;
        assert_eq!(told[0], (0x81, b"before".to_vec()));
        assert_eq!((told[1].0, &told[1].1[..2]), (0x88, &u16::to_be_bytes(code)[..]));
        assert_eq!(&told[1].1[2..], broken.closing.reason.as_bytes());
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_told_nothing() {
    let (mut socket, mut client) = pair(1000);
    client.write_all(&masked(0x81, b"half a frame")[..9]).await.expect("written");
    client.shutdown().await.expect("shut");
    let gone = Broken { closing: said(1006, ""), error: None };
    assert_eq!(read(&mut socket).await, Err(gone));
    assert_eq!(socket.received(), 9);
    socket.push(frame::message(Kind::Text, b"it may still read"));
    socket.close(Some(&said(1000, "")));
    assert_eq!(finish(socket, client).await, sent([(0x81, b"it may still read")]));
}

/// Room for a few bytes at a time: every frame is half written again and again.
#[tokio::test]
async fn nothing_comes_inside_a_frame_of_a_slow_reader() {
    let (mut socket, client) = pair(7);
    let (mut theirs, mut ours) = tokio::io::split(client);
    let big = vec![b'x'; 300];
    socket.push(frame::message(Kind::Binary, &big));
    assert!(!once(|cx| socket.poll_flush(cx)), "half a frame is out");
    let asks = async {
        for n in 0..40_u8 {
            ours.write_all(&masked(0x89, &[n])).await.expect("written");
        }
    };
    let mut pings = 0;
    let answers = poll_fn(|cx| {
        while let Poll::Ready(said) = socket.poll_read(cx) {
            assert_eq!(said, Ok(Incoming::Ping));
            pings += 1;
        }
        if pings == 40 { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::join!(asks, soon(answers));
    socket.push(frame::message(Kind::Text, b"behind"));
    let mut bytes = Vec::new();
    let reads = async {
        let mut piece = [0; 5];
        while !bytes.ends_with(b"behind") {
            let count = theirs.read(&mut piece).await.expect("more");
            bytes.extend(&piece[..count]);
        }
    };
    tokio::join!(soon(reads), flush(&mut socket));
    let frames = frames(&bytes);
    assert_eq!(frames[0], (0x82, big));
    assert_eq!(frames.last(), Some(&(0x81, b"behind".to_vec())));
    let pongs: Vec<_> = frames[1..frames.len() - 1].iter().map(|(_, payload)| payload[0]).collect();
    assert!(frames[1..frames.len() - 1].iter().all(|(first, _)| *first == 0x8a));
    assert_eq!(pongs.last(), Some(&39), "the latest is answered, whatever waited");
    assert!(pongs.is_sorted() && pongs.len() <= 17, "{pongs:?}");
}

#[tokio::test]
async fn no_more_is_wanted_while_64_kib_wait() {
    let (mut socket, mut client) = pair(1 << 20);
    let shared = frame::message(Kind::Binary, &[1; 1000]);
    let mut count = 0;
    while socket.wants_more() {
        socket.push(shared.clone());
        count += 1;
    }
    assert_eq!(count, (64_usize << 10).div_ceil(1004 + size_of::<Bytes>()));
    flush(&mut socket).await;
    assert!(socket.wants_more());
    socket.close(None);
    client.write_all(&masked(0x88, b"")).await.expect("written");
    let mut got = finish(socket, client).await;
    assert_eq!(got.pop(), Some((0x88, vec![])));
    assert_eq!(got, vec![(0x82, vec![1; 1000]); count]);

    let (mut socket, _client) = pair(1);
    let tiny = frame::message(Kind::Text, b"");
    let mut count = 0;
    while socket.wants_more() {
        socket.push(tiny.clone());
        count += 1;
    }
    assert!(count < 2000, "places count as well: {count}");
}

/// The whole way: hyper's upgrade with messages that follow the request at once, the handshake, the socket.
#[tokio::test]
async fn a_socket_over_a_real_connection() {
    use hyper::body::Incoming as Body;
    use hyper::service::service_fn;
    use hyper::{Request, Response};

    use super::super::Origins;
    use super::super::handshake::Offer;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let (done, ended) = tokio::sync::oneshot::channel();
    let done = std::sync::Mutex::new(Some(done));
    let serve = async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let service = service_fn(move |mut request: Request<Body>| {
            let offer = Offer::of(&request).expect("asks");
            offer.check(&Origins::default()).expect("right");
            let upgrade = hyper::upgrade::on(&mut request);
            let done = done.lock().expect("unpoisoned").take().expect("one request");
            tokio::spawn(async move {
                let mut socket = Socket::over(upgrade.await.expect("upgraded"), &LIMITS);
                assert!(matches!(socket.io, Either::Left(_)), "no box for TCP");
                while let Ok(Incoming::Text(text)) = read(&mut socket).await {
                    socket.push(frame::message(Kind::Text, &text));
                    flush(&mut socket).await;
                }
                socket.close(None);
                soon(poll_fn(|cx| socket.poll_finish(cx))).await;
                let _ = done.send(());
            });
            let (head, _) = offer.accept(hyper::HeaderMap::new());
            let response = head.map(|()| http_body_util::Empty::<Bytes>::new());
            async { Ok::<Response<_>, std::convert::Infallible>(response) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        connection.await.expect("served");
    };
    let ask = async {
        let mut client = TcpStream::connect(addr).await.expect("connected");
        let mut bytes =
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .to_vec();
        bytes.extend(masked(0x81, b"early"));
        client.write_all(&bytes).await.expect("written");
        client.write_all(&masked(0x81, b"more")).await.expect("written");
        client.write_all(&masked(0x88, b"\x03\xe8")).await.expect("written");
        let mut answer = Vec::new();
        soon(client.read_to_end(&mut answer)).await.expect("to the end");
        answer
    };
    let ((), answer) = tokio::join!(serve, ask);
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let text = std::str::from_utf8(&answer[..head]).expect("text");
    assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{text}");
    assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
    let expected = sent([(0x81, b"early"), (0x81, b"more"), (0x88, b"\x03\xe8")]);
    assert_eq!(frames(&answer[head..]), expected);
    soon(ended).await.expect("the server ends as well");
}
