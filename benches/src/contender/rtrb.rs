//! The limit of a flight: the crate rtrb, a well-made ring between two threads, there and back.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rtrb::{Consumer, Producer, RingBuffer};

use super::pipe::{Numbers, Pipe, number};
use crate::Result;
use crate::cpus::Cpus;

/// Slots of a lane's ring of default size.
const SLOTS: usize = 256;

/// 64 bytes on a line of their own.
#[repr(align(64))]
struct Item([u8; 64]);

/// Two rings, and for each round a thread that sends back what comes.
pub(crate) struct Rtrb {
    cpus: Cpus,
    open: Option<Open>,
}

struct Open {
    there: Producer<Item>,
    back: Consumer<Item>,
    numbers: Numbers,
    stop: Arc<AtomicBool>,
    peer: JoinHandle<Result<()>>,
}

impl Rtrb {
    pub(crate) fn new(cpus: Cpus) -> Self {
        Self { cpus, open: None }
    }

    fn open(&mut self) -> Result<&mut Open> {
        self.open.as_mut().ok_or_else(|| "used outside a round".into())
    }
}

impl Pipe for Rtrb {
    fn begin(&mut self) -> Result<()> {
        let (there, inbox) = RingBuffer::new(SLOTS);
        let (outbox, back) = RingBuffer::new(SLOTS);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let answer = move || answer(inbox, outbox, &stopped);
        let peer = self.cpus.on_worker(|| std::thread::spawn(answer));
        self.open = Some(Open { there, back, numbers: Numbers::default(), stop, peer });
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        let open = self.open()?;
        let mut item = Item([7; 64]);
        open.numbers.stamp(&mut item.0);
        open.there.push(item).map_err(|_| "more in flight than slots".into())
    }

    fn receive(&mut self) -> Result<bool> {
        let open = self.open()?;
        match open.back.pop() {
            Ok(item) => open.numbers.check(&item.0).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn end(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        open.stop.store(true, Ordering::Relaxed);
        open.peer.join().map_err(|_| "the other thread panicked")?
    }
}

fn answer(mut inbox: Consumer<Item>, mut outbox: Producer<Item>, stop: &AtomicBool) -> Result<()> {
    loop {
        match inbox.pop() {
            Ok(item) if number(&item.0).is_none() => return Err("an item with two numbers".into()),
            Ok(item) => outbox.push(item).map_err(|_| "more in flight than slots")?,
            Err(_) if stop.load(Ordering::Relaxed) => return Ok(()),
            Err(_) => spin_loop(),
        }
    }
}
