//! Rooms of one node, by their members' outboxes.

use std::sync::Barrier;
use std::task::{Context, Poll, Waker};

use super::*;

const SEND_QUEUE: usize = 1 << 20;

fn hub() -> Arc<Hub> {
    Hub::memory(Limits::default())
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).expect("a name")
}

fn member(hub: &Arc<Hub>) -> Member {
    hub.attach(hub.next_id(), None, Overflow::Block, SEND_QUEUE)
}

fn text(bytes: &'static str) -> Bytes {
    Bytes::from_static(bytes.as_bytes())
}

/// The payloads of what waits, all of it shorter than 126 bytes.
pub(crate) fn received(member: &Member) -> Vec<Bytes> {
    let pop = || match member.outbox().poll_pop(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(out) => Some(out.frame.slice(2..)),
        Poll::Pending => None,
    };
    std::iter::from_fn(pop).collect()
}

#[test]
fn a_message_reaches_the_members_and_nobody_else() {
    let hub = hub();
    let (a, b, c) = (member(&hub), member(&hub), member(&hub));
    let lobby = room("lobby");
    a.join(&lobby).unwrap();
    b.join(&lobby).unwrap();
    b.join(&lobby).unwrap();
    assert_eq!(hub.broadcast(None, &lobby, Kind::Text, &text("one")), 2);
    assert_eq!(a.broadcast(&lobby, Kind::Binary, &text("two")), (2, Duration::ZERO));
    for one in [&a, &b] {
        assert_eq!(received(one), ["one", "two"]);
    }
    assert!(received(&c).is_empty());
    b.leave(&lobby);
    assert_eq!(hub.broadcast(None, &lobby, Kind::Text, &text("three")), 1);
    assert_eq!((received(&a).len(), received(&b).len()), (1, 0));
}

#[test]
fn all_copies_are_one() {
    let hub = hub();
    let members = [member(&hub), member(&hub)];
    members.iter().for_each(|m| m.join(&room("r")).unwrap());
    hub.broadcast(None, &room("r"), Kind::Text, &text("shared"));
    let at = members.each_ref().map(|m| received(m)[0].as_ptr());
    assert_eq!(at[0], at[1]);
}

#[test]
fn who_goes_leaves_all_rooms_and_an_empty_room_is_gone() {
    let hub = hub();
    let (a, b) = (member(&hub), member(&hub));
    for name in ["x", "y"] {
        a.join(&room(name)).unwrap();
    }
    b.join(&room("x")).unwrap();
    assert_eq!((hub.connections(), hub.rooms()), (2, 2));
    drop(a);
    assert_eq!((hub.connections(), hub.rooms()), (1, 1));
    b.leave(&room("x"));
    b.leave(&room("x"));
    assert_eq!((hub.connections(), hub.rooms()), (1, 0));
}

#[test]
fn bounds_hold() {
    let limits = Limits { rooms_per_connection: 2, rooms: 3, ..Limits::default() };
    let hub = Hub::memory(limits);
    let (a, b) = (member(&hub), member(&hub));
    a.join(&room("1")).unwrap();
    a.join(&room("2")).unwrap();
    a.join(&room("2")).unwrap();
    assert_eq!(a.join(&room("3")), Err(RoomError::TooMany));
    b.join(&room("3")).unwrap();
    assert_eq!(b.join(&room("4")), Err(RoomError::Full));
    b.join(&room("1")).unwrap();
    assert_eq!((hub.rooms(), hub.counters().refused.count()), (3, 2));
    a.leave(&room("2"));
    a.join(&room("5")).unwrap();
}

#[test]
fn namespaces_are_apart() {
    let hub = hub();
    let of = |namespace| hub.attach(hub.next_id(), namespace, Overflow::Block, SEND_QUEUE);
    let (chat, game, plain) = (of(Some("chat")), of(Some("game")), of(None));
    for one in [&chat, &game, &plain] {
        one.join(&room("lobby")).unwrap();
    }
    assert_eq!(chat.broadcast(&room("lobby"), Kind::Text, &text("hi")).0, 1);
    assert_eq!([&chat, &game, &plain].map(|m| received(m).len()), [1, 0, 0]);
}

#[test]
fn one_connection_is_reached_by_its_id() {
    let hub = hub();
    let (a, b) = (member(&hub), member(&hub));
    assert!(a.id().starts_with(hub.node_id()) && a.id() != b.id());
    assert!(hub.send_to(b.id(), Kind::Text, &text("you")));
    assert_eq!((received(&a).len(), received(&b)), (0, vec![text("you")]));
    let gone = b.id().to_owned();
    drop(b);
    assert!(!hub.send_to(&gone, Kind::Text, &text("you")));
    assert!(!hub.send_to("nobody", Kind::Text, &text("you")));
}

#[test]
fn a_text_that_is_none_goes_to_nobody() {
    let hub = hub();
    let a = member(&hub);
    a.join(&room("r")).unwrap();
    let bytes = Bytes::from_static(&[0xff]);
    assert_eq!(hub.broadcast(None, &room("r"), Kind::Text, &bytes), 0);
    assert_eq!(hub.broadcast(None, &room("r"), Kind::Binary, &bytes), 1);
    assert_eq!(hub.counters().not_text.count(), 1);
}

#[test]
fn a_slow_member_does_not_stop_a_room() {
    let hub = hub();
    let slow = [Overflow::Block, Overflow::DropOldest, Overflow::Close]
        .map(|overflow| hub.attach(hub.next_id(), None, overflow, 1_000));
    slow.iter().for_each(|m| m.join(&room("r")).unwrap());
    let payload = Bytes::from(vec![b'x'; 100]);
    for _ in 0..100 {
        hub.broadcast(None, &room("r"), Kind::Binary, &payload);
    }
    assert!(slow.iter().all(|m| m.outbox().bytes() <= 1_000));
    assert_eq!(
        [&slow[0], &slow[1], &slow[2]].map(|m| m.outbox().overflowed()),
        [false, false, true]
    );
    assert_eq!((received(&slow[0]).len(), received(&slow[2]).len()), (9, 0));
    let counters = hub.counters();
    assert_eq!((counters.overflowed.count(), counters.dropped.count()), (1, 2 * 91));
}

#[test]
fn who_broadcasts_too_much_is_held_back() {
    let hub = Hub::memory(Limits { broadcast_rate: 1_000, ..Limits::default() });
    let a = member(&hub);
    a.join(&room("r")).unwrap();
    let payload = Bytes::from(vec![b'x'; 936]);
    assert!(a.broadcast(&room("r"), Kind::Binary, &payload).1.is_zero());
    assert!(!a.broadcast(&room("r"), Kind::Binary, &payload).1.is_zero());
}

#[test]
fn frames_are_those_of_a_server() {
    let head = |len: usize| frame(Kind::Binary, &vec![7; len]).unwrap();
    assert_eq!(&frame(Kind::Text, b"hi").unwrap()[..], b"\x81\x02hi");
    assert_eq!(&head(0)[..], [0x82, 0]);
    assert_eq!(&head(126)[..4], [0x82, 126, 0, 126]);
    assert_eq!(&head(65_536)[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
}

/// What a delivery costs: `cargo test --release -p nylon-host --lib rooms::tests::costs -- --ignored --nocapture`.
#[test]
#[ignore = "it measures"]
fn costs() {
    const MEMBERS: u32 = 1_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let hub = hub();
    let payload = Bytes::from(vec![b'x'; 128]);
    let members: Vec<_> = (0..MEMBERS).map(|_| Arc::new(member(&hub))).collect();
    members.iter().for_each(|m| m.join(&room("r")).unwrap());
    let rounds = |what: &str, between: &dyn Fn()| {
        let mut best = Duration::MAX;
        for _ in 0..200 {
            let start = Instant::now();
            assert_eq!(hub.broadcast(None, &room("r"), Kind::Binary, &payload), MEMBERS as usize);
            best = best.min(start.elapsed());
            between();
        }
        println!("{what}: {} ns a delivery", best.as_nanos() / u128::from(MEMBERS));
    };
    rounds("nobody waits", &|| members.iter().for_each(|m| drop(received(m))));
    for m in &members {
        let m = m.clone();
        runtime.spawn(std::future::poll_fn(move |cx| {
            while m.outbox().poll_pop(cx).is_ready() {}
            Poll::<()>::Pending
        }));
    }
    rounds("each member's task is woken", &|| {
        while members.iter().any(|m| m.outbox().bytes() > 0) {}
        std::thread::sleep(Duration::from_millis(1));
    });
    runtime.shutdown_background();
}

/// Rooms that come and go while others send: nothing is left, and nobody misses what was sent while it was a member.
#[test]
fn rooms_that_come_and_go_lose_nobody() {
    let hub = hub();
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let me = member(&hub);
                let lobby = room("lobby");
                start.wait();
                for _ in 0..2_000 {
                    me.join(&lobby).unwrap();
                    received(&me);
                    assert!(hub.broadcast(None, &lobby, Kind::Text, &text("x")) >= 1);
                    assert!(!received(&me).is_empty());
                    me.leave(&lobby);
                }
            });
        }
    });
    assert_eq!((hub.connections(), hub.rooms()), (0, 0));
}
