//! A conversation over a lane, against a worker made of frames.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nylon_protocol::record::{Addressed, Names, Step};
use nylon_shm::WorkerEnd;
use uuid::Uuid;

use super::super::Phase;
use super::*;
use crate::lane::tests::pair;
use crate::lane::{Ask, Begun, Registry};
use crate::request_id::RequestId;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);
const WINDOW: usize = wire::LIMIT_CONVERSATION;

/// The worker's end of a conversation.
struct Worker {
    far: WorkerEnd,
    token: Token,
    sid: u32,
    payload: BytesMut,
    /// What its DATA cost so far.
    taken: u64,
}

async fn session(lane: &Arc<Lane>) -> Session {
    let id = RequestId::Made(Uuid::nil());
    let mut session = Session::new(lane.clone(), "entry", id, None).expect("the entry is there");
    let (phase, budget, origin) = (1, LONG, &session.origin);
    let begun = lane.begin(Ask { sid: 0, phase, budget, origin }).await;
    let Begun { token, sid, .. } = begun.expect("a credit");
    lane.end(token, None);
    (session.sid, session.opened) = (sid, true);
    session
}

async fn open() -> (Arc<Lane>, Conversation, Worker) {
    let (lane, far) = pair();
    let session = session(&lane).await;
    let sid = session.sid();
    let conversation = Conversation::open(session, "n:1", true, "chat").expect("there is room");
    let (token, payload) = (Token { idx: 0, generation: 0 }, BytesMut::new());
    let mut worker = Worker { far, token, sid, payload, taken: 0 };
    let call = worker.next();
    assert_eq!((call.kind, call.method), (wire::KIND_CALL, wire::METHOD_WEBSOCKET_ON_OPEN));
    let step = Step::parse(&worker.payload, false, Names::agreed(0)).expect("a step");
    let socket = step.websocket.expect("its socket");
    assert_eq!((socket.flags, socket.id, socket.protocol), (wire::SOCKET_RESUMED, "n:1", "chat"));
    worker.token = Token { idx: call.call_idx, generation: call.call_gen };
    (lane, conversation, worker)
}

impl Worker {
    /// The next frame, which is there.
    fn next(&mut self) -> Frame {
        self.try_next().expect("a frame")
    }

    fn try_next(&mut self) -> Option<Frame> {
        self.far.down.pop(&mut self.payload).expect("sound").inspect(|_| self.far.down.release())
    }

    /// The method of the next frame and its payload.
    fn heard(&mut self) -> (u32, Vec<u8>) {
        (self.next().method, self.payload.to_vec())
    }

    fn frame(&self, kind: u8, method: u32) -> Frame {
        Frame::of(kind, self.token, self.sid, wire::PHASE_NONE).method(method)
    }

    fn send(&mut self, frame: Frame, payload: &[u8]) {
        self.far.send(&frame, payload).expect("room");
    }

    fn say(&mut self, method: u32, payload: &[u8]) {
        self.send(self.frame(wire::KIND_DATA, method), payload);
    }

    fn say_more(&mut self, method: u32, payload: &[u8]) {
        self.send(self.frame(wire::KIND_DATA, method).flags(wire::FLAG_MORE), payload);
    }

    /// Tells the host that so much more was taken.
    fn window(&mut self, cost: usize) {
        self.taken += cost as u64;
        let total = self.taken.to_le_bytes();
        self.send(self.frame(wire::KIND_WINDOW, 0), &total);
    }

    fn end(&mut self, wants: u32) {
        let reply = self.frame(wire::KIND_REPLY, wire::METHOD_WEBSOCKET_ON_CLOSE).status(wants);
        self.send(reply, b"");
    }
}

fn text(bytes: &'static str) -> Message {
    Message { kind: Kind::Text, bytes: Bytes::from_static(bytes.as_bytes()) }
}

fn binary(len: usize) -> Message {
    Message { kind: Kind::Binary, bytes: vec![7; len].into() }
}

async fn said(conversation: &mut Conversation) -> Result<Said, Failure> {
    loop {
        let said = poll_fn(|cx| conversation.poll_said(cx));
        match tokio::time::timeout(LONG, said).await.expect("something is said") {
            Ok(Said::Piece(cost)) => conversation.give_back(cost),
            other => return other,
        }
    }
}

/// A message to the client; given back.
async fn message(conversation: &mut Conversation) -> Message {
    match said(conversation).await {
        Ok(Said::Message(message, cost)) => {
            conversation.give_back(cost);
            message
        }
        other => panic!("{other:?}"),
    }
}

/// Whether nothing is said as far as frames have come.
async fn quiet(conversation: &mut Conversation) -> bool {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    loop {
        match poll_fn(|cx| Poll::Ready(conversation.poll_said(cx))).await {
            Poll::Ready(Ok(Said::Piece(cost))) => conversation.give_back(cost),
            said => return said.is_pending(),
        }
    }
}

async fn ready(conversation: &mut Conversation) {
    let ready = poll_fn(|cx| conversation.poll_ready(cx));
    tokio::time::timeout(LONG, ready).await.expect("there is room");
}

fn is_ready(conversation: &mut Conversation) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    conversation.poll_ready(&mut cx).is_ready()
}

#[tokio::test]
async fn what_a_worker_says_is_said_whole_and_in_order() {
    let (_lane, mut conversation, mut worker) = open().await;
    worker.say(wire::METHOD_WEBSOCKET_SEND_TEXT, "häl".as_bytes());
    worker.say(wire::METHOD_WEBSOCKET_SEND_BINARY, b"");
    worker.say(wire::METHOD_WEBSOCKET_JOIN_ROOM, b"room");
    let mut addressed = Vec::new();
    Addressed { name: "room", bytes: b"to " }.write(&mut addressed);
    worker.say_more(wire::METHOD_WEBSOCKET_BROADCAST_ROOM_TEXT, &addressed);
    worker.say(wire::METHOD_WEBSOCKET_BROADCAST_ROOM_TEXT, b"all");
    worker.say(wire::METHOD_WEBSOCKET_SEND_BINARY_TO, &addressed);
    worker.say(wire::METHOD_WEBSOCKET_PING, b"ping");
    worker.say(wire::METHOD_WEBSOCKET_LEAVE_ROOM, b"room");

    assert_eq!(message(&mut conversation).await, text("häl"));
    assert_eq!(message(&mut conversation).await, binary(0));
    assert!(matches!(said(&mut conversation).await, Ok(Said::Join(room)) if room == "room"));
    let broadcast = said(&mut conversation).await;
    let Ok(Said::Broadcast(room, all, cost)) = broadcast else { panic!("{broadcast:?}") };
    assert_eq!((room.as_str(), all, cost), ("room", text("to all"), 3 + 64));
    let one = said(&mut conversation).await;
    let Ok(Said::SendTo(id, message, _)) = one else { panic!("{one:?}") };
    assert_eq!(
        (id.as_str(), message.kind, &message.bytes[..]),
        ("room", Kind::Binary, &b"to "[..])
    );
    assert!(matches!(said(&mut conversation).await, Ok(Said::Ping(ping)) if ping == "ping"));
    assert!(matches!(said(&mut conversation).await, Ok(Said::Leave(room)) if room == "room"));
    assert!(quiet(&mut conversation).await);
}

#[tokio::test]
async fn a_message_larger_than_the_window_comes_through() {
    let (lane, mut conversation, mut worker) = open().await;
    let far = std::thread::spawn(move || {
        let (mut room, mut seen) = (WINDOW, 0);
        for n in 0..40 {
            while room < wire::LIMIT_DATA + 64 {
                let frame = worker.far.recv(&mut worker.payload, Some(LONG)).expect("sound");
                assert_eq!(frame.expect("room").kind, wire::KIND_WINDOW);
                let total = u64::from_le_bytes(worker.payload[..].try_into().expect("8 bytes"));
                room += usize::try_from(total - seen).expect("small");
                seen = total;
            }
            room -= wire::LIMIT_DATA + 64;
            let piece = [n; wire::LIMIT_DATA];
            if n < 39 {
                worker.say_more(wire::METHOD_WEBSOCKET_SEND_BINARY, &piece);
            } else {
                worker.say(wire::METHOD_WEBSOCKET_SEND_BINARY, &piece);
            }
        }
        worker
    });
    let whole = message(&mut conversation).await;
    let _worker = far.join().expect("no panic");
    let expected: Vec<_> = (0..40u8).flat_map(|n| [n; wire::LIMIT_DATA]).collect();
    assert!(whole.bytes == expected, "{} bytes", whole.bytes.len());
    assert!(lane.peer.fault().is_none());
}

#[tokio::test]
async fn what_cannot_be_sent_closes_the_socket_and_the_rest_is_not_heard() {
    let wrong: [(u32, &[u8]); 4] = [
        (wire::METHOD_WEBSOCKET_SEND_TEXT, b"\xff\xfe"),
        (wire::METHOD_WEBSOCKET_SEND_BINARY, &[0; 1001]),
        (wire::METHOD_WEBSOCKET_CLOSE, &[0xed, 0x03]),
        (wire::METHOD_WEBSOCKET_CLOSE, &[0xe8, 0x03, 0xff]),
    ];
    for (method, payload) in wrong {
        let (lane, mut conversation, mut worker) = open().await;
        conversation.limit_message(1000);
        worker.say(method, payload);
        worker.say(wire::METHOD_WEBSOCKET_SEND_TEXT, b"dropped");
        worker.say(wire::METHOD_WEBSOCKET_LEAVE_ROOM, b"room");
        let close = said(&mut conversation).await;
        let Ok(Said::Close(Closing { code: Some(1011), .. })) = close else { panic!("{close:?}") };
        assert!(matches!(said(&mut conversation).await, Ok(Said::Leave(_))));
        assert!(lane.peer.fault().is_none());
    }
}

#[tokio::test]
async fn a_message_that_grows_too_large_is_not_kept() {
    let (_lane, mut conversation, mut worker) = open().await;
    conversation.limit_message(100_000);
    for _ in 0..20 {
        worker.say_more(wire::METHOD_WEBSOCKET_SEND_BINARY, &[0; 10_000]);
        assert!(quiet(&mut conversation).await);
    }
    worker.say(wire::METHOD_WEBSOCKET_SEND_BINARY, b"");
    let close = said(&mut conversation).await;
    assert!(matches!(&close, Ok(Said::Close(c)) if c.reason.contains("100000")), "{close:?}");
}

#[tokio::test]
async fn what_is_no_record_and_what_stands_between_pieces_is_a_violation() {
    type Frames = &'static [(u32, bool, &'static [u8])];
    const SEND: u32 = wire::METHOD_WEBSOCKET_SEND_TEXT;
    let wrong: [Frames; 6] = [
        &[(SEND, true, b"x"), (wire::METHOD_WEBSOCKET_SEND_BINARY, false, b"y")],
        &[(SEND, true, b"x"), (wire::METHOD_WEBSOCKET_JOIN_ROOM, false, b"room")],
        &[(wire::METHOD_WEBSOCKET_BROADCAST_ROOM_TEXT, false, &[9, 0, b'r'])],
        &[(wire::METHOD_WEBSOCKET_JOIN_ROOM, false, b"a\0b")],
        &[(wire::METHOD_WEBSOCKET_CLOSE, false, &[1])],
        &[(wire::METHOD_WEBSOCKET_CLOSE, false, &[]), (wire::METHOD_WEBSOCKET_CLOSE, false, &[])],
    ];
    for frames in wrong {
        let (lane, mut conversation, mut worker) = open().await;
        for (method, more, payload) in frames {
            if *more { worker.say_more(*method, payload) } else { worker.say(*method, payload) }
        }
        let end = loop {
            match said(&mut conversation).await {
                Ok(_) => {}
                Err(failure) => break failure,
            }
        };
        assert!(matches!(end, Failure::Crashed(_)), "{frames:?}: {end:?}");
        assert!(matches!(lane.peer.fault(), Some(Fault::Violation(_))), "{frames:?}");
    }
}

#[tokio::test]
async fn a_client_is_heard_as_its_worker_has_room() {
    let (_lane, mut conversation, mut worker) = open().await;
    ready(&mut conversation).await;
    conversation.send(text("hello"));
    ready(&mut conversation).await;
    conversation.send(binary(0));
    assert_eq!(worker.heard(), (wire::METHOD_WEBSOCKET_ON_MESSAGE_TEXT, b"hello".to_vec()));
    assert_eq!(worker.heard(), (wire::METHOD_WEBSOCKET_ON_MESSAGE_BINARY, vec![]));
    worker.window(5 + 2 * 64);

    ready(&mut conversation).await;
    conversation.send(binary(300_000));
    assert!(!is_ready(&mut conversation), "it is under way");
    let mut got = 0;
    loop {
        let Some(frame) = worker.try_next() else {
            ready_or_not(&mut conversation).await;
            continue;
        };
        got += worker.payload.len();
        worker.window(worker.payload.len() + 64);
        if !frame.has(wire::FLAG_MORE) {
            break;
        }
    }
    assert_eq!(got, 300_000);
    ready(&mut conversation).await;
}

/// Lets the lane work, and the conversation with it.
async fn ready_or_not(conversation: &mut Conversation) {
    tokio::time::sleep(Duration::from_millis(1)).await;
    is_ready(conversation);
}

#[tokio::test]
async fn a_close_waits_behind_the_message_under_way_and_is_last() {
    let (lane, mut conversation, mut worker) = open().await;
    ready(&mut conversation).await;
    conversation.send(binary(150_000));
    conversation.error("it broke");
    conversation.closed(&Closing { code: Some(1006), reason: String::new() });
    conversation.hand_over();
    conversation.send(text("late"));
    for _ in 0..2 {
        assert!(worker.next().has(wire::FLAG_MORE));
        let cost = worker.payload.len() + 64;
        worker.window(cost);
    }
    // Room wakes whoever waits for what is said.
    worker.say(wire::METHOD_WEBSOCKET_SEND_TEXT, b"an answer");
    let answer = said(&mut conversation).await;
    assert!(matches!(answer, Ok(Said::Message(..))), "from before it heard: {answer:?}");
    worker.say(wire::METHOD_WEBSOCKET_LEAVE_ROOM, b"room");
    assert!(matches!(said(&mut conversation).await, Ok(Said::Leave(_))), "rooms go on");
    assert!(!worker.next().has(wire::FLAG_MORE));
    assert_eq!(worker.heard(), (wire::METHOD_WEBSOCKET_ON_ERROR, b"it broke".to_vec()));
    let (method, payload) = worker.heard();
    let closing = record::Closing::parse(&payload, nylon_protocol::check::Side::Host);
    assert_eq!(
        (method, closing.expect("sound").code),
        (wire::METHOD_WEBSOCKET_ON_CLOSE, Some(1006))
    );
    assert!(worker.try_next().is_none(), "nothing follows");

    let size = worker.frame(wire::KIND_CALL, wire::METHOD_WEBSOCKET_ROOM_SIZE).status(3);
    worker.send(size, b"room");
    let asked = said(&mut conversation).await;
    let Ok(Said::RoomSize(call, room)) = asked else { panic!("{asked:?}") };
    conversation.answer_size(&call, 5);
    let answer = worker.next();
    assert_eq!((answer.kind, answer.status, room.as_str()), (wire::KIND_REPLY, 3, "room"));
    assert_eq!(worker.payload[..], 5u64.to_le_bytes());

    worker.end(1 << wire::PHASE_LOGGING);
    assert!(matches!(said(&mut conversation).await, Ok(Said::Ended)));
    assert!(matches!(said(&mut conversation).await, Ok(Said::Ended)), "again");
    assert_eq!(lane.conversations(), 0);
    let session = conversation.into_session();
    assert!(session.wants(Phase::Logging) && !session.wants(Phase::ResponseFilter));
    assert!(worker.try_next().is_none(), "the session is open");
}

#[tokio::test]
async fn a_session_that_wants_nothing_more_ends_with_its_conversation() {
    let (lane, mut conversation, mut worker) = open().await;
    conversation.hand_over();
    assert_eq!(worker.heard(), (wire::METHOD_WEBSOCKET_HAND_OVER, vec![]));
    worker.say(wire::METHOD_WEBSOCKET_SEND_TEXT, b"before");
    worker.end(0);
    assert_eq!(message(&mut conversation).await, text("before"), "what it had is answered");
    assert!(matches!(said(&mut conversation).await, Ok(Said::Ended)));
    assert!(conversation.into_session().is_over());
    assert_eq!((lane.sessions(), lane.conversations()), (0, 0));
    assert!(worker.try_next().is_none(), "no CLOSE: both know");
}

#[tokio::test]
async fn a_callback_that_cannot_run_ends_it() {
    let (lane, mut conversation, mut worker) = open().await;
    let mut payload = Vec::new();
    write_fault(&mut payload, wire::ERROR_PANIC, "boom");
    worker.send(worker.frame(wire::KIND_ERROR, 0), &payload);
    for _ in 0..2 {
        assert!(matches!(said(&mut conversation).await, Err(Failure::Panicked(_))));
    }
    assert_eq!((lane.sessions(), lane.conversations()), (0, 0));
    assert!(lane.peer.fault().is_none());
}

#[tokio::test]
async fn a_method_the_host_does_not_know_is_refused_and_ends_it() {
    let (lane, mut conversation, mut worker) = open().await;
    worker.send(worker.frame(wire::KIND_CALL, wire::METHOD_GET_PAYLOAD).status(1), b"");
    let end = said(&mut conversation).await;
    assert!(matches!(end, Err(Failure::UnknownMethod(wire::METHOD_GET_PAYLOAD))), "{end:?}");
    let kinds: Vec<_> = std::iter::from_fn(|| worker.try_next()).map(|f| f.kind).collect();
    assert_eq!(kinds, [wire::KIND_ERROR, wire::KIND_CANCEL, wire::KIND_CLOSE]);
    assert_eq!(lane.conversations(), 0);
}

#[tokio::test]
async fn who_leaves_gives_all_back_and_what_comes_late_is_dropped() {
    let (lane, conversation, mut worker) = open().await;
    drop(conversation);
    let kinds: Vec<_> = std::iter::from_fn(|| worker.try_next()).map(|f| f.kind).collect();
    assert_eq!(kinds, [wire::KIND_CANCEL, wire::KIND_CLOSE]);
    assert_eq!((lane.sessions(), lane.conversations(), lane.in_flight()), (0, 0, 0));
    for _ in 0..50 {
        worker.say(wire::METHOD_WEBSOCKET_SEND_TEXT, b"late");
    }
    worker.end(0);
    let late = || lane.counters.late.load(Ordering::Relaxed);
    let end = tokio::time::Instant::now() + LONG;
    while late() < 51 {
        assert!(tokio::time::Instant::now() < end, "{} were late", late());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(lane.peer.fault().is_none());
}

#[tokio::test]
async fn idle_sockets_are_not_in_flight_and_untaken_messages_are() {
    let (lane, mut conversation, mut worker) = open().await;
    worker.far.recv(&mut worker.payload, Some(Duration::ZERO)).expect("sound");
    // `pop` does not tell what it took.
    let taken = |far: &WorkerEnd| {
        let stat = far.down.memory().consumer_stat(wire::STAT_TAKEN);
        stat.store(far.down.pos(), Ordering::Relaxed);
    };
    taken(&worker.far);
    assert_eq!((lane.in_flight(), lane.is_unheard()), (0, false));
    ready(&mut conversation).await;
    conversation.send(text("anybody?"));
    assert!(lane.is_unheard());
    tokio::time::timeout(LONG, lane.peer.busy()).await.expect("somebody looks after it");
    worker.next();
    taken(&worker.far);
    assert_eq!((lane.in_flight(), lane.is_unheard()), (0, false));
}

#[tokio::test]
async fn a_withdrawn_worker_is_told_of_once() {
    let (lane, mut conversation, mut worker) = open().await;
    let registry = Registry::default();
    registry.switch(std::slice::from_ref(&lane), &[]);
    assert!(quiet(&mut conversation).await);
    let mut waiting = Box::pin(said(&mut conversation));
    let first = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
    assert!(first);
    registry.switch(&[], std::slice::from_ref(&lane));
    assert!(matches!(waiting.await, Ok(Said::Withdrawn)));
    worker.say(wire::METHOD_WEBSOCKET_SEND_TEXT, b"still");
    assert_eq!(message(&mut conversation).await, text("still"));
    assert!(quiet(&mut conversation).await, "told once");
}

#[tokio::test]
async fn a_worker_that_ends_is_not_withdrawn() {
    let (lane, mut conversation, _worker) = open().await;
    let registry = Registry::default();
    registry.switch(std::slice::from_ref(&lane), &[]);
    registry.forget(std::slice::from_ref(&lane));
    assert!(registry.pick().is_none() && quiet(&mut conversation).await);
    lane.peer.report(Fault::Died("killed".into()));
    registry.switch(&[], std::slice::from_ref(&lane));
    lane.die();
    assert!(matches!(said(&mut conversation).await, Err(Failure::Crashed(_))));
    assert!(is_ready(&mut conversation), "there is nobody to wait for");
    conversation.send(text("to nobody"));
}

#[tokio::test]
async fn what_a_worker_does_not_take_stays_with_its_clients() {
    const SOCKETS: usize = 100;
    let (lane, mut far) = pair();
    let mut all = Vec::new();
    for _ in 0..SOCKETS {
        let session = session(&lane).await;
        all.push(Conversation::open(session, "n:1", false, "").expect("room"));
    }
    let mut sent = 0;
    for conversation in &mut all {
        if is_ready(conversation) {
            conversation.send(binary(100_000));
            sent += 1;
        }
    }
    // An arena, and what conversations may have waiting beside it: not 100 windows.
    let load = || lane.dump(std::time::Instant::now()).backlog.1;
    assert!(sent < SOCKETS && load() < 512 * 1024, "{sent}, {} bytes", load());

    let taker = std::thread::spawn(move || {
        let mut payload = BytesMut::new();
        let mut whole = 0;
        while whole < SOCKETS {
            let frame = far.recv(&mut payload, Some(LONG)).expect("sound").expect("a frame");
            let is_message = frame.method == wire::METHOD_WEBSOCKET_ON_MESSAGE_BINARY;
            whole += usize::from(is_message && !frame.has(wire::FLAG_MORE));
        }
        far
    });
    let mut tasks = tokio::task::JoinSet::new();
    for (n, mut conversation) in all.into_iter().enumerate() {
        tasks.spawn(async move {
            ready(&mut conversation).await;
            if n >= sent {
                conversation.send(binary(100_000));
                let sent = |c: &mut Conversation, cx: &mut Context<'_>| match c.poll_ready(cx) {
                    _ if c.message.is_none() => Poll::Ready(()),
                    _ => Poll::Pending,
                };
                let sent = poll_fn(|cx| sent(&mut conversation, cx));
                tokio::time::timeout(LONG, sent).await.expect("its turn");
            }
            conversation
        });
    }
    let mut all = Vec::new();
    while let Some(conversation) = tasks.join_next().await {
        all.push(conversation.expect("no panic"));
    }
    while !taker.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    taker.join().expect("all of it was taken");
    assert!(lane.peer.fault().is_none());
}

#[tokio::test]
async fn a_flood_that_dies_leaves_nothing() {
    const SOCKETS: usize = 300;
    let (lane, far) = pair();
    let mut tasks = tokio::task::JoinSet::new();
    let mut opened = Vec::new();
    for _ in 0..SOCKETS {
        let session = session(&lane).await;
        let sid = session.sid();
        let mut conversation = Conversation::open(session, "n:1", false, "").expect("room");
        opened.push((conversation.token, sid));
        tasks.spawn(async move {
            let mut heard = 0;
            loop {
                let event = poll_fn(|cx| match conversation.poll_said(cx) {
                    Poll::Ready(said) => Poll::Ready(Some(said)),
                    Poll::Pending => conversation.poll_ready(cx).map(|()| None),
                });
                match event.await {
                    None => conversation.send(text("down")),
                    Some(Ok(Said::Message(_, cost))) => {
                        heard += 1;
                        conversation.give_back(cost);
                    }
                    Some(Err(_)) => return heard,
                    Some(other) => panic!("{other:?}"),
                }
            }
        });
    }
    let flooded = std::thread::spawn(move || {
        let mut far = far;
        let mut payload = BytesMut::new();
        let mut taken = vec![0u64; SOCKETS];
        for n in 0..20_000 {
            let (token, sid) = opened[n % SOCKETS];
            let data = Frame::of(wire::KIND_DATA, token, sid, wire::PHASE_NONE);
            far.send(&data.method(wire::METHOD_WEBSOCKET_SEND_TEXT), b"up").expect("room");
            // Takes what comes, and gives it back, for a while.
            while n < 15_000
                && let Some(frame) = far.recv(&mut payload, Some(Duration::ZERO)).expect("sound")
            {
                if frame.kind == wire::KIND_DATA {
                    let at = opened.iter().position(|(t, _)| Some(*t) == Some(frame.token()));
                    let at = at.expect("one of them");
                    taken[at] += u64::from(frame.len) + 64;
                    if taken[at].is_multiple_of(64) {
                        let window = Frame::of(wire::KIND_WINDOW, frame.token(), frame.sid, 0);
                        far.send(&window, &taken[at].to_le_bytes()).expect("room");
                    }
                }
            }
        }
    });
    while !flooded.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    flooded.join().expect("no panic");
    assert!(lane.peer.fault().is_none(), "{:?}", lane.peer.fault());
    lane.take_last();
    lane.peer.report(Fault::Died("killed".into()));
    lane.die();
    let mut heard = 0;
    while let Some(task) = tokio::time::timeout(LONG, tasks.join_next()).await.expect("all end") {
        heard += task.expect("no panic");
    }
    assert_eq!((heard, lane.conversations(), lane.in_flight()), (20_000, 0, 0));
}
