//! `ringduct bench`, by the built program: what it writes is complete, and nothing is left behind.
//! How fast anything is, is no matter here.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn bench() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringduct"));
    command.arg("bench").stdin(Stdio::null());
    command
}

const QUICK: [&str; 6] = ["--rounds", "2", "--duration", "5ms", "--sizes", "64"];

/// What is in shared memory under a name that begins so.
fn rings(stem: &str) -> Vec<PathBuf> {
    let all = fs::read_dir("/dev/shm").unwrap();
    let all = all.filter_map(|entry| Some(entry.ok()?.path()));
    let is_ours = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with(stem)
    };
    all.filter(is_ours).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Goal: JSON, SVG and histograms are complete and agree; data alone goes to standard output; no
/// ring is left. Method: all transports, two short rounds.
#[test]
fn everything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (svg, hdr) = (dir.path().join("x.svg"), dir.path().join("x.hlog"));
    let stem = format!("bench-test-{}", std::process::id());
    let output = bench()
        .args(QUICK)
        .arg(format!("shm:{stem}"))
        .args(["--against", "pipe,unix,mq", "--json", "--svg"])
        .arg(&svg)
        .arg("--hdr")
        .arg(&hdr)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["version"], 1);
    assert!(document["floor"]["median_ns"].as_f64().unwrap() > 0.0);
    for field in ["cpu", "kernel", "processors", "virtual_machine"] {
        assert!(!document["machine"][field].is_null(), "{field}");
    }
    assert_eq!(document["settings"]["duration_ms"], 5);
    assert_eq!(
        document["skipped"],
        Value::Array(Vec::new()),
        "all were measured"
    );
    let results = document["results"].as_array().unwrap();
    for transport in ["ringduct", "pipe", "unix", "mq"] {
        for kind in ["round_trip", "stream"] {
            let found = |one: &&Value| one["transport"] == transport && one["kind"] == kind;
            complete(results.iter().find(found).unwrap(), kind);
        }
    }
    assert_eq!(results.len(), 8);
    picture(&svg);
    histograms(&hdr, results);
    assert_eq!(rings(&stem), [] as [PathBuf; 0]);
}

fn complete(one: &Value, kind: &str) {
    assert_eq!(one["rounds"].as_array().unwrap().len(), 2, "{one}");
    assert_eq!(one["floors_ns"].as_array().unwrap().len(), 2, "{one}");
    let mut fields = vec!["spread"];
    if kind == "stream" {
        fields.extend(["messages_per_s", "gigabytes_per_s"]);
    } else {
        fields.extend(["median_ns", "over_floor", "samples"]);
        let of = |name: &str| one["percentiles_ns"][name].as_u64().unwrap();
        let all = ["p50", "p90", "p99", "p99.9", "p99.99", "max"].map(of);
        assert!(all.is_sorted() && all[0] > 0, "{one}");
    }
    for field in fields {
        assert!(one[field].as_f64().unwrap() >= 0.0, "{field} of {one}");
    }
    assert_eq!(one["bytes"], 64);
}

fn picture(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "svg");
    let texts: Vec<_> = root
        .descendants()
        .filter(roxmltree::Node::is_text)
        .filter_map(|node| node.text())
        .map(str::trim)
        .collect();
    for name in ["ringduct, 64 B", "pipe, 64 B", "unix, 64 B", "mq, 64 B"] {
        let times = texts.iter().filter(|text| **text == name).count();
        assert_eq!(times, 2, "{name}: once for a curve and once for a bar");
    }
    let curves = root
        .descendants()
        .filter(|node| node.tag_name().name() == "polyline");
    assert!(curves.count() >= 4);
}

fn histograms(path: &Path, results: &[Value]) {
    let text = fs::read(path).unwrap();
    let mut counts = Vec::new();
    for entry in IntervalLogIterator::new(&text) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            let bytes = base64(interval.encoded_histogram());
            let histogram: hdrhistogram::Histogram<u64> = Deserializer::new()
                .deserialize(&mut bytes.as_slice())
                .unwrap();
            counts.push((interval.tag().unwrap().as_str().to_owned(), histogram.len()));
        }
    }
    counts.sort();
    let mut expected: Vec<_> = results
        .iter()
        .filter(|one| one["kind"] == "round_trip")
        .map(|one| {
            let name = format!("{}-64", one["transport"].as_str().unwrap());
            (name, one["samples"].as_u64().unwrap())
        })
        .collect();
    expected.sort();
    assert_eq!(counts, expected);
}

/// The bytes of a base64 text; the log has no other way to hold them.
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter(|byte| *byte != b'=');
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in digits {
        let value = DIGITS.iter().position(|known| *known == digit).unwrap();
        bits = (bits << 6) | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xFF).unwrap());
        }
    }
    bytes
}

/// Goal: the table says the floor and has a row for each transport; rings are made where one asks,
/// and nowhere else. Method: a folder.
#[test]
fn the_table_is_for_people() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let output = bench()
        .args(QUICK)
        .args(["--against", "pipe", "--checksum"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    for part in [
        "floor: a cache line",
        "round trip",
        "stream",
        "pipe",
        "ringduct",
        "files in",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing is left"
    );
    assert_eq!(said(&output), "", "no progress where nobody looks");
}

/// Goal: what can not be measured is said before anything is measured. Method: each.
#[test]
fn wrong_wishes_are_refused() {
    for args in [
        &["--sizes", "7"] as &[_],
        &["--sizes", "64K", "--capacity", "64K"],
        &["--rounds", "0"],
        &["--against", "carrier-pigeon"],
        &["--cores", "0"],
        &["unix:/x"],
        &["sysv:1"],
    ] {
        let output = bench().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(output.stdout.is_empty());
    }
}

/// Goal: a run that is interrupted ends at once and leaves no ring and no process. Method: SIGINT
/// once its ring is there.
#[test]
fn an_interrupted_run_leaves_nothing() {
    let stem = format!("bench-cut-{}", std::process::id());
    let mut child = bench()
        .args(["--duration", "60s"])
        .arg(format!("shm:{stem}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while rings(&stem).is_empty() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "no ring was made"
        );
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(rings(&stem), [] as [PathBuf; 0]);
    let runs = |entry: &fs::DirEntry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&stem)
    };
    let left = || {
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(runs)
            .count()
    };
    // The other side was killed with its group, and may take a moment to die.
    let started = Instant::now();
    while left() > 0 {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "processes are left"
        );
        std::thread::yield_now();
    }
}
