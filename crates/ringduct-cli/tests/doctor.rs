//! `ringduct doctor`, by the built program: every finding is there, and the exit code tells.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::Value;

/// Every finding that does not depend on a location, and the one about the file system.
const IDS: [&str; 11] = [
    "container",
    "file_system",
    "huge_pages",
    "kernel",
    "membarrier",
    "memlock",
    "proc_and_sys",
    "processors",
    "remove_ipc",
    "shm",
    "system_v",
];

fn doctor(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringduct"));
    command.arg("doctor").args(args).output().unwrap()
}

fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn finding<'a>(document: &'a Value, id: &str) -> &'a Value {
    let all = document["findings"].as_array().unwrap();
    all.iter().find(|finding| finding["id"] == id).unwrap()
}

/// Goal: every finding has an id, a level, a text, an advice and figures, in both formats, and 0 is
/// the end unless there is a problem. Method: here.
#[test]
fn every_finding_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    let output = doctor(&[folder, "--format", "json"]);
    let document = parsed(&output);
    let all = document["findings"].as_array().unwrap();
    let ids: BTreeSet<_> = all
        .iter()
        .map(|finding| finding["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, BTreeSet::from(IDS));
    let mut problems = 0;
    for finding in all {
        let level = finding["level"].as_str().unwrap();
        assert!(
            ["good", "note", "warning", "problem"].contains(&level),
            "{finding}"
        );
        assert!(!finding["found"].as_str().unwrap().is_empty(), "{finding}");
        assert!(!finding["next"].as_str().unwrap().is_empty(), "{finding}");
        assert!(finding["data"].is_object(), "{finding}");
        problems += u64::from(level == "problem");
    }
    assert_eq!(document["problems"], problems);
    assert_eq!(output.status.code(), Some(i32::from(problems > 0)));
    let text = doctor(&[folder]);
    let text = String::from_utf8(text.stdout).unwrap();
    for id in IDS {
        assert!(text.contains(&format!(" {id}: ")), "{id} is not in {text}");
    }
    assert!(!text.contains('\x1b'), "no colour where nobody looks");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing is left"
    );
}

/// Goal: figures are those of the kernel. Method: ask it here too.
#[test]
fn figures_are_the_kernels() {
    let document = parsed(&doctor(&["--format", "json"]));
    let shm = rustix::fs::statfs("/dev/shm").unwrap();
    let size = shm.f_blocks * u64::try_from(shm.f_bsize).unwrap();
    assert_eq!(finding(&document, "shm")["data"]["size_bytes"], size);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(
        finding(&document, "kernel")["data"]["release"],
        release.trim()
    );
    let largest = std::fs::read_to_string("/proc/sys/kernel/shmmax").unwrap();
    let shown = finding(&document, "system_v")["data"]["shmmax_bytes"].to_string();
    assert_eq!(shown, largest.trim());
    let allowed = finding(&document, "processors")["data"]["allowed"]
        .as_array()
        .unwrap();
    let here = std::thread::available_parallelism().unwrap().get();
    assert!(allowed.len() >= here, "{allowed:?}, {here}");
}

/// Goal: whether rings are durable in a folder is the library's own answer. Method: both a folder in
/// memory, and one where a durable ring can or can not be made here.
#[test]
fn durability_is_the_librarys_answer() {
    let shm = parsed(&doctor(&["/dev/shm", "--format", "json"]));
    let found = finding(&shm, "file_system");
    assert_eq!(
        (&found["level"], &found["data"]["kind"]),
        (&"note".into(), &"tmpfs".into())
    );
    assert_eq!(found["data"]["durable"], false);
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let place = ringduct::Location::from(dir.path().join("x"));
    let durable = ringduct::Options::new()
        .durable(true)
        .create(&place)
        .is_ok();
    let found = parsed(&doctor(&[dir.path().to_str().unwrap(), "--format", "json"]));
    assert_eq!(finding(&found, "file_system")["data"]["durable"], durable);
}

/// Goal: what will break is a problem and ends with 1; a ring is told from none and from a ruin.
#[test]
fn problems_end_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("x.ring");
    let at = place.to_str().unwrap();
    let level = |document: &Value| finding(document, "ring")["level"].clone();
    let output = doctor(&[at, "--format", "json"]);
    assert_eq!(level(&parsed(&output)), "note", "none yet");
    let location = ringduct::Location::from(&*place);
    let mut tx = ringduct::Options::new()
        .create(&location)
        .unwrap()
        .producer()
        .unwrap();
    tx.send(b"x").unwrap();
    let output = doctor(&[at, "--format", "json"]);
    assert_eq!(level(&parsed(&output)), "good");
    assert_eq!(finding(&parsed(&output), "ring")["data"]["waiting"], 1);
    drop(tx); // it would fault on the file that is cut short now
    std::fs::write(&place, b"no ring at all").unwrap();
    let output = doctor(&[at, "--format", "json"]);
    assert_eq!(level(&parsed(&output)), "problem");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("findings will break something"), "{said}");
    let output = doctor(&["/nowhere/at/all/x.ring"]);
    assert_eq!(output.status.code(), Some(1));
}
