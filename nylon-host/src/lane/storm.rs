//! Whether a lane listens to its bell: one that rings for nothing costs a turn of the runtime each time (HARDENING row 16).
//!
//! In: how often it rang and how much was of use since the last look, and `now`.  Out: whether to listen on, or a violation.
//! Never: a clock, a descriptor.

use std::time::{Duration, Instant};

use nylon_protocol::Violation;

use super::flood::Flood;

/// Rings for nothing within a [`SPELL`] past which nobody listens. An honest worker's are those that cross with a caller
/// who looked by itself, or are meant for another lane.
const NOISE: u64 = 256;
/// The bell is listened to again after one with less than half of that.
const SPELL: Duration = Duration::from_millis(100);

/// Rings weighed against frames.
#[derive(Debug)]
pub(super) struct Storm {
    flood: Flood,
    /// Rings for nothing since `since`.
    nothing: u64,
    since: Option<Instant>,
    listening: bool,
}

impl Storm {
    pub(super) fn new() -> Self {
        let flood = Flood::new("wakes without a frame");
        Self { flood, nothing: 0, since: None, listening: true }
    }

    /// The bell rang `rings` times since the last look, and so many frames came, or went once there was room for them.
    /// Whether to listen to it from now on; while nobody does, to be asked at each look.
    ///
    /// # Errors
    /// [`Violation::Budget`] when it is a flood.
    pub(super) fn judge(
        &mut self,
        rings: u64,
        frames: u64,
        now: impl Fn() -> Instant,
    ) -> Result<bool, Violation> {
        let of_use = frames.saturating_sub(rings);
        self.flood.useful(of_use);
        self.nothing = self.nothing.saturating_sub(of_use);
        let nothing = rings.saturating_sub(frames);
        // No clock is read for what an honest worker does.
        if nothing == 0 && self.listening {
            return Ok(true);
        }
        let now = now();
        self.flood.useless(nothing, now)?;
        if self.since.is_none_or(|since| now.saturating_duration_since(since) > SPELL) {
            self.listening |= self.nothing < NOISE / 2;
            self.since = Some(now);
            self.nothing = 0;
        }
        self.nothing += nothing;
        self.listening &= self.nothing <= NOISE;
        Ok(self.listening)
    }
}

#[cfg(test)]
mod tests {
    use super::super::flood::LIMIT;
    use super::*;

    /// A storm and its clock.
    struct Case {
        storm: Storm,
        now: Instant,
    }

    impl Case {
        fn new() -> Case {
            Case { storm: Storm::new(), now: Instant::now() }
        }

        fn after(&mut self, time: Duration) -> &mut Case {
            self.now += time;
            self
        }

        fn judge(&mut self, rings: u64, frames: u64) -> Result<bool, Violation> {
            self.storm.judge(rings, frames, || self.now)
        }
    }

    #[test]
    fn who_rings_for_frames_is_heard() {
        let mut case = Case::new();
        // Rung for another lane first, then for this one; a polling caller was faster now and then.
        for _ in 0..100 * LIMIT {
            assert_eq!(case.judge(1, 0), Ok(true));
            assert_eq!(case.judge(0, 1), Ok(true));
        }
    }

    #[test]
    fn who_rings_for_nothing_is_not_listened_to_and_heard_again_once_it_is_calm() {
        let mut case = Case::new();
        for _ in 0..NOISE {
            assert_eq!(case.judge(1, 0), Ok(true));
        }
        assert_eq!(case.judge(1, 0), Ok(false));
        let millis = Duration::from_millis;
        // Spells in which it goes on, though below what it is ended for.
        for _ in 0..50 {
            assert_eq!(case.after(millis(60)).judge(300, 0), Ok(false));
        }
        let calm: Vec<bool> =
            (0..5).map(|_| case.after(millis(60)).judge(0, 1).expect("no flood")).collect();
        assert!(!calm[0] && calm[4], "{calm:?}");
    }

    #[test]
    fn a_nuisance_is_heard() {
        let mut case = Case::new();
        for _ in 0..20_000 {
            let heard = case.after(Duration::from_micros(500)).judge(1, 0);
            assert_eq!(heard, Ok(true), "2000 a second");
        }
    }

    #[test]
    fn a_flood_is_ended_listened_to_or_not() {
        let mut case = Case::new();
        let end = (0..=LIMIT).find_map(|_| case.judge(1, 0).err());
        assert_eq!(end, Some(Violation::Budget("wakes without a frame")));
        let mut case = Case::new();
        case.judge(NOISE + 1, 0).expect("no flood yet");
        let end = (0..20).find_map(|_| case.after(Duration::from_millis(1)).judge(1000, 0).err());
        assert_eq!(end, Some(Violation::Budget("wakes without a frame")));
        assert!(Case::new().judge(u64::MAX, 0).is_err(), "whatever its counter says");
    }
}
