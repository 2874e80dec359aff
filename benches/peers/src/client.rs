//! A client process: takes rounds from standard input, one line each, and answers on standard output.
//!
//! The answer is a line, `ok CALLS SAMPLES` and then SAMPLES × 8 bytes, little-endian nanoseconds; or
//! `unsupported REASON`. Anything else is a failure of the run. go/internal/client speaks the same.

use std::io::{BufRead as _, Write as _, stdin, stdout};

use crate::Result;
use crate::cell::{Cell, Round};
use crate::taker::{Taker, Ticket};

/// One contender's client, whose server runs already.
pub(crate) trait Client {
    /// The server's process, if it has one.
    fn server(&self) -> Option<u32>;

    /// Why it cannot do `cell`, if it cannot.
    fn refuses(&self, _cell: &Cell) -> Option<String> {
        None
    }

    /// Calls until the round is over.
    ///
    /// # Errors
    /// A wrong answer, or a server that is gone.
    fn round(&mut self, round: &Round, taker: &mut Taker) -> Result<()>;
}

/// Serves rounds until standard input ends.
pub(crate) fn serve(mut client: Box<dyn Client>) -> Result<()> {
    let mut out = stdout().lock();
    let io = |e: std::io::Error| e.to_string();
    writeln!(out, "ready {}", client.server().unwrap_or(0)).map_err(io)?;
    for line in stdin().lock().lines() {
        let line = line.map_err(io)?;
        let round = Round::parse(&line).ok_or_else(|| format!("not a round: {line:?}"))?;
        if let Some(why) = client.refuses(&round.cell) {
            writeln!(out, "unsupported {why}").map_err(io)?;
            continue;
        }
        let mut taker = Taker::new(&round);
        client.round(&round, &mut taker)?;
        writeln!(out, "ok {} {}", taker.calls(), taker.samples.len()).map_err(io)?;
        let bytes: Vec<u8> = taker.samples.iter().flat_map(|ns| ns.to_le_bytes()).collect();
        out.write_all(&bytes).and_then(|()| out.flush()).map_err(io)?;
    }
    Ok(())
}

/// The rounds of a client whose call blocks its thread: one at a time.
pub(crate) fn one_by_one(taker: &mut Taker, mut call: impl FnMut(u64) -> Result<()>) -> Result<()> {
    while !taker.is_over() {
        if let Some(pause) = taker.pause() {
            std::thread::sleep(pause);
        }
        let Some(ticket) = taker.begin() else { break };
        call(ticket.number)?;
        taker.end(ticket);
    }
    Ok(())
}

/// What came back instead of the answer to `ticket`.
pub(crate) fn wrong(ticket: Ticket, found: Option<u64>) -> String {
    format!("call {} came back as {found:?}", ticket.number)
}
