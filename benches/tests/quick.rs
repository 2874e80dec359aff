//! Every bench in its quick form: it runs, each answer is right, and each row has its figures.
//!
//! No time is asserted. A row of which too many rounds were spoilt, as on a busy machine, is printed and passes: it has
//! figures all the same, and says that they do not count.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The files of src/bench are the benches.
fn benches() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bench");
    let files = std::fs::read_dir(dir).expect("src/bench").map(|e| e.expect("an entry").path());
    let names = files.filter_map(|p| Some(p.file_stem()?.to_str()?.to_owned()));
    names.filter(|n| n != "mod").collect()
}

/// Runs one and returns its rows.
fn rows(name: &str, more: &[&str]) -> Vec<Value> {
    let file = format!("{name}-{}.json", std::process::id());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let mut bench = Command::new(env!("CARGO_BIN_EXE_nylon-benches"));
    bench.args([name, "--quick", "--json"]).arg(&file).args(more);
    let ran = bench.output().expect("it starts");
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ran.status.success(), "{}\n{said}", ran.status);
    println!("{said}");
    let text = std::fs::read_to_string(&file).expect("the rows");
    std::fs::remove_file(&file).expect("it is there");
    let rows: Value = serde_json::from_str(&text).expect("JSON");
    rows.as_array().expect("an array").clone()
}

fn check(name: &str, more: &[&str]) {
    let rows = rows(name, more);
    assert!(!rows.is_empty(), "no rows");
    let mut seen = Vec::new();
    for row in &rows {
        let case = row["case"].as_str().expect("a case");
        assert!(!seen.contains(&case), "{case} twice");
        seen.push(case);
        assert_eq!(row["bench"], name, "{case}");
        match row["unit"].as_str() {
            Some("ns" | "per_s") => figures(case, row),
            Some("ms" | "us" | "count" | "KiB" | "CPUs") => {
                assert!(row["value"].as_f64() >= Some(0.0), "{case}: {row}")
            }
            unit => panic!("{case}: unit {unit:?}"),
        }
        if row["counts"] != true {
            println!("{case}: does not count, the machine is busy");
        }
    }
}

/// What a row of calls has.
fn figures(case: &str, row: &Value) {
    for key in ["value", "limit", "ratio", "cpu_s_per_million", "samples"] {
        assert!(row[key].as_f64() > Some(0.0), "{case}: {key}: {row}");
    }
    let keys = ["p50_ns", "p90_ns", "p99_ns", "p999_ns"];
    let figures: Vec<u64> = keys.iter().filter_map(|key| row[key].as_u64()).collect();
    assert!(figures.len() == 4 && figures[0] > 0 && figures.is_sorted(), "{case}: {row}");
    let ratio = row["value"].as_f64().unwrap_or(0.0) / row["limit"].as_f64().unwrap_or(1.0);
    let written = row["ratio"].as_f64().unwrap_or(0.0);
    assert!((ratio - written).abs() <= 0.001 + ratio / 100.0, "{case}: {row}");
}

/// A test for each bench, and one that none was left out.
macro_rules! quick {
    ($($name:ident $(($more:literal))?),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), &[$($more)?]);
        })*

        #[test]
        fn every_bench_has_a_test() {
            let mut missing = benches();
            missing.retain(|name| ![$(stringify!($name)),*].contains(&name.as_str()));
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

quick!(
    limit,
    ring,
    roundtrip,
    session,
    throughput,
    body,
    sparse("--stuck"),
    idle,
    coldstart,
    gateway,
    websocket
);

#[test]
fn only_keeps_a_case_and_its_limit() {
    let rows = rows("roundtrip", &["--only", "lane/go/64B/busy"]);
    let cases: Vec<_> = rows.iter().map(|row| &row["case"]).collect();
    assert_eq!(cases, ["limit/ping-pong", "lane/go/64B/busy"]);
}

#[test]
fn an_unknown_name_is_refused_with_those_there_are() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_nylon-benches"));
    let ran = bench.arg("nope").output().expect("it starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && benches().iter().all(|n| said.contains(n.as_str())), "{said}");
}
