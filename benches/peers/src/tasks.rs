//! The rounds of a client that is asynchronous: as many tasks as calls are open at once, each one call after the other.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Runtime;

use crate::Result;
use crate::cell::Round;
use crate::taker::Taker;

/// Runs the round; `call` makes the call of a number and looks at its answer.
pub(crate) fn run<C, F>(runtime: &Runtime, round: &Round, taker: &mut Taker, call: C) -> Result<()>
where
    C: Fn(u64) -> F + Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let shared = Arc::new(Mutex::new(mem::replace(taker, Taker::new(round))));
    let one = |shared: Arc<Mutex<Taker>>, call: C| async move {
        let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let pause = lock().pause();
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let Some(ticket) = lock().begin() else { return Ok(()) };
            call(ticket.number).await?;
            lock().end(ticket);
        }
    };
    let tasks: Vec<_> = (0..round.cell.in_flight)
        .map(|_| runtime.spawn(one(shared.clone(), call.clone())))
        .collect();
    let done: Result<()> =
        tasks.into_iter().try_for_each(|task| runtime.block_on(task).map_err(|e| e.to_string())?);
    *taker = mem::replace(
        &mut *shared.lock().unwrap_or_else(PoisonError::into_inner),
        Taker::new(round),
    );
    done
}
