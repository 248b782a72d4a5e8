//! The commands that look into rings, mend and remove them, as people run them: the built binary, on
//! rings in use, at rest, damaged and cold.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]
#![expect(clippy::print_stderr, reason = "says what was skipped")]

mod finding;
mod looking;
mod mending;
mod terminal;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ringduct::{Location, Options, PeerState};
use tempfile::TempDir;

/// Offsets in the file of a ring, from the format's description.
const PAGE: u64 = 4096;
const DATA: u64 = 8 * PAGE;
const CAPACITY: u64 = 4096;
/// Bytes of each record of [`Used`]: 24 bytes of payload behind a commit word.
const RECORD: u64 = 32;
/// Messages in each [`Used`]; two of them are taken.
const MESSAGES: u8 = 100;

/// How a run of the tool ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn tool() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringduct"));
    command.stdin(Stdio::null()).env("NO_COLOR", "1");
    command
}

/// Runs the tool to its end.
fn run(args: &[&str]) -> Ended {
    let output = tool().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// The same, and it must end well and quietly.
fn run_well(args: &[&str]) -> String {
    let ended = run(args);
    assert_eq!(
        (ended.code, &*ended.err),
        (Some(0), ""),
        "{args:?}: {}",
        ended.out
    );
    ended.out
}

/// The same, and it must end with this code and an error that says all of `words`.
fn run_badly(args: &[&str], code: i32, words: &[&str]) -> Ended {
    let ended = run(args);
    assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
    assert!(ended.err.starts_with("error: "), "{ended:?}");
    for word in words {
        assert!(ended.err.contains(word), "{word:?} is not in {}", ended.err);
    }
    ended
}

/// Looks until something is so, for half a minute at most.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(30), "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A ring in a folder of its own that was used and that nobody holds.
struct Used {
    dir: TempDir,
    path: PathBuf,
}

impl Used {
    fn new(checksum: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("used.ring");
        let options = Options::new().capacity_bytes(CAPACITY).checksum(checksum);
        let ring = options.create(&Location::from(&*path)).unwrap();
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for number in 0..MESSAGES {
            tx.send(format!("message number {number:09}").as_bytes())
                .unwrap();
        }
        for _ in 0..2 {
            rx.recv(&mut [0; 24]).unwrap();
        }
        drop((tx, rx));
        Self { dir, path }
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn folder(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    fn put(&self, offset: u64, value: u64) {
        let file = File::options().write(true).open(&self.path).unwrap();
        file.write_all_at(&value.to_le_bytes(), offset).unwrap();
    }
}

/// A process that holds the producer's role of a ring, until it is killed.
struct Holder(Child);

impl Holder {
    fn of(name: &str) -> Self {
        let mut command = tool();
        command.args(["send", name]).stdin(Stdio::piped());
        let holder = Self(command.spawn().unwrap());
        let location: Location = name.parse().unwrap();
        wait_until("the producer is there", || {
            let observer = Options::new().observe(&location).unwrap();
            observer.snapshot().producer.state == PeerState::Attached
        });
        holder
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn send(&mut self, line: &str) {
        let stdin = self.0.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// Ends it as `kill -9` does.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ended_before = self.0.kill().is_err();
        let _ended_before = self.0.wait().is_err();
    }
}

/// A ring made and used in `dir` that is durable; `None`, said aloud, where the disk is none that
/// can be relied on, which under `CI` is a failure.
fn durable(dir: &Path, messages: u8) -> Option<String> {
    let path = dir.join("durable.ring");
    let options = Options::new().durable(true).checksum(true);
    let ring = match options
        .capacity_bytes(CAPACITY)
        .create(&Location::from(&*path))
    {
        Ok(ring) => ring,
        Err(error @ ringduct::OpenError::NotDurable { .. }) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("SKIPPED: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let mut tx = ring.producer().unwrap();
    for number in 0..messages {
        tx.send(&[number; 24]).unwrap();
    }
    tx.checkpoint().unwrap();
    Some(path.to_str().unwrap().to_owned())
}
