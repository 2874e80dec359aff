//! Puts right what Redis has of a node: of this one after an outage, and of one that died without a farewell.

use std::collections::{HashMap, HashSet};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline, RedisError, RedisResult};

use super::keys::{JANITOR_TTL, Keys};
use crate::rooms::memory::Memory;

/// Connections looked at in one go.
const CHUNK: usize = 500;

/// Writes all connections of this node down, and removes those of it that are no more.
pub(super) async fn sync(
    keys: &Keys,
    memory: &Memory,
    redis: &mut MultiplexedConnection,
) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    keys.alive(&mut pipe);
    query::<()>(&pipe, redis).await?;
    let known = members(keys.node_connections(&keys.node), redis).await?;
    // Taken after the question: what changes from here on is in the queue behind.
    let here: HashMap<_, _> = memory.snapshot().into_iter().collect();
    let gone: Vec<_> = known
        .into_iter()
        .filter(|id| !std::str::from_utf8(id).is_ok_and(|id| here.contains_key(id)))
        .collect();
    remove(keys, keys.node.as_bytes(), &gone, redis).await?;
    let here: Vec<_> = here.into_iter().collect();
    for chunk in here.chunks(CHUNK) {
        let ids: Vec<_> = chunk.iter().map(|(id, _)| id.as_bytes()).collect();
        let known = rooms_of(keys, &ids, redis).await?;
        let mut pipe = redis::pipe();
        for ((id, rooms), known) in chunk.iter().zip(known) {
            keys.came(id, &mut pipe);
            rooms.iter().for_each(|room| keys.joined(id, room, &mut pipe));
            let rooms: HashSet<_> = rooms.iter().map(|room| room.as_bytes()).collect();
            for left in known.iter().filter(|room| !rooms.contains(room.as_slice())) {
                keys.left(id.as_bytes(), left, &mut pipe);
            }
        }
        query::<()>(&pipe, redis).await?;
    }
    Ok(())
}

/// Removes this node and all its connections.
pub(super) async fn farewell(keys: &Keys, redis: &mut MultiplexedConnection) -> RedisResult<()> {
    remove_node(keys, keys.node.as_bytes(), redis).await?;
    redis::cmd("DEL").arg(keys.node(&keys.node)).exec_async(redis).await
}

/// Removes the connections of dead nodes, unless another node is at it. Returns how many there were.
pub(super) async fn sweep(keys: &Keys, redis: &mut MultiplexedConnection) -> RedisResult<u64> {
    let mut turn = redis::cmd("SET");
    turn.arg(keys.janitor()).arg(&keys.node).arg("NX").arg("EX").arg(JANITOR_TTL.as_secs());
    if turn.query_async::<Option<String>>(redis).await?.is_none() {
        return Ok(0);
    }
    let (mut cursor, mut removed) = (0_u64, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(keys.node_connections_pattern()).arg("COUNT").arg(CHUNK);
        let (next, found): (u64, Vec<Vec<u8>>) = scan.query_async(redis).await?;
        for set in found {
            let Some(node) = keys.node_of(&set).filter(|node| *node != keys.node.as_bytes()) else {
                continue;
            };
            let alive = redis::cmd("EXISTS").arg(keys.node(node)).query_async::<u64>(redis).await?;
            if alive == 0 {
                removed += remove_node(keys, node, redis).await?;
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(removed);
        }
    }
}

async fn remove_node(
    keys: &Keys,
    node: &[u8],
    redis: &mut MultiplexedConnection,
) -> RedisResult<u64> {
    let ids = members(keys.node_connections(node), redis).await?;
    remove(keys, node, &ids, redis).await?;
    Ok(ids.len() as u64)
}

async fn remove(
    keys: &Keys,
    node: &[u8],
    ids: &[Vec<u8>],
    redis: &mut MultiplexedConnection,
) -> RedisResult<()> {
    for chunk in ids.chunks(CHUNK) {
        let rooms = rooms_of(keys, chunk, redis).await?;
        let mut pipe = redis::pipe();
        for (id, rooms) in chunk.iter().zip(rooms) {
            keys.gone(node, id, &rooms, &mut pipe);
        }
        query::<()>(&pipe, redis).await?;
    }
    Ok(())
}

/// For each connection, the keys of its rooms.
async fn rooms_of(
    keys: &Keys,
    ids: &[impl AsRef<[u8]>],
    redis: &mut MultiplexedConnection,
) -> RedisResult<Vec<Vec<Vec<u8>>>> {
    let mut pipe = redis::pipe();
    for id in ids {
        pipe.smembers(keys.connection_rooms(id));
    }
    query(&pipe, redis).await
}

async fn members(set: Vec<u8>, redis: &mut MultiplexedConnection) -> RedisResult<Vec<Vec<u8>>> {
    redis::cmd("SMEMBERS").arg(set).query_async(redis).await
}

/// Runs all of it; the first answer that is an error is the result.
async fn query<T: FromRedisValue>(
    pipe: &Pipeline,
    redis: &mut MultiplexedConnection,
) -> Result<T, RedisError> {
    pipe.query_async(redis).await
}
