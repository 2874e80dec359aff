//! The last of what comes one after the other, numbered from 1 without gaps: kept for whoever looks later, followed by whoever
//! wants the rest. Who adds to it never waits for who reads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Keeps the last so many things, and no more than so many bytes of them.
#[derive(Debug)]
pub(crate) struct History<T> {
    kept: Mutex<Kept<T>>,
    came: Notify,
    most: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Kept<T> {
    /// Each with its bytes.
    things: VecDeque<(usize, Arc<T>)>,
    bytes: usize,
    /// Number of the last one, 0 before the first.
    last: u64,
    /// Somebody waits for the next one.
    awaited: bool,
}

impl<T> History<T> {
    pub(crate) const fn new(most: usize, most_bytes: usize) -> Self {
        let kept = Kept { things: VecDeque::new(), bytes: 0, last: 0, awaited: false };
        Self { kept: Mutex::new(kept), came: Notify::const_new(), most, most_bytes }
    }

    /// Adds what `thing` makes of its number; it counts as so many bytes.
    pub(crate) fn add(&self, bytes: usize, thing: impl FnOnce(u64) -> T) {
        let mut kept = self.lock();
        kept.last += 1;
        let thing = Arc::new(thing(kept.last));
        kept.bytes += bytes;
        kept.things.push_back((bytes, thing));
        while kept.things.len() > self.most || kept.bytes > self.most_bytes {
            let Some((bytes, _)) = kept.things.pop_front() else { break };
            kept.bytes -= bytes;
        }
        let awaited = std::mem::take(&mut kept.awaited);
        drop(kept);
        if awaited {
            self.came.notify_waiters();
        }
    }

    /// What came after number `after`, oldest first, and how many of those are not kept any more. A number that there has
    /// not been yet is of another history: everything came after it.
    pub(crate) fn since(&self, after: u64) -> (Vec<Arc<T>>, u64) {
        self.lock().since(after)
    }

    /// As [`Self::since`], and waits for something to come if there is nothing.
    pub(crate) async fn next(&self, after: u64) -> (Vec<Arc<T>>, u64) {
        loop {
            // Told of what is added from here on, polled or not.
            let came = self.came.notified();
            {
                let mut kept = self.lock();
                let (things, lost) = kept.since(after);
                if !things.is_empty() {
                    return (things, lost);
                }
                kept.awaited = true;
            }
            came.await;
        }
    }

    /// Number of the last one, 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.lock().last
    }

    /// Keeps nothing of what came so far.
    pub(crate) fn clear(&self) {
        let mut kept = self.lock();
        kept.bytes = 0;
        let things = std::mem::take(&mut kept.things);
        drop(kept);
        drop(things);
    }

    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Kept<T> {
    fn since(&self, after: u64) -> (Vec<Arc<T>>, u64) {
        let after = if after > self.last { 0 } else { after };
        let gone = self.last - self.things.len() as u64;
        let known = usize::try_from(after.saturating_sub(gone)).unwrap_or(usize::MAX);
        let things = self.things.iter().skip(known).map(|(_, thing)| thing.clone()).collect();
        (things, gone.saturating_sub(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers((things, lost): (Vec<Arc<u64>>, u64)) -> (Vec<u64>, u64) {
        (things.iter().map(|number| **number).collect(), lost)
    }

    #[test]
    fn what_is_not_kept_any_more_is_counted() {
        let history = History::new(3, 100);
        assert_eq!(numbers(history.since(0)), (vec![], 0));
        (0..5).for_each(|_| history.add(1, |number| number));
        assert_eq!(numbers(history.since(0)), (vec![3, 4, 5], 2));
        assert_eq!(numbers(history.since(1)), (vec![3, 4, 5], 1));
        assert_eq!(numbers(history.since(3)), (vec![4, 5], 0));
        assert_eq!(numbers(history.since(5)), (vec![], 0));
        assert_eq!(numbers(history.since(6)), (vec![3, 4, 5], 2), "a number of another history");
        history.clear();
        assert_eq!(numbers(history.since(4)), (vec![], 1));
        history.add(1, |number| number);
        assert_eq!(numbers(history.since(4)), (vec![6], 1));
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let history = History::new(100, 10);
        (0..4).for_each(|_| history.add(4, |number| number));
        assert_eq!(numbers(history.since(0)), (vec![3, 4], 2));
        history.add(11, |number| number);
        assert_eq!(numbers(history.since(0)), (vec![], 5), "too large to be kept");
        history.add(10, |number| number);
        assert_eq!(numbers(history.since(0)), (vec![6], 5));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_follower_gets_each_or_is_told_how_many_it_missed() {
        const ALL: u64 = 20_000;
        let history = Arc::new(History::new(64, usize::MAX));
        let follow = |history: Arc<History<u64>>| async move {
            let (mut at, mut seen, mut missed) = (0, 0, 0);
            while at < ALL {
                let (things, lost) = history.next(at).await;
                missed += lost;
                assert_eq!(*things[0], at + lost + 1);
                assert!(things.windows(2).all(|two| *two[1] == *two[0] + 1));
                (at, seen) = (*things[things.len() - 1], seen + things.len() as u64);
            }
            assert_eq!((at, seen + missed), (ALL, ALL));
        };
        let followers: Vec<_> = (0..3).map(|_| tokio::spawn(follow(history.clone()))).collect();
        for n in 0..ALL {
            history.add(1, |number| number);
            if n % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        for follower in followers {
            follower.await.expect("it saw all");
        }
        assert_eq!(history.last(), ALL);
    }
}
