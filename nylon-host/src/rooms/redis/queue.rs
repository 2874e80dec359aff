//! What waits for Redis.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::rooms::Kind;
use crate::rooms::adapter::Change;

/// What is to be done in Redis.
#[derive(Debug)]
pub(super) enum Job {
    Change(Change),
    /// A message for the room of that key.
    Publish(Arc<str>, Kind, Bytes),
    /// A message for a connection of another node.
    SendTo(Arc<str>, Kind, Bytes),
    /// How many members that room has.
    Size(Arc<str>, oneshot::Sender<u64>),
    /// This node goes.
    Close(oneshot::Sender<()>),
}

/// Jobs in their order. What finds no room pushes the oldest out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    stale: bool,
}

/// The most that waits.
const JOBS: usize = 4_096;
/// The most its messages come to, in bytes.
const BYTES: usize = 8 << 20;
/// The most that goes in one go, in jobs and bytes.
const BATCH: (usize, usize) = (128, 256 << 10);

impl Queue {
    /// Queues a job. Returns how many messages were pushed out.
    pub(super) fn push(&self, job: Job) -> u64 {
        let mut waiting = self.lock();
        waiting.bytes += job.bytes();
        waiting.jobs.push_back(job);
        let mut dropped = 0;
        while waiting.jobs.len() > JOBS || waiting.bytes > BYTES && waiting.jobs.len() > 1 {
            match waiting.pop() {
                Some(Job::Change(_)) => waiting.stale = true,
                Some(Job::Publish(..) | Job::SendTo(..)) => dropped += 1,
                _ => {}
            }
        }
        drop(waiting);
        self.filled.notify_one();
        dropped
    }

    /// The next jobs, at least one.
    pub(super) async fn next(&self) -> Vec<Job> {
        loop {
            let jobs = self.batch();
            if !jobs.is_empty() {
                return jobs;
            }
            self.filled.notified().await;
        }
    }

    fn batch(&self) -> Vec<Job> {
        let mut waiting = self.lock();
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while jobs.len() < BATCH.0 && bytes < BATCH.1 {
            let Some(job) = waiting.pop() else { break };
            bytes += job.bytes();
            jobs.push(job);
        }
        jobs
    }

    /// Whether changes were pushed out since the last call: what Redis has of this node is not what it should be.
    pub(super) fn take_stale(&self) -> bool {
        mem::take(&mut self.lock().stale)
    }

    /// Says so.
    pub(super) fn set_stale(&self) {
        self.lock().stale = true;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.bytes -= job.bytes();
        if self.jobs.is_empty() && self.jobs.capacity() > 256 {
            self.jobs = VecDeque::new();
        }
        Some(job)
    }
}

impl Job {
    /// Bytes of its message.
    fn bytes(&self) -> usize {
        match self {
            Self::Publish(_, _, payload) | Self::SendTo(_, _, payload) => payload.len(),
            _ => 0,
        }
    }

    /// Whether it carries a message.
    pub(super) fn is_message(&self) -> bool {
        matches!(self, Self::Publish(..) | Self::SendTo(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Job {
        Job::Publish("r".into(), Kind::Binary, vec![0; len].into())
    }

    fn came() -> Job {
        Job::Change(Change::Came { id: "a".into() })
    }

    #[test]
    fn the_oldest_goes() {
        let queue = Queue::default();
        assert_eq!(queue.push(came()), 0);
        for _ in 1..JOBS {
            assert_eq!(queue.push(message(1)), 0);
        }
        assert!(!queue.take_stale());
        assert_eq!(queue.push(message(1)), 0);
        assert!(queue.take_stale() && !queue.take_stale());
        assert_eq!(queue.push(message(1)), 1);
    }

    #[test]
    fn bytes_are_bounded() {
        let queue = Queue::default();
        let dropped: u64 = (0..20).map(|_| queue.push(message(1 << 20))).sum();
        assert_eq!(dropped, 12);
        assert_eq!(queue.push(message(BYTES * 2)), 8);
        assert_eq!(queue.batch().len(), 1);
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn batches_are_bounded_and_in_order() {
        let queue = Queue::default();
        (0..200).for_each(|len| assert_eq!(queue.push(message(len)), 0));
        let batches = [queue.batch(), queue.batch()];
        assert_eq!(batches.each_ref().map(Vec::len), [128, 72]);
        let lens: Vec<_> = batches.iter().flatten().map(Job::bytes).collect();
        assert_eq!(lens, (0..200).collect::<Vec<_>>());
        queue.push(message(300 << 10));
        queue.push(message(1));
        assert_eq!((queue.batch().len(), queue.batch().len(), queue.batch().len()), (1, 1, 0));
    }
}
