//! Rings made of huge pages, on every backing that can have them.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use ringduct::{HugePages, Location, OpenError, Options, Ring};

/// Where the kernel is told how many huge pages to keep.
const RESERVE: &str = "/proc/sys/vm/nr_hugepages";
/// Enough for two rings at a time: eight pages of header and one of data each.
const PAGES: u64 = 40;

/// A mount of huge pages and a reserve of them, both given back at the end.
struct Reserve {
    before: String,
    directory: tempfile::TempDir,
}

impl Reserve {
    /// `None`, with what is missing, where this machine does not let the test.
    fn new() -> Result<Self, String> {
        let before = fs::read_to_string(RESERVE).map_err(|error| format!("{RESERVE}: {error}"))?;
        fs::write(RESERVE, PAGES.to_string()).map_err(|error| format!("{RESERVE}: {error}"))?;
        let directory = tempfile::tempdir().unwrap();
        let reserve = Self { before, directory };
        let found: u64 = fs::read_to_string(RESERVE).unwrap().trim().parse().unwrap();
        if found < PAGES {
            return Err(format!("only {found} of {PAGES} huge pages are to be had"));
        }
        let mut mount = Command::new("mount");
        mount.args(["-t", "hugetlbfs", "none"]).arg(reserve.path());
        match mount.status() {
            Ok(status) if status.success() => Ok(reserve),
            outcome => Err(format!("mount hugetlbfs: {outcome:?}")),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // Lazily: what another test forks has this one's files open until it executes its program.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        let restored = fs::write(RESERVE, &self.before);
        assert!(
            unmounted.is_ok() && restored.is_ok() || std::thread::panicking(),
            "the machine is as it was"
        );
    }
}

/// Streams messages over several laps of a ring and compares every byte.
fn streams(ring: &Ring) {
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let mut message = vec![0; 100_000];
    let mut received = Vec::new();
    for number in 0..100_u8 {
        message.fill(number);
        tx.send(&message).unwrap();
        rx.recv_vec(&mut received, None).unwrap();
        assert!(received == message, "message {number}");
    }
    let twice = ring.capacity_bytes().saturating_mul(2);
    assert!(tx.totals().position >= twice, "the ring wrapped");
}

/// Goal: rings of huge pages work on every backing that can have them, are opened again, and are
/// refused, in words that say what to do, on those that can not. Method: a reserve of huge pages
/// and a mount of them, several laps through each ring.
#[test]
fn huge_pages_work_wherever_there_are_any() {
    let reserve = match Reserve::new() {
        Ok(reserve) => reserve,
        Err(why) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "cannot be tested here: {why}"
            );
            eprintln!("SKIPPED: {why}");
            return;
        }
    };
    let always = Options::new().huge_pages(HugePages::Always);
    streams(&always.create_memfd("huge").unwrap());
    streams(&always.create_anonymous().unwrap());

    let place = Location::from(reserve.path().join("huge.ring"));
    let ring = always.create(&place).unwrap();
    streams(&ring);
    streams(&Options::new().open(&place).unwrap());
    ring.remove().unwrap();

    let key = 0x4000_0000 | (std::process::id() & 0x00ff_ffff);
    let ring = always
        .create(&format!("sysv:{key:#x}").parse().unwrap())
        .unwrap();
    streams(&ring);
    ring.remove().unwrap();

    let plain = tempfile::tempdir().unwrap();
    for place in [
        Location::from(plain.path().join("x.ring")),
        "shm:huge".parse().unwrap(),
    ] {
        let refused = always.create(&place).unwrap_err();
        assert!(
            matches!(refused, OpenError::InvalidOption { .. }),
            "{refused}"
        );
        assert!(refused.to_string().contains("hugetlbfs"), "{refused}");
    }
}

/// Goal: asking for huge pages where the kernel may refuse them still gives a ring; so do prefault
/// and locking in memory.
#[test]
fn wishes_about_pages_are_kept_or_harmless() {
    let options = Options::new().capacity_bytes(1 << 22);
    streams(
        &options
            .clone()
            .huge_pages(HugePages::Try)
            .create_anonymous()
            .unwrap(),
    );
    streams(&options.clone().prefault(true).create_anonymous().unwrap());
    let locked = Options::new().capacity_bytes(1 << 19).lock_memory(true);
    let ring = locked.create_anonymous().unwrap();
    assert!(ring.producer().is_ok());
}
