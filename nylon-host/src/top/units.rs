//! Numbers as people read them, each in at most seven characters.

/// What is not known.
pub(super) const NONE: &str = "-";

/// A time in ns: `0`, `850ns`, `12.3µs`, `4.56ms`, `1.20s`.
pub(super) fn ns(ns: u64) -> String {
    match ns {
        0 => NONE.to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => short(ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => short(ns as f64 / 1e6, "ms"),
        _ => age(ns / 1_000_000),
    }
}

/// A time in ms, from tenths of a second to days: `0.4s`, `12s`, `3m05s`, `2h10m`, `9d04h`.
pub(super) fn age(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..10 => format!("{:.1}s", ms as f64 / 1e3),
        10..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86400, s % 86400 / 3600),
    }
}

/// A size: `0`, `512B`, `14.2K`, `310M`, `1.75G`.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes}B"),
        1024..1_048_576 => short(bytes as f64 / 1024.0, "K"),
        1_048_576..1_073_741_824 => short(bytes as f64 / 1_048_576.0, "M"),
        _ => short(bytes as f64 / 1_073_741_824.0, "G"),
    }
}

/// A rate or percentage, if it is known.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => NONE.to_owned(),
        Some(rate) if rate >= 99.95 => format!("{rate:.0}"),
        Some(rate) => format!("{rate:.1}"),
    }
}

/// A count, with 0 as nothing to look at.
pub(super) fn count(n: u64) -> String {
    if n == 0 { NONE.to_owned() } else { n.to_string() }
}

/// Three digits.
fn short(n: f64, unit: &str) -> String {
    let digits = if n < 9.995 { 2 } else { usize::from(n < 99.95) };
    format!("{n:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::{age, bytes, count, ns, rate};

    #[test]
    fn numbers_are_short() {
        let times = [0, 850, 12_300, 4_560_000, 1_200_000_000].map(ns);
        assert_eq!(times, ["-", "850ns", "12.3µs", "4.56ms", "1.2s"]);
        let ages = [400, 12_000, 185_000, 7_800_000, 792_000_000].map(age);
        assert_eq!(ages, ["0.4s", "12s", "3m05s", "2h10m", "9d04h"]);
        let sizes = [0, 14_541, 325_058_560, 1_879_048_192].map(bytes);
        assert_eq!(sizes, ["0B", "14.2K", "310M", "1.75G"]);
        assert_eq!([None, Some(0.0), Some(1234.4)].map(rate), ["-", "0.0", "1234"]);
        assert_eq!([0, 7].map(count), ["-", "7"]);
    }

    #[test]
    fn whatever_a_segment_says_is_shown() {
        for n in [u64::MAX, u64::MAX / 2] {
            assert!([ns(n), age(n), bytes(n), count(n)].iter().all(|text| !text.is_empty()));
        }
    }
}
