//! The rings of nylon-shm by themselves: a lane's two, between two threads that spin.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use bytes::BytesMut;
use nylon_protocol::check::{self, Side};
use nylon_protocol::{Frame, Token, wire};
use nylon_shm::sync::Ordering;
use nylon_shm::{Consumer, MappedRing, Memory as _, Producer, Segments};

use super::pipe::{Numbers, Pipe, number};
use crate::cpus::Cpus;
use crate::{Result, worker};

/// Where a payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the ring puts it: up to 88 bytes into the slot, else into the arena.
    Ring,
    /// Into the arena, whatever its size: what the slot's room for short ones saves.
    Arena,
}

/// A lane's rings, and for each round a thread that sends back what comes.
pub(crate) struct Ring {
    cpus: Cpus,
    place: Place,
    payload: Vec<u8>,
    answer: BytesMut,
    open: Option<Open>,
}

struct Open {
    down: Out,
    up: Consumer<MappedRing>,
    numbers: Numbers,
    stop: Arc<AtomicBool>,
    peer: JoinHandle<Result<()>>,
}

impl Ring {
    /// Payloads of `size` bytes, at least 16.
    pub(crate) fn new(cpus: Cpus, size: usize, place: Place) -> Self {
        Self { cpus, place, payload: vec![7; size], answer: BytesMut::new(), open: None }
    }
}

impl Pipe for Ring {
    fn begin(&mut self) -> Result<()> {
        let (host, fds) = Segments::create(worker::header()).map_err(|e| e.to_string())?;
        let theirs = Segments::attach(&fds, &worker::header()).map_err(|e| e.to_string())?;
        let stop = Arc::new(AtomicBool::new(false));
        let (place, stopped) = (self.place, stop.clone());
        let inbox = Consumer::new(theirs.down(0), Side::Host, false);
        let outbox = Out::new(theirs.up(0), place);
        let answer = move || answer(inbox, outbox, &stopped);
        let peer = self.cpus.on_worker(|| std::thread::spawn(answer));
        let (down, up) = (Out::new(host.down(0), place), host.up(0));
        let up = Consumer::new(up, Side::Worker, true);
        self.open = Some(Open { down, up, numbers: Numbers::default(), stop, peer });
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Err("used outside a round".into()) };
        open.numbers.stamp(&mut self.payload);
        let frame = Frame::of(wire::KIND_CALL, Token { idx: 0, generation: 1 }, 1, 1);
        open.down.push(&frame, &self.payload)
    }

    fn flush(&mut self) -> Result<()> {
        // Nobody sleeps; what a lane pays to know that is paid here as well.
        self.open.as_mut().map(|open| open.down.must_ring());
        Ok(())
    }

    fn receive(&mut self) -> Result<bool> {
        let Some(open) = &mut self.open else { return Err("used outside a round".into()) };
        match open.up.pop(&mut self.answer).map_err(|e| e.to_string())? {
            None => Ok(false),
            Some(_) if self.answer.len() != self.payload.len() => Err("another length".into()),
            Some(_) => open.numbers.check(&self.answer).map(|()| true),
        }
    }

    fn end(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        open.stop.store(true, Ordering::Relaxed);
        open.peer.join().map_err(|_| "the other thread panicked")?
    }
}

fn answer(mut inbox: Consumer<MappedRing>, mut outbox: Out, stop: &AtomicBool) -> Result<()> {
    let mut payload = BytesMut::new();
    loop {
        match inbox.pop(&mut payload).map_err(|e| e.to_string())? {
            Some(frame) => {
                number(&payload).ok_or("a payload with two numbers")?;
                let token = Token { idx: frame.call_idx, generation: frame.call_gen };
                let mut reply = Frame::of(wire::KIND_REPLY, token, frame.sid, frame.phase);
                reply.method = wire::METHOD_NEXT;
                outbox.push(&reply, &payload)?;
                outbox.must_ring();
            }
            None if stop.load(Ordering::Relaxed) => return Ok(()),
            None => spin_loop(),
        }
    }
}

/// Writes a ring: the shipped producer, or the one below.
enum Out {
    Ring(Producer<MappedRing>),
    Arena(ArenaProducer),
}

impl Out {
    fn new(ring: MappedRing, place: Place) -> Self {
        match place {
            Place::Ring => Self::Ring(Producer::new(ring)),
            Place::Arena => {
                Self::Arena(ArenaProducer { ring: Producer::new(ring), pos: 0, apos: 0 })
            }
        }
    }

    fn push(&mut self, frame: &Frame, payload: &[u8]) -> Result<()> {
        match self {
            Self::Ring(ring) => ring.push(frame, payload).map_err(|e| e.to_string()),
            Self::Arena(arena) => arena.push(*frame, payload),
        }
    }

    fn must_ring(&mut self) -> bool {
        match self {
            Self::Ring(ring) => ring.must_ring(),
            Self::Arena(arena) => arena.ring.must_ring(),
        }
    }
}

/// Writes every payload into the arena. With one call in flight it cannot overrun its consumer, so it does not look.
struct ArenaProducer {
    ring: Producer<MappedRing>,
    pos: u64,
    apos: u64,
}

impl ArenaProducer {
    fn push(&mut self, mut frame: Frame, payload: &[u8]) -> Result<()> {
        let memory = self.ring.memory();
        frame.len = u32::try_from(payload.len()).map_err(|e| e.to_string())?;
        (frame.arena_pos, self.apos) = check::bump(self.apos, frame.len, memory.arena());
        memory.put_bytes(frame.arena_pos & (memory.arena() - 1), payload);
        let slots = u64::from(memory.slots());
        let index = u32::try_from(self.pos % slots).map_err(|e| e.to_string())?;
        memory.put_frame(index, &frame, &[]);
        // Release: pairs with the Acquire in the consumer's `published`, as the shipped producer's does.
        memory.seq(index).store(check::seq_of(self.pos), Ordering::Release);
        self.pos += 1;
        Ok(())
    }
}
