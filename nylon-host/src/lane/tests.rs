//! A lane with its worker's end in the same process.

use std::time::Duration;

use nylon_protocol::Geometry;
use nylon_protocol::segment::Header;
use nylon_shm::{Bell, Doorbell, Memory as _, Segments, WorkerBells, WorkerEnd};
use uuid::Uuid;

use super::*;
use crate::request_id::RequestId;

const SLOTS: u32 = 256;
const WINDOW: u32 = 256 * 1024;
const WAITING_MAX: u32 = 16;

/// A lane of 128 credits to a worker of one entry, `entry`, and the worker's end of it. It has agreed to everything.
pub(crate) fn pair() -> (Arc<Lane>, WorkerEnd) {
    let header = Header { geometry: Geometry::default(), epoch: 7, abi_minor: 1, features: 0 };
    let (host, fds) = Segments::create(header).expect("memory");
    let worker = Segments::attach(&fds, &header).expect("the same header");
    let bell = || Bell::new().expect("an eventfd");
    let host_bell = bell();
    let mut far = WorkerEnd::new(worker, 0, host_bell.try_clone().expect("a descriptor").into());
    far.down = far.down.websocket(true);
    let queue = Arc::new(Queue::new(WAITING_MAX, Duration::from_secs(1)));
    let bells = WorkerBells { kind: Doorbell::Futex, bell: bell(), rescue: bell() };
    let end = HostEnd::new(&host, 0, true, bells).websocket(true);
    let entries = ["entry".to_owned()];
    let peer = Arc::new(Peer::new(("p".into(), 1, 1), &entries, 1, 0, queue, Arc::default()));
    let shape = Shape { slots: SLOTS, window: WINDOW, index: 0, lanes: 1 };
    let gate = Gate::new(WaitPolicy::Cpu, Cpus { usable: 2, throttled: 0 });
    let lane = Lane::open(peer, end, host_bell.into(), shape, gate);
    (lane.expect("a reactor"), far)
}

async fn begin(lane: &Lane) -> Result<Begun, Failure> {
    let origin = Origin { request_id: RequestId::Made(Uuid::nil()), entry: 0 };
    let ask = Ask { sid: 0, phase: 1, budget: Duration::from_secs(1), origin: &origin };
    lane.begin(ask).await
}

#[tokio::test]
async fn who_leaves_while_waiting_for_a_credit_leaves_no_trace() {
    let (lane, _far) = pair();
    for _ in 0..SLOTS / 2 {
        begin(&lane).await.expect("a credit");
    }
    for _ in 0..WAITING_MAX + 10 {
        let mut begin = Box::pin(begin(&lane));
        std::future::poll_fn(|cx| {
            assert!(begin.as_mut().poll(cx).is_pending(), "all credits are out");
            Poll::Ready(())
        })
        .await;
    }
    assert_eq!((lane.waiting.load(Ordering::Relaxed), lane.peer.queue.waiting()), (0, 0));
    lane.end(Token { idx: 0, generation: 1 }, None);
    begin(&lane).await.expect("the credit that came back");
}

/// How often a worker that went to sleep was rung for `frames` frames of as many invocations, sent in one turn: before its
/// end, and after it.
async fn bells(frames: u32) -> (u32, u32) {
    let (lane, mut far) = pair();
    assert!(matches!(far.down.arm(), Ok(nylon_shm::Armed::Sleep(_))), "nothing was sent");
    let rung = |far: &WorkerEnd| far.down.memory().bell().load(Ordering::Acquire);
    let before = rung(&far);
    let mut tokens = Vec::new();
    for _ in 0..frames {
        tokens.push(begin(&lane).await.expect("a credit"));
    }
    for Begun { token, sid, .. } in tokens {
        lane.send(&Frame::of(wire::KIND_CALL, token, sid, 1), b"step");
    }
    let during = rung(&far) - before;
    // The end of the turn, and some more for good measure.
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    (during, rung(&far) - before)
}

#[tokio::test]
async fn a_sleeping_worker_is_rung_once_for_a_batch() {
    assert_eq!(bells(1).await, (1, 1), "nobody else sends");
    let mut batched = 0;
    for _ in 0..100 {
        let (during, after) = bells(2).await;
        assert_eq!(after, 1);
        batched += 1 - during;
    }
    // Now and then this thread is held up for longer than a frame may wait.
    assert!(batched > 0, "rung for each frame");
    assert_eq!(bells(100).await, (1, 1), "more than a batch");
}

#[tokio::test]
async fn what_a_worker_does_not_take_has_a_bound() {
    let (lane, _far) = pair();
    let limit = backlog_max(SLOTS / 2, WINDOW);
    let payload = vec![0; wire::LIMIT_RECORD];
    for n in 0.. {
        lane.send(&Frame::new(wire::KIND_DATA), &payload);
        if lane.peer.fault().is_some() {
            break;
        }
        assert!(n * payload.len() < limit + (2 << 20), "no bound");
    }
    let fault = lane.peer.faulted().await.to_string();
    assert!(fault.contains("frames it does not take"), "{fault}");
}

#[tokio::test]
async fn a_worker_that_takes_again_gets_all_of_it_in_order() {
    let (lane, mut far) = pair();
    let payload = vec![7; 60_000];
    for n in 0..100 {
        let data = Frame { phase: wire::PHASE_REQUEST_FILTER, ..Frame::new(wire::KIND_DATA) };
        lane.send(&data.method(200).status(n + 1), &payload);
    }
    let mut got = bytes::BytesMut::new();
    for n in 0..100 {
        let frame = loop {
            match far.recv(&mut got, Some(Duration::from_millis(10))).expect("sound frames") {
                Some(frame) => break frame,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        assert_eq!((frame.status, got.len()), (n + 1, payload.len()));
        tokio::task::yield_now().await;
    }
    assert!(lane.peer.fault().is_none());
}

#[tokio::test]
async fn a_writer_that_outlives_its_worker_does_not_hold_the_host() {
    let (lane, mut far) = pair();
    let (started, ready) = std::sync::mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let writer = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            match far.up.push(&Frame::new(wire::KIND_PONG), &[]) {
                Ok(()) => _ = started.send(()),
                Err(_) => std::thread::yield_now(),
            }
        }
    });
    ready.recv().expect("it writes");
    lane.take_last();
    lane.peer.report(Fault::Died("killed".into()));
    lane.die();
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("no panic");
    let taken = lane.counters.frames_up.load(Ordering::Relaxed);
    assert!(taken <= u64::from(SLOTS), "{taken} frames of a dead worker");
}

#[tokio::test]
async fn a_dump_has_the_sessions_and_what_was_said_last() {
    let (lane, mut far) = pair();
    let mut payload = bytes::BytesMut::new();
    let mut begun = Vec::new();
    for _ in 0..40 {
        let Begun { token, sid, .. } = begin(&lane).await.expect("a credit");
        lane.send(&Frame::of(wire::KIND_CALL, token, sid, 1).status(1000), b"step");
        begun.push((token, sid));
    }
    for (token, sid) in begun.iter().take(38) {
        far.recv(&mut payload, None).expect("sound").expect("a frame");
        let reply = Frame::of(wire::KIND_REPLY, *token, *sid, 1).method(wire::METHOD_NEXT);
        far.send(&reply, b"").expect("room");
    }
    lane.end(begun[0].0, None);
    lane.close_session(begun[0].1, false);
    let dump = lane.dump(Instant::now());

    assert_eq!((dump.down.published, dump.down.taken, dump.up.published), (40, 38, 38));
    assert_eq!(dump.sessions.len(), 39, "one was closed");
    let last = dump.sessions.last().expect("some");
    assert_eq!((last.session, last.entry.as_str()), (begun[39].1, "entry"));
    let running = last.running.as_ref().expect("it was begun");
    assert_eq!((running.phase.as_str(), running.budget_ms), ("request_filter", 1000));
    let of = |direction| dump.frames.iter().filter(move |f| f.direction == direction);
    assert_eq!((of(Direction::Down).count(), of(Direction::Up).count()), (32, 32));
    let untaken: Vec<_> = of(Direction::Down).filter(|f| !f.taken).map(|f| f.position).collect();
    assert_eq!(untaken, [38, 39]);
    assert!(of(Direction::Up).all(|f| f.meaning == "session over"), "{:?}", dump.frames);

    // What was open when the worker was given up stays to be seen.
    lane.peer.report(Fault::Died("killed".into()));
    lane.end(begun[39].0, Some(Instant::now()));
    lane.close_session(begun[39].1, true);
    assert_eq!(lane.dump(Instant::now()).sessions.len(), 39);
}

#[tokio::test]
async fn depth_is_what_is_on_its_way_whatever_the_worker_says() {
    let (lane, mut far) = pair();
    let empty = lane.depth();
    assert_eq!((empty.down.frames, empty.down.bytes, empty.oldest), (0, 0, None));
    assert_eq!((empty.down.slots, empty.down.arena), (SLOTS.into(), Geometry::default().arena));
    assert_eq!(empty.up, empty.down);

    let Begun { token, sid, at } = begin(&lane).await.expect("a credit");
    for _ in 0..3 {
        lane.send(&Frame::of(wire::KIND_CALL, token, sid, 1), &[7; 200]);
    }
    let reply = Frame::of(wire::KIND_REPLY, token, sid, 1);
    far.up.push(&Frame { method: wire::METHOD_NEXT, ..reply }, b"inline").expect("room");
    // No last word: the host will not take it.
    far.up.push(&reply, b"inline").expect("room");
    let found = || {
        let Depth { down, up, oldest } = lane.depth();
        (down.frames, down.bytes, up.frames, up.bytes, oldest)
    };
    assert_eq!(found(), (3, 3 * 256, 1, 0, Some(at)));
    // More than was sent, and less than it said before.
    for (head, arena_head) in [(4, 1 << 40), (u32::MAX, u64::MAX)] {
        far.down.memory().head().store(head, Ordering::Relaxed);
        far.down.memory().arena_head().store(arena_head, Ordering::Relaxed);
        assert_eq!(found(), (3, 3 * 256, 1, 0, Some(at)));
    }
    let mut payload = bytes::BytesMut::new();
    while far.down.pop(&mut payload).expect("no violation").is_some() {}
    far.down.release();
    assert_eq!(found(), (0, 0, 1, 0, Some(at)));
    lane.close_session(sid, false);
    assert_eq!(found().4, None);
}
