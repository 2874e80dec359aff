//! What a scrape of `/metrics` says, read and held to the rules of the format.

use std::collections::{BTreeMap, BTreeSet};

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A scrape in the format `text/plain; version=0.0.4`.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// All samples, in order.
    pub samples: Vec<Sample>,
    types: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Exposition {
    /// Reads a scrape; what is wrong with it is for [`Self::problems`].
    pub fn read(text: &str) -> Exposition {
        let mut found = Exposition::default();
        if !text.ends_with('\n') {
            found.problems.push("the last line has no end".into());
        }
        for line in text.lines() {
            let comment =
                |kind| line.strip_prefix(kind).and_then(|rest: &str| rest.split_once(' '));
            let (into, kind, pair) = if let Some(pair) = comment("# HELP ") {
                (&mut found.helps, "HELP", pair)
            } else if let Some(pair) = comment("# TYPE ") {
                (&mut found.types, "TYPE", pair)
            } else {
                match sample(line) {
                    Some(sample) => found.samples.push(sample),
                    None => found.problems.push(format!("not a sample: {line}")),
                }
                continue;
            };
            if into.insert(pair.0.to_owned(), pair.1.to_owned()).is_some() {
                found.problems.push(format!("{kind} of {} twice", pair.0));
            }
        }
        found.check();
        found
    }

    /// Everything that is against the format or its customs.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The sum of all samples of this name that have at least these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |s: &&Sample| {
            s.name == name && labels.iter().all(|(k, v)| s.labels.get(*k).is_some_and(|l| l == v))
        };
        self.samples.iter().filter(has).map(|s| s.value).sum()
    }

    fn check(&mut self) {
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        let mut closed = BTreeSet::new();
        let mut last = String::new();
        for Sample { name, labels, value } in &self.samples {
            if !seen.insert((name, labels)) {
                problems.push(format!("{name} {labels:?} twice"));
            }
            let family = self.family(name);
            if family != last {
                if !closed.insert(family.clone()) {
                    problems.push(format!("{family} is not in one piece"));
                }
                last.clone_from(&family);
            }
            let kind = self.types.get(&family).map_or("", String::as_str);
            let total = name.ends_with("_total");
            match kind {
                "counter" if !total => problems.push(format!("counter {name} without _total")),
                "gauge" if total => problems.push(format!("gauge {name} with _total")),
                "counter" | "gauge" | "histogram" => {}
                _ => problems.push(format!("{name} has no type")),
            }
            if kind != "gauge" && *value < 0.0 {
                problems.push(format!("{name} is negative"));
            }
            if !self.helps.contains_key(&family) {
                problems.push(format!("{name} has no help"));
            }
        }
        for (name, kind) in &self.types {
            if kind == "histogram" {
                self.check_histogram(name, &mut problems);
            }
            if ["_ms", "_us", "_milliseconds", "_kb", "_kilobytes"].iter().any(|u| name.contains(u))
            {
                problems.push(format!("{name} is not in base units"));
            }
        }
        self.problems.append(&mut problems);
    }

    /// Buckets rise to the count, in order, each series by itself.
    fn check_histogram(&self, name: &str, problems: &mut Vec<String>) {
        let of = |suffix: &str| {
            let full = format!("{name}_{suffix}");
            self.samples.iter().filter(move |s| s.name == full)
        };
        for count in of("count") {
            let mut before = (f64::NEG_INFINITY, 0.0);
            for bucket in of("bucket") {
                let mut labels = bucket.labels.clone();
                let le = labels.remove("le").and_then(|le| le.parse::<f64>().ok());
                if labels != count.labels {
                    continue;
                }
                let now = (le.unwrap_or(f64::NAN), bucket.value);
                if now.0.is_nan() || now.0 <= before.0 || now.1 < before.1 {
                    problems.push(format!("{name}: bucket {now:?} after {before:?}"));
                }
                before = now;
            }
            if before != (f64::INFINITY, count.value) {
                problems.push(format!("{name}: {before:?} at the end of {}", count.value));
            }
            if !of("sum").any(|sum| sum.labels == count.labels) {
                problems.push(format!("{name}: no sum"));
            }
        }
    }

    /// The name under which a sample's type and help stand.
    fn family(&self, name: &str) -> String {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let family = name.strip_suffix(suffix)?;
            (self.types.get(family)? == "histogram").then(|| family.to_owned())
        });
        of_histogram.unwrap_or_else(|| name.to_owned())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut rest = rest.strip_suffix('}')?;
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"")?;
        // No test has a quote in a label's value.
        let (value, after) = after.split_once('"')?;
        labels.insert(key.to_owned(), value.to_owned());
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let well =
        !name.is_empty() && name.chars().all(fits) && labels.keys().all(|k| k.chars().all(fits));
    well.then(|| Sample { name: name.to_owned(), labels, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_passes_and_what_is_wrong_is_named() {
        let right = "# HELP a_total x.\n# TYPE a_total counter\na_total{p=\"q\"} 1\na_total{p=\"r\"} 2\n\
             # HELP h_seconds x.\n# TYPE h_seconds histogram\nh_seconds_sum 0.5\nh_seconds_count 2\n\
             h_seconds_bucket{le=\"1.0\"} 1\nh_seconds_bucket{le=\"+Inf\"} 2\n";
        let found = Exposition::read(right);
        assert_eq!(found.problems(), [""; 0]);
        assert_eq!((found.sum("a_total", &[]), found.sum("a_total", &[("p", "r")])), (3.0, 2.0));
        for (from, to, problem) in [
            ("# HELP a_total x.\n", "", "no help"),
            ("# TYPE a_total counter", "# TYPE a_total gauge", "gauge a_total with _total"),
            ("a_total{p=\"r\"}", "a_total{p=\"q\"}", "twice"),
            ("# TYPE h_seconds histogram", "# TYPE a_total counter", "TYPE of a_total twice"),
            ("le=\"1.0\"} 1", "le=\"1.0\"} 3", "bucket"),
            ("h_seconds_count 2", "h_seconds_count 4", "at the end"),
            ("h_seconds_sum 0.5\n", "", "no sum"),
            ("h_seconds_sum 0.5", "h_seconds_sum half", "not a sample"),
        ] {
            let text = right.replacen(from, to, 1);
            let found = Exposition::read(&text);
            let named = found.problems().iter().any(|p| p.contains(problem));
            assert!(named, "{problem}: {:?}", found.problems());
        }
    }
}
