//! Sleeping and waking over the shipped ring: whatever the interleaving, nobody sleeps while there is work.
//!
//! A lost wake is a model in which all threads are blocked, which loom reports as a deadlock.
#![cfg(loom)]

mod loom_memory;

use std::sync::Arc;

use loom::thread;
use loom_memory::{Edge, Futex, Ring, check, pop, push};
use nylon_shm::{Armed, Consumer, Memory, Producer};

/// How the two ends of one ring wake each other.
#[derive(Default)]
struct Bells {
    /// The consumer sleeps on `bell`.
    frames: Futex,
    /// The producer sleeps on `space_bell`.
    space: Futex,
}

/// Takes frame `n` as `WorkerEnd::recv` does: pop, else arm, look after the producer, sleep, disarm.
fn recv(consumer: &mut Consumer<Ring>, bells: &Bells, n: u32, len: usize, mut spurious: bool) {
    loop {
        if pop(consumer, n, len) {
            ring_space(consumer, bells);
            return;
        }
        if let Armed::Sleep(bell) = consumer.arm().unwrap() {
            ring_space(consumer, bells);
            // A signal: the call returns at once, whatever the word says.
            if !std::mem::take(&mut spurious) {
                bells.frames.wait(consumer.memory().bell(), bell);
            }
            consumer.disarm();
        }
    }
}

fn ring_space(consumer: &mut Consumer<Ring>, bells: &Bells) {
    if consumer.must_ring_space() {
        bells.space.wake();
    }
}

fn ring(producer: &mut Producer<Ring>, bells: &Bells) {
    if producer.must_ring() {
        bells.frames.wake();
    }
}

/// Publishes frame `n` as `WorkerEnd::send` does, but for the bell after it.
fn publish(producer: &mut Producer<Ring>, bells: &Bells, n: u32, len: usize) {
    while !push(producer, n, len) {
        ring(producer, bells);
        if let Some(bell) = producer.arm_space(len).unwrap() {
            bells.space.wait(producer.memory().space_bell(), bell);
        }
        producer.disarm_space();
    }
}

/// One frame, one sleeper: sleep, or cancel because the frame came in between.
#[test]
fn a_frame_wakes_the_sleeper() {
    check(None, || {
        let (mut producer, mut consumer) = Ring::ends(2, 512, 0, 0);
        let bells = Arc::new(Bells::default());
        let near = bells.clone();
        let pushing = thread::spawn(move || {
            publish(&mut producer, &near, 1, 8);
            ring(&mut producer, &near);
        });
        recv(&mut consumer, &bells, 1, 8, false);
        pushing.join().unwrap();
    });
}

/// Two sleeps in a row: the second epoch is rung for although the first one was.
#[test]
fn each_sleep_is_rung_for() {
    // 3: unbounded it takes half a minute, and the second sleep's window needs no more.
    check(Some(3), || {
        let (mut producer, mut consumer) = Ring::ends(2, 512, 0, 0);
        let bells = Arc::new(Bells::default());
        let near = bells.clone();
        let pushing = thread::spawn(move || {
            for n in 1..=2 {
                publish(&mut producer, &near, n, 8);
                ring(&mut producer, &near);
            }
        });
        recv(&mut consumer, &bells, 1, 8, false);
        recv(&mut consumer, &bells, 2, 8, false);
        pushing.join().unwrap();
    });
}

/// A wake nobody asked for is followed by a new epoch; the ring for the old one does no harm.
#[test]
fn a_spurious_wake_sleeps_again() {
    check(None, || {
        let (mut producer, mut consumer) = Ring::ends(2, 512, 0, 0);
        let bells = Arc::new(Bells::default());
        let near = bells.clone();
        let pushing = thread::spawn(move || {
            publish(&mut producer, &near, 1, 8);
            ring(&mut producer, &near);
        });
        recv(&mut consumer, &bells, 1, 8, true);
        pushing.join().unwrap();
    });
}

/// The host's order on an edge-triggered eventfd: clear, arm, look again, await.
#[test]
fn an_edge_wakes_the_reactor() {
    // 3: unbounded it takes a minute, and a lost edge needs one switch in each of three windows.
    check(Some(3), || {
        let (mut producer, mut consumer) = Ring::ends(2, 512, 0, 0);
        let edge = Arc::new(Edge::default());
        let near = edge.clone();
        let pushing = thread::spawn(move || {
            for n in 1..=2 {
                assert!(push(&mut producer, n, 8));
                if producer.must_ring() {
                    near.write();
                }
            }
        });
        for n in 1..=2 {
            while !pop(&mut consumer, n, 8) {
                edge.clear();
                if let Armed::Sleep(_) = consumer.arm().unwrap() {
                    edge.wait();
                    consumer.disarm();
                }
            }
        }
        pushing.join().unwrap();
    });
}

/// One bell for a whole batch; the batch is larger than the ring, so it rings before it waits.
#[test]
fn a_batch_that_runs_out_of_space() {
    // 3: one switch in each side's window, and one more to get the ring full.
    check(Some(3), || {
        let (mut producer, mut consumer) = Ring::ends(2, 512, 0, 0);
        let bells = Arc::new(Bells::default());
        let near = bells.clone();
        let pushing = thread::spawn(move || {
            for n in 1..=3 {
                publish(&mut producer, &near, n, 8);
            }
            ring(&mut producer, &near);
        });
        for n in 1..=3 {
            recv(&mut consumer, &bells, n, 8, false);
        }
        pushing.join().unwrap();
    });
}

/// One turn of the consumer, after which it is busy for ever: the producer has its room all the same.
#[test]
fn a_released_slot_wakes_the_producer() {
    check(None, || {
        let (mut producer, mut consumer) = Ring::ends(2, 512, 0, 0);
        assert!(push(&mut producer, 1, 8) && push(&mut producer, 2, 8));
        let bells = Arc::new(Bells::default());
        let near = bells.clone();
        let pushing = thread::spawn(move || publish(&mut producer, &near, 3, 8));
        assert!(pop(&mut consumer, 1, 8));
        ring_space(&mut consumer, &bells);
        pushing.join().unwrap();
    });
}

/// The same for arena bytes.
#[test]
fn released_bytes_wake_the_producer() {
    check(None, || {
        let (mut producer, mut consumer) = Ring::ends(8, 512, 0, 0);
        for n in 1..=4 {
            assert!(push(&mut producer, n, 100));
        }
        let bells = Arc::new(Bells::default());
        let near = bells.clone();
        let pushing = thread::spawn(move || publish(&mut producer, &near, 5, 128));
        assert!(pop(&mut consumer, 1, 100));
        ring_space(&mut consumer, &bells);
        pushing.join().unwrap();
    });
}

/// Eight slots are released by twos: a consumer that has seen the producer wait releases what it holds back, and one
/// that goes to sleep has released everything before it looks.
#[test]
fn a_lazy_release_is_not_lost() {
    // 2: a lost wake needs one switch in each side's window.
    check(Some(2), || {
        let (mut producer, mut consumer) = Ring::ends(8, 512, 8, 0);
        for n in 1..=8 {
            assert!(push(&mut producer, n, 8));
        }
        for n in 1..=6 {
            assert!(pop(&mut consumer, n, 8));
        }
        for n in 9..=14 {
            assert!(push(&mut producer, n, 8));
        }
        // Full again, nothing held back; the next pop is not released by itself.
        let bells = Arc::new(Bells::default());
        let near = bells.clone();
        let pushing = thread::spawn(move || {
            publish(&mut producer, &near, 15, 8);
            ring(&mut producer, &near);
        });
        for n in 7..=15 {
            recv(&mut consumer, &bells, n, 8, false);
        }
        pushing.join().unwrap();
    });
}

/// Both rings full, each side with one frame more to send: the host never blocks in a send, the worker may.
#[test]
fn both_sides_out_of_space() {
    // 2 as above; four sleep words are in play and more would take minutes.
    check(Some(2), || {
        let (mut host_down, mut worker_down) = Ring::ends(2, 512, 0, 0);
        let (mut worker_up, mut host_up) = Ring::ends(2, 512, 0, 0);
        for n in 1..=2 {
            assert!(push(&mut host_down, n, 8) && push(&mut worker_up, n, 8));
        }
        let host_bell = Arc::new(Edge::default());
        let worker_bells = Arc::new(Bells::default());

        let (ring_host, bells) = (host_bell.clone(), worker_bells.clone());
        let worker = thread::spawn(move || {
            while !push(&mut worker_up, 3, 8) {
                if worker_up.must_ring() {
                    ring_host.write();
                }
                if let Some(bell) = worker_up.arm_space(8).unwrap() {
                    bells.space.wait(worker_up.memory().space_bell(), bell);
                }
                worker_up.disarm_space();
            }
            if worker_up.must_ring() {
                ring_host.write();
            }
            for n in 1..=3 {
                while !pop(&mut worker_down, n, 8) {
                    if let Armed::Sleep(bell) = worker_down.arm().unwrap() {
                        if worker_down.must_ring_space() {
                            ring_host.write();
                        }
                        bells.frames.wait(worker_down.memory().bell(), bell);
                        worker_down.disarm();
                    }
                }
                if worker_down.must_ring_space() {
                    ring_host.write();
                }
            }
        });

        let (mut sent, mut taken) = (false, 0);
        while !sent || taken < 3 {
            host_bell.clear();
            let mut moved = false;
            while taken < 3 && pop(&mut host_up, taken + 1, 8) {
                taken += 1;
                moved = true;
            }
            if host_up.must_ring_space() {
                worker_bells.space.wake();
            }
            if !sent && push(&mut host_down, 3, 8) {
                (sent, moved) = (true, true);
                if host_down.must_ring() {
                    worker_bells.frames.wake();
                }
            }
            if moved {
                continue;
            }
            let room = !sent && host_down.arm_space(8).unwrap().is_none();
            let ready = host_up.arm().unwrap() == Armed::Ready;
            if host_up.must_ring_space() {
                worker_bells.space.wake();
            }
            if !room && !ready {
                host_bell.wait();
            }
            host_up.disarm();
            host_down.disarm_space();
        }
        worker.join().unwrap();
    });
}
