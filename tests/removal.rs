//! Removing rings: never while somebody holds a role, never under somebody who is just attaching,
//! and also what is too damaged to be opened.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![expect(unsafe_code, reason = "libc alone has the call for this lock")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use ringduct::{Location, OpenError, Options};
use tempfile::TempDir;

const CAPACITY: u64 = 4096;

/// One name for each backing that has names; those in shared memory are this process's own.
fn everywhere(dir: &TempDir, what: &str, number: u8) -> [Location; 3] {
    let pid = process::id();
    let [low, high, ..] = pid.to_le_bytes();
    let key = i32::from_le_bytes([number, low, high, 0x52]);
    [
        Location::from(dir.path().join(format!("{what}-{number}.ring"))),
        Location::Shm(format!("ringduct-test-{what}-{pid}-{number}")),
        Location::SysVKey(key),
    ]
}

/// Goal: a ring that somebody holds is not removed, by whichever of its roles; one that nobody
/// holds is. Method: every backing that has names.
#[test]
fn removal_asks_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    for location in everywhere(&dir, "held", 0) {
        let ring = Options::new()
            .capacity_bytes(CAPACITY)
            .create(&location)
            .unwrap();
        let refused = || {
            let error = Options::new().remove(&location).unwrap_err();
            assert!(matches!(error, OpenError::RoleTaken { .. }), "{error}");
            assert!(Options::new().open(&location).is_ok(), "{location} is gone");
        };
        let tx = ring.producer().unwrap();
        refused();
        let rx = ring.consumer().unwrap();
        drop(tx);
        refused();
        drop((rx, ring));
        Options::new().remove(&location).unwrap();
        let error = Options::new().remove(&location).unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
    }
}

/// Takes the lock that serialises attaches, as FORMAT.md describes it, on a description of its own.
fn lock_attaches(path: &Path) -> File {
    let file = File::options().read(true).write(true).open(path).unwrap();
    // SAFETY: all bytes zero are a valid `flock`.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = libc::F_WRLCK.try_into().unwrap();
    request.l_start = 2;
    request.l_len = 1;
    // SAFETY: the descriptor is open and the request valid.
    let set = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) };
    assert_eq!(set, 0);
    file
}

/// Goal: while somebody is about to attach, nothing is removed.
#[test]
fn removal_waits_for_whoever_attaches() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.ring");
    let location = Location::from(&*path);
    let options = Options::new().attach_timeout(Duration::from_millis(20));
    for damaged in [false, true] {
        options.create(&location).unwrap();
        let lock = lock_attaches(&path);
        if damaged {
            lock.write_all_at(&[0; 8], 96).unwrap(); // the ring's id
        }
        let error = options.remove(&location).unwrap_err();
        assert!(matches!(error, OpenError::Busy { .. }), "{error}");
        assert!(path.exists());
        drop(lock);
        options.remove(&location).unwrap();
        assert!(!path.exists());
    }
}

/// Goal: a ring whose header is damaged, so that it can not be opened any more, is removed like any
/// other: not while somebody holds it.
#[test]
fn ruins_are_removed_once_nobody_holds_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ruin.ring");
    let location = Location::from(&*path);
    let ring = Options::new()
        .capacity_bytes(CAPACITY)
        .create(&location)
        .unwrap();
    let tx = ring.producer().unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 8], 96).unwrap(); // the ring's id
    assert!(matches!(
        Options::new().open(&location),
        Err(OpenError::Damaged { .. })
    ));
    let error = Options::new().remove(&location).unwrap_err();
    assert!(matches!(error, OpenError::RoleTaken { .. }), "{error}");
    drop((tx, ring));
    assert!(path.exists());
    Options::new().remove(&location).unwrap();
    assert!(!path.exists());
}

/// Goal: whoever attaches while a ring is removed gets the ring and keeps it, or is told that it is
/// gone; never a role in a ring without a name. Method: both at once, many times, every backing.
#[test]
fn removal_and_attach_exclude_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (mut removed, mut kept) = (0, 0);
    for round in 0..200 {
        for location in everywhere(&dir, "race", 1 + round % 8) {
            let ring = Options::new()
                .capacity_bytes(CAPACITY)
                .create(&location)
                .unwrap();
            let start = Barrier::new(2);
            let (attached, outcome) = thread::scope(|scope| {
                let attach = scope.spawn(|| {
                    start.wait();
                    ring.producer()
                });
                start.wait();
                let outcome = Options::new().remove(&location);
                (attach.join().unwrap(), outcome)
            });
            match (attached, outcome) {
                (Ok(tx), Err(OpenError::RoleTaken { .. })) => {
                    assert!(Options::new().open(&location).is_ok());
                    drop(tx);
                    ring.remove().unwrap();
                    kept += 1;
                }
                (Err(OpenError::NotFound { .. }), Ok(())) => removed += 1,
                other => panic!("round {round}, {location}: {other:?}"),
            }
        }
    }
    println!("{removed} removed, {kept} kept");
    assert_eq!(removed + kept, 600);
}
