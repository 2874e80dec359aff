//! What the table does with the frames of a worker that is late, wrong or hostile.

use std::task::Waker;

use uuid::Uuid;

use super::*;
use crate::request_id::RequestId;

const WINDOW: u32 = 256 * 1024;

pub(super) fn table() -> Table {
    Table::new(&Shape { slots: 16, window: WINDOW, index: 0, lanes: 1 })
}

pub(super) fn origin() -> Origin {
    Origin { request_id: RequestId::Made(Uuid::nil()), entry: 0 }
}

pub(super) fn begin(table: &mut Table) -> Option<(Token, u32)> {
    let (phase, budget) = (wire::PHASE_REQUEST_FILTER, Duration::from_secs(1));
    let begun = table.begin(Ask { sid: 0, phase, budget, origin: &origin() }, Instant::now())?;
    Some((begun.token, begun.sid))
}

pub(super) fn open(table: &mut Table) -> (Token, u32) {
    begin(table).expect("a free slot")
}

fn open_session(table: &mut Table) -> u32 {
    table.open_session(&origin(), Instant::now())
}

fn frame(kind: u8, (token, sid): (Token, u32), len: usize) -> Frame {
    let frame = Frame::of(kind, token, sid, wire::PHASE_REQUEST_FILTER);
    Frame { len: u32::try_from(len).expect("small"), ..frame }
}

pub(super) fn give(table: &mut Table, frame: Frame, payload: &[u8]) -> Result<bool, Violation> {
    let delivery = table.deliver(frame, Bytes::copy_from_slice(payload), Instant::now)?;
    Ok(matches!(delivery, Delivery::Delivered(_)))
}

pub(super) fn reply(table: &mut Table, open: (Token, u32)) -> Result<bool, Violation> {
    give(table, frame(wire::KIND_REPLY, open, 0), &[])
}

pub(super) fn taken(table: &mut Table, token: Token) -> usize {
    std::iter::from_fn(|| table.take(token, Waker::noop())).count()
}

#[test]
fn a_frame_reaches_its_invocation_and_no_other() {
    let mut table = table();
    let (a, b) = (open(&mut table), open(&mut table));
    assert_eq!(reply(&mut table, a), Ok(true));
    assert_eq!((taken(&mut table, b.0), taken(&mut table, a.0)), (0, 1));
}

#[test]
fn tokens_never_issued_are_violations() {
    let mut table = table();
    let (token, sid) = open(&mut table);
    for wrong in [
        Token { generation: token.generation + 1, ..token },
        Token { generation: 0, ..token },
        Token { idx: 7, ..token },
        Token { idx: 8, ..token },
        Token { idx: u32::MAX, ..token },
    ] {
        let found = reply(&mut table, (wrong, sid));
        assert!(matches!(found, Err(Violation::Token { .. })), "{wrong:?}: {found:?}");
    }
    assert_eq!(reply(&mut table, (token, sid + 1)), Err(Violation::Sid(sid + 1)));
}

#[test]
fn a_late_answer_does_not_reach_the_next_in_its_slot() {
    let mut table = table();
    let first = open(&mut table);
    table.end(first.0, Some(Instant::now()));
    let second = open(&mut table);
    assert_eq!(first.0.idx, second.0.idx, "the same slot");
    assert_eq!(reply(&mut table, first), Ok(false));
    assert_eq!(taken(&mut table, second.0), 0);
    assert_eq!(table.unanswered, [], "the one late answer came");
}

#[test]
fn a_stale_answer_makes_up_for_no_other() {
    let mut table = table();
    let answered = open(&mut table);
    assert_eq!(reply(&mut table, answered), Ok(true));
    table.end(answered.0, None);
    let hangs = open(&mut table);
    table.end(hangs.0, Some(Instant::now()));
    assert_eq!(reply(&mut table, answered), Ok(false));
    assert_eq!((table.unanswered.len(), table.duplicates), (1, 1));
    assert_eq!(reply(&mut table, hangs), Ok(false));
    assert_eq!(reply(&mut table, hangs), Ok(false));
    assert_eq!((table.unanswered.len(), table.duplicates), (0, 2));
}

#[test]
fn the_first_final_frame_wins_before_and_after_it_was_taken() {
    let mut table = table();
    let open = open(&mut table);
    assert_eq!(reply(&mut table, open), Ok(true));
    assert_eq!(reply(&mut table, open), Ok(false));
    let data = frame(wire::KIND_DATA, open, 3);
    assert_eq!(give(&mut table, data, b"abc"), Ok(false), "DATA after END");
    assert_eq!(taken(&mut table, open.0), 1);
    table.end(open.0, None);
    assert_eq!(reply(&mut table, open), Ok(false));
    assert_eq!(table.duplicates, 3);
}

#[test]
fn duplicates_have_a_budget_by_the_minute() {
    let mut table = table();
    let open = open(&mut table);
    assert_eq!(reply(&mut table, open), Ok(true));
    let start = Instant::now();
    let mut again =
        |at| table.deliver(frame(wire::KIND_REPLY, open, 0), Bytes::new(), || at).map(drop);
    for _ in 0..DUPLICATES_PER_MINUTE {
        assert_eq!(again(start), Ok(()));
    }
    let later = start + Duration::from_secs(61);
    assert_eq!(again(later), Ok(()), "another minute");
    for _ in 1..DUPLICATES_PER_MINUTE {
        assert_eq!(again(later), Ok(()));
    }
    assert_eq!(again(later), Err(Violation::Budget("duplicate answers")));
}

#[test]
fn what_crosses_with_a_cancel_is_no_fault() {
    let mut table = table();
    let open = open(&mut table);
    table.end(open.0, Some(Instant::now()));
    for _ in 0..1000 {
        assert_eq!(give(&mut table, frame(wire::KIND_DATA, open, 1), b"x"), Ok(false));
    }
    assert_eq!(table.duplicates, 0);
}

#[test]
fn an_answer_in_the_moment_of_its_cancel_leaves_nothing_to_wait_for() {
    let mut table = table();
    for _ in 0..100 {
        let open = open(&mut table);
        assert_eq!(reply(&mut table, open), Ok(true));
        table.end(open.0, Some(Instant::now()));
        table.close_session(open.1);
    }
    assert_eq!(table.unanswered, []);
    assert_eq!(table.overdue(Instant::now()), (0, 0), "an honest worker is not retired for it");
}

#[test]
fn handlers_that_never_answer_are_counted() {
    let mut table = table();
    for n in 1..=5 {
        let open = open(&mut table);
        table.end(open.0, Some(Instant::now()));
        assert_eq!(table.overdue(Instant::now()), (n, n));
    }
}

#[test]
fn data_is_joined_and_held_to_the_window() {
    let mut table = table();
    let open = open(&mut table);
    for _ in 0..WINDOW / 64 {
        assert_eq!(give(&mut table, frame(wire::KIND_DATA, open, 64), &[7; 64]), Ok(true));
    }
    assert_eq!(table.slots[open.0.idx as usize].inbox.len(), 8, "32 KiB each");
    let more = give(&mut table, frame(wire::KIND_DATA, open, 1), b"x");
    assert_eq!(more, Err(Violation::Window("exceeded")));
    assert_eq!(table.give_back(open.0, 1000, true), None, "not worth a frame");
    assert_eq!(table.give_back(open.0, 200_000, false), None, "nothing follows");
    assert_eq!(table.give_back(open.0, 1000, true), Some(202_000));
    assert_eq!(give(&mut table, frame(wire::KIND_DATA, open, 1), b"x"), Ok(true));
}

#[test]
fn a_window_goes_forward_and_not_past_what_was_sent() {
    let mut table = table();
    let open = open(&mut table);
    assert!(table.sent(open.0, 1000));
    let mut window = |total: u64| {
        let frame = frame(wire::KIND_WINDOW, open, 8);
        give(&mut table, frame, &total.to_le_bytes())
    };
    assert_eq!(window(600), Ok(true));
    assert_eq!(window(500), Err(Violation::Window("back")));
    assert_eq!(window(1001), Err(Violation::Window("ahead")));
    assert_eq!(window(1000), Ok(true));
    assert_eq!(table.window_left(open.0), u64::from(WINDOW));
    assert!(!table.sent(open.0, WINDOW + 1));
}

#[test]
fn an_inbox_nobody_empties_has_a_bound() {
    let mut table = table();
    let a = open(&mut table);
    let mut kept = 0;
    let error = loop {
        for method in [wire::METHOD_SET_RESPONSE_STREAM_DATA, wire::METHOD_SET_RESPONSE_FULL_BODY] {
            let empty = frame(wire::KIND_DATA, a, 0).method(method);
            kept += usize::from(give(&mut table, empty, &[]) == Ok(true));
        }
        if let Err(e) = give(&mut table, frame(wire::KIND_DATA, a, 0), &[]) {
            break e;
        }
        assert!(kept < 10 * INBOX_FRAMES, "no bound");
    };
    assert_eq!(error, Violation::Budget("frames of one invocation"));
    let b = open(&mut table);
    let big = vec![0; 200_000];
    let call = frame(wire::KIND_CALL, b, big.len()).status(1);
    assert_eq!(give(&mut table, call, &big), Ok(true));
    let full = give(&mut table, call, &big);
    assert_eq!(full, Err(Violation::Budget("frames of one invocation")));
}

#[test]
fn a_taken_record_makes_room_for_the_next() {
    let mut table = table();
    let open = open(&mut table);
    let call = frame(wire::KIND_CALL, open, 200_000).status(1);
    for _ in 0..20 {
        assert_eq!(give(&mut table, call, &[0; 200_000]), Ok(true));
        assert_eq!(taken(&mut table, open.0), 1);
        table.answered_call(open.0);
    }
}

#[test]
fn open_calls_are_bounded() {
    let mut table = table();
    let open = open(&mut table);
    let call = frame(wire::KIND_CALL, open, 0).status(1);
    for _ in 0..CALLS_MAX {
        assert_eq!(give(&mut table, call, &[]), Ok(true));
    }
    table.answered_call(open.0);
    assert_eq!(give(&mut table, call, &[]), Ok(true));
    assert_eq!(give(&mut table, call, &[]), Err(Violation::Budget("open CALLs")));
}

/// Frames of an open call that say nothing.
fn nothing(open: (Token, u32)) -> [(Frame, &'static [u8]); 2] {
    let data = frame(wire::KIND_DATA, open, 0).flags(wire::FLAG_MORE);
    [(data, &[]), (frame(wire::KIND_WINDOW, open, 8), &[0; 8])]
}

#[test]
fn frames_that_carry_nothing_are_not_kept() {
    let mut table = table();
    let open = open(&mut table);
    for (frame, payload) in nothing(open) {
        for _ in 0..1_000 {
            assert_eq!(give(&mut table, frame, payload), Ok(true));
        }
    }
    assert_eq!(taken(&mut table, open.0), 0);
    let end = frame(wire::KIND_DATA, open, 0);
    assert_eq!(give(&mut table, end, &[]), Ok(true));
    assert_eq!(taken(&mut table, open.0), 1, "an end is told");
}

#[test]
fn frames_that_carry_nothing_have_a_budget_by_the_second() {
    let limit = 10_000;
    for (frame, payload) in nothing((Token { idx: 0, generation: 1 }, 1)) {
        let mut table = table();
        open(&mut table);
        let start = Instant::now();
        let mut send = |seconds: u64| {
            let at = start + Duration::from_millis(1001 * seconds);
            table.deliver(frame, Bytes::from_static(payload), || at).map(drop)
        };
        for second in 0..3 {
            (0..limit).for_each(|_| send(second).expect("not more than is tolerated"));
        }
        assert_eq!(send(2), Err(Violation::Budget("frames that carry nothing")));
    }
}

#[test]
fn a_stream_of_single_bytes_is_no_flood() {
    let mut table = table();
    let open = open(&mut table);
    let now = Instant::now();
    let piece = frame(wire::KIND_DATA, open, 1).flags(wire::FLAG_MORE);
    for n in 1..=100_000 {
        table.deliver(piece, Bytes::from_static(b"x"), || now).expect("it carries a byte");
        if n % 1000 == 0 {
            taken(&mut table, open.0);
            table.give_back(open.0, 1000, true);
        }
    }
}

#[test]
fn session_ids_wrap_and_skip_live_ones() {
    let mut table = table();
    assert_eq!((open_session(&mut table), open_session(&mut table)), (1, 2));
    table.last_sid = i32::MAX.unsigned_abs() - 1;
    assert_eq!(open_session(&mut table), i32::MAX.unsigned_abs());
    assert_eq!(open_session(&mut table), 3, "1 and 2 are open");
    table.close_session(1);
    table.last_sid = i32::MAX.unsigned_abs();
    assert_eq!(open_session(&mut table), 1);
    assert_eq!(table.sessions(), 4);
}

#[test]
fn lanes_of_one_worker_have_no_session_id_in_common() {
    let mut all: Vec<Table> = (0..4)
        .map(|index| Table::new(&Shape { slots: 16, window: WINDOW, index, lanes: 4 }))
        .collect();
    let mut sids: Vec<u32> =
        all.iter_mut().flat_map(|t| [open_session(t), open_session(t)]).collect();
    sids.sort_unstable();
    assert_eq!(sids, [1, 2, 3, 4, 5, 6, 7, 8]);
    let mut wrapped: Vec<u32> = all
        .iter_mut()
        .map(|table| {
            table.last_sid = i32::MAX.unsigned_abs() - 1;
            table.close_session(table.first_sid);
            open_session(table)
        })
        .collect();
    wrapped.sort_unstable();
    assert_eq!(wrapped, [1, 2, 3, 4]);
}

#[test]
fn generations_wrap_past_zero() {
    let mut table = table();
    table.slots[0].issued.generation = u32::MAX;
    let (token, sid) = open(&mut table);
    assert_eq!(token, Token { idx: 0, generation: 1 });
    let old = Token { generation: u32::MAX, ..token };
    assert!(reply(&mut table, (token, sid)).is_ok());
    assert!(matches!(reply(&mut table, (old, sid)), Ok(false)), "older, not ahead");
}

#[test]
fn credits_come_back_once() {
    let mut table = table();
    let open: Vec<_> = (0..8).map(|_| open(&mut table)).collect();
    assert_eq!(begin(&mut table), None, "all in use");
    for (token, _) in &open {
        table.end(*token, None);
        table.end(*token, None);
    }
    assert_eq!(table.free.len(), 8);
    table.die();
    assert_eq!(begin(&mut table), None, "the worker is gone");
}

#[test]
fn the_oldest_session_is_the_one_opened_first_that_is_open() {
    let mut table = table();
    let begin = Instant::now();
    let at = |n: u32| begin + Duration::from_secs(n.into());
    let sids: Vec<_> = (0..4).map(|n| table.open_session(&origin(), at(n))).collect();
    assert_eq!(table.oldest(), Some(at(0)));
    table.close_session(sids[2]);
    assert_eq!(table.oldest(), Some(at(0)));
    table.close_session(sids[0]);
    assert_eq!(table.oldest(), Some(at(1)));
    // Another session of the same number is not the one that was seen.
    table.close_session(sids[1]);
    table.last_sid = sids[0];
    assert_eq!(table.open_session(&origin(), at(5)), sids[1]);
    assert_eq!(table.oldest(), Some(at(3)));
    [sids[1], sids[3]].into_iter().for_each(|sid| table.close_session(sid));
    assert_eq!(table.oldest(), None);
}
