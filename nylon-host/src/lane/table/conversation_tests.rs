//! Conversations beside the credits, and what their messages cost.

use super::super::tests::{begin, give, open, table, taken};
use super::*;

const TEXT: u32 = wire::METHOD_WEBSOCKET_SEND_TEXT;

fn frame(kind: u8, token: Token, len: usize) -> Frame {
    let frame = Frame::of(kind, token, 7, wire::PHASE_NONE);
    Frame { len: u32::try_from(len).expect("small"), ..frame }
}

fn text(token: Token, len: usize) -> Frame {
    frame(wire::KIND_DATA, token, len).method(TEXT)
}

fn ended(token: Token) -> Frame {
    frame(wire::KIND_REPLY, token, 0).method(wire::METHOD_WEBSOCKET_ON_CLOSE)
}

fn converse(table: &mut Table) -> Token {
    table.converse(7, Instant::now()).expect("there is room")
}

#[test]
fn two_thousand_conversations_take_no_credit() {
    let mut table = table();
    let tokens: Vec<_> = (0..2000).map(|_| converse(&mut table)).collect();
    assert_eq!((table.conversations(), table.free.len()), (2000, 8));
    let requests: Vec<_> = (0..8).map(|_| open(&mut table)).collect();
    assert_eq!(begin(&mut table), None, "all credits are out");
    for token in &tokens {
        assert!(token.idx >= 8, "a slot of its own region");
        assert_eq!(give(&mut table, text(*token, 1), b"x"), Ok(true));
        assert_eq!(taken(&mut table, *token), 1);
    }
    tokens.iter().for_each(|token| table.hang_up(*token));
    requests.iter().for_each(|(token, _)| table.end(*token, None));
    assert_eq!((table.conversations(), table.free.len()), (0, 8));
    let again: Vec<_> = (0..2000).map(|_| converse(&mut table)).collect();
    assert_eq!(table.slots.len(), 2008, "slots are used again");
    assert!(again.iter().all(|token| token.generation == 2));
}

#[test]
fn there_are_as_many_as_there_may_be() {
    let mut table = table();
    let tokens: Vec<_> = (0..wire::LIMIT_CONVERSATIONS).map(|_| converse(&mut table)).collect();
    assert_eq!(table.converse(7, Instant::now()), None);
    table.hang_up(tokens[0]);
    table.hang_up(tokens[0]);
    converse(&mut table);
    assert_eq!(table.converse(7, Instant::now()), None, "it was given back once");
    table.die();
    table.hang_up(tokens[1]);
    assert_eq!(table.converse(7, Instant::now()), None, "the worker is gone");
}

#[test]
fn a_token_past_those_issued_is_a_violation() {
    let mut table = table();
    let token = converse(&mut table);
    for wrong in [
        Token { idx: token.idx + 1, ..token },
        Token { generation: token.generation + 1, ..token },
        Token { idx: 0, ..token },
    ] {
        let found = give(&mut table, text(wrong, 0), b"");
        assert!(matches!(found, Err(Violation::Token { .. })), "{wrong:?}: {found:?}");
    }
    let phase = Frame { phase: wire::PHASE_REQUEST_FILTER, ..text(token, 0) };
    assert_eq!(give(&mut table, phase, b""), Err(Violation::Phase(wire::PHASE_REQUEST_FILTER)));
}

#[test]
fn messages_stay_apart() {
    let mut table = table();
    let token = converse(&mut table);
    for payload in [&b"one"[..], b"", b"two"] {
        assert_eq!(give(&mut table, text(token, payload.len()), payload), Ok(true));
    }
    let waker = Waker::noop();
    let heard: Vec<_> =
        std::iter::from_fn(|| table.take(token, waker)).map(|i| i.payload).collect();
    assert_eq!(heard, ["one", "", "two"]);
}

#[test]
fn tiny_messages_are_held_to_the_window_and_are_no_flood() {
    let mut table = table();
    let token = converse(&mut table);
    for _ in 0..WINDOW / 64 {
        assert_eq!(give(&mut table, text(token, 0), b""), Ok(true));
    }
    let more = give(&mut table, text(token, 0), b"");
    assert_eq!(more, Err(Violation::Window("exceeded")));
    assert_eq!(table.conversations.held, u64::from(WINDOW));
    assert_eq!(table.give_back_cost(token, TELL - 64), None, "not worth a frame");
    assert_eq!(table.give_back_cost(token, 64), Some(TELL));
    assert_eq!(give(&mut table, text(token, 0), b""), Ok(true));
    // Many windows of them within a second.
    let now = Instant::now();
    for _ in 0..100_000 {
        table.take(token, Waker::noop());
        table.give_back_cost(token, 64);
        table.deliver(text(token, 0), Bytes::new(), || now).expect("an empty message is one");
    }
}

#[test]
fn pieces_without_bytes_are_a_flood() {
    let mut table = table();
    let (token, now) = (converse(&mut table), Instant::now());
    let nothing = text(token, 0).flags(wire::FLAG_MORE);
    let end = (0..20_000).find_map(|_| {
        let error = table.deliver(nothing, Bytes::new(), || now).err();
        table.take(token, Waker::noop());
        table.give_back_cost(token, 64);
        error
    });
    assert_eq!(end, Some(Violation::Budget("frames that carry nothing")));
}

#[test]
fn a_close_costs_nothing_so_that_a_full_window_does_not_hold_it() {
    let mut table = table();
    let token = converse(&mut table);
    for len in [wire::LIMIT_DATA, wire::LIMIT_DATA - 128] {
        assert_eq!(give(&mut table, text(token, len), &vec![0; len]), Ok(true));
    }
    let close = frame(wire::KIND_DATA, token, 0).method(wire::METHOD_WEBSOCKET_CLOSE);
    assert_eq!(give(&mut table, close, b""), Ok(true));
}

#[test]
fn who_holds_much_is_given_room_once_it_holds_nothing() {
    let mut table = table();
    let token = converse(&mut table);
    table.conversations.held = HELD_MAX;
    for _ in 0..16 {
        assert_eq!(give(&mut table, text(token, 4032), &[0; 4032]), Ok(true));
    }
    assert_eq!(table.give_back_cost(token, 15 * 4096), None, "one is left");
    assert_eq!(table.give_back_cost(token, 4096), Some(16 * 4096));
}

#[test]
fn messages_go_down_as_there_is_room() {
    let mut table = table();
    let token = converse(&mut table);
    let mut sent = Vec::new();
    let mut left = 200_000;
    while let Some(piece) = table.reserve(token, left, None) {
        left -= piece;
        sent.push(piece);
    }
    assert_eq!(sent, [65_536, 131_072 - 2 * 64 - 65_536]);
    assert!(!table.has_room(token, Waker::noop()));
    let mut window =
        |total: u64| give(&mut table, frame(wire::KIND_WINDOW, token, 8), &total.to_le_bytes());
    assert_eq!(window(65_600), Ok(true));
    assert_eq!(window(65_599), Err(Violation::Window("back")));
    assert_eq!(window(131_073), Err(Violation::Window("ahead")));
    assert_eq!(table.reserve(token, left, None), Some(65_536));
    assert_eq!(taken(&mut table, token), 0, "a WINDOW only wakes");
}

#[test]
fn no_piece_is_smaller_than_it_need_be() {
    let mut table = table();
    let token = converse(&mut table);
    assert_eq!(table.reserve(token, 60_000, None), Some(60_000));
    assert_eq!(table.reserve(token, 66_000, None), Some(65_536));
    let left = u64::from(WINDOW) - 60_064 - 65_600;
    assert!(left > 4096 + 64, "{left}");
    assert_eq!(table.reserve(token, 1200, None), Some(1200));
    let left = left - 1264;
    assert!(left < 4096 + 64, "{left}");
    assert_eq!(table.reserve(token, 10_000, None), None, "a sliver of a message");
    assert_eq!(table.reserve(token, 100, None), Some(100), "all of a message");
}

#[test]
fn frames_that_cross_with_a_hang_up_are_no_fault() {
    let mut table = table();
    let now = Instant::now();
    for _ in 0..100 {
        let token = converse(&mut table);
        table.hang_up(token);
        for _ in 0..WINDOW / 64 {
            let late = table.deliver(text(token, 0), Bytes::new(), || now);
            assert!(matches!(late, Ok(Delivery::Late)), "{late:?}");
        }
        let late = table.deliver(ended(token), Bytes::new(), || now);
        assert!(matches!(late, Ok(Delivery::Late)), "{late:?}");
    }
    assert_eq!((table.duplicates, table.unanswered.len()), (0, 0));
}

#[test]
fn frames_after_the_last_one_are_duplicates() {
    let mut table = table();
    let token = converse(&mut table);
    assert_eq!(give(&mut table, ended(token), b""), Ok(true));
    assert_eq!(give(&mut table, text(token, 1), b"x"), Ok(false));
    assert_eq!(taken(&mut table, token), 1);
    table.hang_up(token);
    assert_eq!(give(&mut table, ended(token), b""), Ok(false));
    assert_eq!(table.duplicates, 2);
    let end = (0..200).find_map(|_| give(&mut table, ended(token), b"").err());
    assert_eq!(end, Some(Violation::Budget("duplicate answers")));
}

#[test]
fn what_was_held_is_given_back_with_the_token() {
    let mut table = table();
    for _ in 0..10 {
        let token = converse(&mut table);
        for _ in 0..100 {
            assert_eq!(give(&mut table, text(token, 1), b"x"), Ok(true));
        }
        table.take(token, Waker::noop());
        table.give_back_cost(token, 65);
        assert_eq!(table.conversations.held, 99 * 65);
        table.hang_up(token);
        assert_eq!(table.conversations.held, 0);
        assert_eq!(table.give_back_cost(token, 65), None);
    }
}

#[test]
fn the_line_is_let_in_in_its_order_and_none_is_woken_twice() {
    let mut table = table();
    let tokens: Vec<_> = (0..5).map(|_| converse(&mut table)).collect();
    for token in tokens.iter().chain(&tokens) {
        table.stand_in_line(*token, Some(Waker::noop()));
    }
    table.hang_up(tokens[0]);
    let (woken, others) = table.let_in(3);
    assert_eq!((woken.len(), others), (2, true), "one has left");
    let (woken, others) = table.let_in(3);
    assert_eq!((woken.len(), others), (2, false));
    table.stand_in_line(tokens[1], Some(Waker::noop()));
    assert_eq!(table.let_in(3).0.len(), 1, "again");
}
