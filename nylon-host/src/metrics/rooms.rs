//! What rooms did, at a scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Scrape, labels};
use crate::rooms::{Counters, Hub};

/// Collects the rooms of a node.
#[derive(Debug)]
pub(crate) struct RoomsCollector(pub(crate) Arc<Hub>);

impl Collector for RoomsCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut scrape = Scrape(encoder);
        let Self(hub) = self;
        let Counters { broadcasts, deliveries, dropped, overflowed, refused, not_text, redis } =
            hub.counters();
        let one = |n: u64| vec![(labels([]), n)];
        let why = |name, reason, n| (labels([(name, reason)]), n);
        let help = "Rooms with members in this node.";
        scrape.gauge(("nylon_rooms", help), None, one(hub.rooms() as u64))?;
        let help = "Messages that connections of this node sent to rooms.";
        scrape.counter(("nylon_room_broadcasts", help), None, one(broadcasts.count()))?;
        let help = "Messages of rooms and of other connections queued for clients of this node.";
        scrape.counter(("nylon_room_deliveries", help), None, one(deliveries.count()))?;
        let help =
            "Messages of rooms and of other connections that did not reach a client of this node.";
        let reasons = vec![
            why("reason", "slow_client", dropped.count()),
            why("reason", "not_text", not_text.count()),
        ];
        scrape.counter(("nylon_room_dropped", help), None, reasons)?;
        let help = "Clients given up, as they did not read what rooms sent them.";
        scrape.counter(("nylon_room_overflows", help), None, one(overflowed.count()))?;
        let help = "Joins refused, as a bound was reached.";
        scrape.counter(("nylon_room_joins_refused", help), None, one(refused.count()))?;
        if !hub.is_clustered() {
            return Ok(());
        }
        let help = "Whether the Redis that nodes share can be reached.";
        scrape.gauge(("nylon_redis_up", help), None, one(redis.is_up().into()))?;
        let help = "Connections made to Redis.";
        scrape.counter(("nylon_redis_connects", help), None, one(redis.connects.count()))?;
        let help = "Messages published for other nodes.";
        scrape.counter(("nylon_redis_published", help), None, one(redis.published.count()))?;
        let help = "Events of other nodes that came.";
        scrape.counter(("nylon_redis_received", help), None, one(redis.received.count()))?;
        let help = "Events that went no further.";
        let reasons = vec![
            why("reason", "out_of_reach", redis.unpublished.count()),
            why("reason", "too_fast", redis.unread.count()),
            why("reason", "junk", redis.junk.count()),
        ];
        scrape.counter(("nylon_redis_dropped", help), None, reasons)?;
        let help = "Connections of dead nodes removed from Redis.";
        scrape.counter(("nylon_redis_swept", help), None, one(redis.swept.count()))
    }
}
