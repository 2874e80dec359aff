//! The limit of a body: copied there and back between two warm buffers.

use std::hint::black_box;

use super::pipe::{number, stamp};
use crate::Result;
use crate::case::{Case, Round, Taken};

pub(crate) struct Memcpy {
    here: Vec<u8>,
    there: Vec<u8>,
}

impl Memcpy {
    /// Buffers of `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        Self { here: vec![1; size], there: vec![2; size] }
    }
}

impl Case for Memcpy {
    fn round(&mut self, round: &Round) -> Result<Taken> {
        let Self { here, there } = self;
        let mut count = 0;
        round.take(|| {
            count += 1;
            stamp(here, count);
            black_box(&mut *there).copy_from_slice(black_box(here));
            if number(there) != Some(count) {
                return Err(format!("copy {count} arrived as another"));
            }
            stamp(there, !count);
            black_box(&mut *here).copy_from_slice(black_box(there));
            let back = number(here) == Some(!count);
            back.then_some(()).ok_or_else(|| format!("copy {count} came back as another"))
        })
    }
}
