//! "Did you mean".

/// `list`, after the closest of `known` if one is close enough to be what `name` meant.
pub(super) fn sentence(name: &str, known: &[&str], list: String) -> String {
    match closest(name, known) {
        Some(close) => format!("did you mean `{close}`? {list}"),
        None => list,
    }
}

/// The name that needs the fewest edits, if that is at most a third of its length (or one).
fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (edits(&name.to_lowercase(), &candidate.to_lowercase()), *candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.len() / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
                let best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped =
                    i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
                if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, edits};

    #[test]
    fn edits_count_swaps_once() {
        assert_eq!(edits("authz", "autz"), 1);
        assert_eq!(edits("autzh", "authz"), 1);
        assert_eq!(edits("", "abc"), 3);
    }

    #[test]
    fn only_close_names_are_suggested() {
        assert_eq!(closest("Middelware", &["middleware", "methods"]), Some("middleware"));
        assert_eq!(closest("zebra", &["authz", "log"]), None);
        assert_eq!(closest("x", &[]), None);
    }
}
