//! Sizes in bytes, as people write and read them: `64KiB`, `256 MiB`, `4096`.

use std::fmt;

/// Powers of two, the largest first.
const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// The size `text` names; `None` where it is no whole number with one of the units, or none, or is over 16 EiB.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let bits = match unit {
        "" => 0,
        unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << bits)
}

/// A size for people: rounded up to a unit of which it has at least ten, or exactly where a unit divides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bits): &&(&str, u32)| {
            let unit = 1_u64 << bits;
            self.0 >= 10 * unit || (self.0 > 0 && self.0.is_multiple_of(unit))
        };
        let (name, bits) = UNITS.iter().find(fits).unwrap_or(&("B", 0));
        write!(f, "{} {name}", self.0.div_ceil(1 << bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let read = ["4096", "64KiB", "256 MiB", "2gib", "7B", "0"].map(parse);
        let sizes = [4096, 64 << 10, 256 << 20, 2 << 30, 7, 0];
        assert_eq!(read, sizes.map(Some));
        for text in
            ["", "MiB", "1.5GiB", "-1", "256MB", "1 2", "20000000TiB", "99999999999999999999"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_a_unit_that_says_enough() {
        let shown = |bytes| Size(bytes).to_string();
        assert_eq!(shown(256 << 20), "256 MiB");
        assert_eq!(shown((256 << 20) + 1), "257 MiB", "what is over a limit looks so");
        assert_eq!(shown(3 << 30), "3 GiB");
        assert_eq!(shown((3 << 30) + 1), "3073 MiB");
        assert_eq!(shown(1000), "1000 B");
        assert_eq!(shown(0), "0 B");
    }
}
