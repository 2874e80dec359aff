//! Which requests may have sessions in a plugin at the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Failure;
use crate::lane::Queue;

/// The places of one plugin, over all its workers.
#[derive(Debug)]
pub(crate) struct Admission {
    /// `None` without a limit, which then costs nothing.
    places: Option<Arc<Semaphore>>,
    /// How many there are.
    most: u32,
    queue: Arc<Queue>,
}

/// A request's place in a plugin: all its sessions there share it, and the last of them to close gives it back.
///
/// A request that had to wait for a second place while it holds the first could wait for itself.
#[derive(Debug)]
pub(crate) struct Permit(OwnedSemaphorePermit);

impl Admission {
    /// With `concurrency` places, or without a limit; who finds none waits in `queue`.
    pub(crate) fn new(concurrency: Option<u32>, queue: Arc<Queue>) -> Self {
        let places = concurrency.map(|most| Arc::new(Semaphore::new(most as usize)));
        Self { places, most: concurrency.unwrap_or(0), queue }
    }

    /// Whether there is a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.places.is_some()
    }

    /// A place for a request; `None` without a limit. Who came first gets the next one.
    ///
    /// # Errors
    /// Those of [`Queue::wait`].
    pub(crate) async fn enter(&self, budget: Duration) -> Result<Option<Arc<Permit>>, Failure> {
        let Some(places) = &self.places else { return Ok(None) };
        // Not while others wait: theirs are never among those that are free.
        let permit = match places.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let turn = async {
                    let permit = places.clone().acquire_owned().await;
                    permit.map_err(|_| Failure::Busy)
                };
                self.queue.wait(budget, turn).await?
            }
        };
        Ok(Some(Arc::new(Permit(permit))))
    }

    /// Whether `permit` is for a place of this plugin.
    pub(crate) fn gave(&self, permit: &Permit) -> bool {
        self.places.as_ref().is_some_and(|places| Arc::ptr_eq(places, permit.0.semaphore()))
    }

    /// Requests that have a place now; 0 without a limit.
    pub(crate) fn taken(&self) -> usize {
        let free = self.places.as_ref().map_or(0, |places| places.available_permits());
        (self.most as usize).saturating_sub(free)
    }

    /// Where requests wait, here and for a credit of a lane.
    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn admission(concurrency: u32, queue: u32, wait: Duration) -> Admission {
        Admission::new(Some(concurrency), Arc::new(Queue::new(queue, wait)))
    }

    /// What `entering` gives without waiting, if anything.
    async fn now<T>(entering: &mut Pin<Box<impl Future<Output = T>>>) -> Option<T> {
        std::future::poll_fn(|cx| match entering.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn places_go_to_who_came_first_and_the_rest_is_refused() {
        let plugin = admission(2, 2, HOUR);
        let first = plugin.enter(HOUR).await.expect("free").expect("limited");
        let _second = plugin.enter(HOUR).await.expect("free");
        assert_eq!(plugin.taken(), 2);
        let mut third = Box::pin(plugin.enter(HOUR));
        let mut fourth = Box::pin(plugin.enter(HOUR));
        assert!(now(&mut third).await.is_none() && now(&mut fourth).await.is_none());
        assert_eq!(plugin.queue().waiting(), 2);
        let refused = plugin.enter(HOUR).await.expect_err("two wait");
        assert_eq!(refused, Failure::QueueFull(2));
        assert_eq!((plugin.queue().full(), plugin.queue().waiting()), (1, 2));

        drop(first);
        assert!(now(&mut fourth).await.is_none(), "it came later");
        let third = now(&mut third).await.expect("its turn").expect("a place");
        assert_eq!((plugin.taken(), plugin.queue().waiting()), (2, 1));
        drop(third);
        assert!(now(&mut fourth).await.is_some());
    }

    #[tokio::test]
    async fn who_leaves_the_queue_leaves_its_turn_to_the_next() {
        let plugin = admission(1, 2, HOUR);
        let held = plugin.enter(HOUR).await.expect("free");
        let mut gone = Box::pin(plugin.enter(HOUR));
        let mut stays = Box::pin(plugin.enter(HOUR));
        assert!(now(&mut gone).await.is_none() && now(&mut stays).await.is_none());
        drop(held);
        // It has its turn and never takes it.
        drop(gone);
        assert!(now(&mut stays).await.is_some());
        drop(stays);
        assert_eq!((plugin.taken(), plugin.queue().waiting()), (0, 0));
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_the_queue_or_the_phase_allows() {
        let [short, long] = [10, 20].map(Duration::from_millis);
        let plugin = admission(1, 9, long);
        let _held = plugin.enter(HOUR).await.expect("free");
        let late = plugin.enter(HOUR).await.expect_err("nobody leaves");
        assert_eq!(late, Failure::QueueWait(long));
        assert_eq!(plugin.enter(short).await.expect_err("sooner"), Failure::QueueWait(short));
        assert_eq!((plugin.queue().late(), plugin.queue().waiting()), (2, 0));
    }

    #[tokio::test]
    async fn a_permit_knows_its_plugin_and_lives_as_long_as_its_last_session() {
        let (one, other) = (admission(1, 0, HOUR), admission(1, 0, HOUR));
        let permit = one.enter(HOUR).await.expect("free").expect("limited");
        assert!(one.gave(&permit) && !other.gave(&permit));
        let shared = permit.clone();
        drop(permit);
        assert_eq!(one.enter(HOUR).await.expect_err("taken"), Failure::QueueFull(0));
        drop(shared);
        assert!(one.enter(HOUR).await.is_ok());

        let free = Admission::new(None, Arc::new(Queue::new(0, HOUR)));
        assert!(free.enter(HOUR).await.expect("no limit").is_none() && !free.is_limited());
    }
}
