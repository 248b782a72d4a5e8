//! What the tests of the examples share: programs that run, folders and rings that go.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringduct::{Location, OpenError, Options, PeerState, Snapshot};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes on a loaded machine; only a program that hangs gets there.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// None after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// A program that runs, and is ended with the test at the latest.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
}

/// Starts an example, found beside this test's own program.
pub(crate) fn start(name: &str, arguments: &[&str], from: Stdio, to: Stdio) -> Running {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    let child = Command::new(&program)
        .args(arguments)
        .stdin(from)
        .stdout(to)
        .stderr(Stdio::piped())
        .spawn();
    let child = child.unwrap_or_else(|error| {
        panic!("{}: {error}; run cargo build --examples", program.display())
    });
    Running {
        name: name.to_owned(),
        child,
    }
}

/// Runs an example to its end.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Done {
    start(name, arguments, Stdio::null(), Stdio::piped()).finish()
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub(crate) fn take_output(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    pub(crate) fn take_errors(&mut self) -> ChildStderr {
        self.child.stderr.take().unwrap()
    }

    /// Waits for its end; a program that hangs is killed and fails the test.
    pub(crate) fn finish(mut self) -> Done {
        let (ended, watched) = mpsc::channel::<()>();
        let pid = Pid::from_child(&self.child);
        let watchdog = std::thread::spawn(move || {
            let waited = watched.recv_timeout(PATIENCE);
            let hangs = waited == Err(mpsc::RecvTimeoutError::Timeout);
            if hangs {
                kill_process(pid, Signal::KILL).unwrap();
            }
            hangs
        });
        let (mut output, mut errors) = (String::new(), String::new());
        // What these programs print fits into a pipe, so one can be read after the other.
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut output).unwrap();
        }
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut errors).unwrap();
        }
        let status = self.child.wait().unwrap();
        drop(ended);
        let hung = watchdog.join().unwrap();
        assert!(!hung, "{} hung: {output}{errors}", self.name);
        Done {
            code: status.code(),
            output,
            errors,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless a test fails.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Looks again and again until it is so. No event tells of these conditions.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "never so: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Some megabytes, more than any ring here holds, and no two stretches alike.
pub(crate) fn input() -> Vec<u8> {
    (0..1_000_003_u32)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b1).to_le_bytes())
        .collect()
}

/// A folder that goes with the test.
#[derive(Debug)]
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A ring of each kind that has a name; `test` keeps tests that run side by side apart.
pub(crate) fn ways(folder: &Folder, test: &str) -> [Location; 3] {
    let pid = std::process::id();
    let first = i32::from(test.as_bytes()[0]);
    [
        Location::from(folder.path("x.ring")),
        Location::Shm(format!("ringduct-examples-{test}-{pid}")),
        Location::SysVKey(i32::try_from(pid).unwrap() | first << 24),
    ]
}

/// A ring whose name is removed with the test.
#[derive(Debug)]
pub(crate) struct Named(pub(crate) Location);

impl Named {
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }

    fn snapshot(&self) -> Option<Snapshot> {
        Some(Options::new().observe(&self.0).ok()?.snapshot())
    }

    pub(crate) fn producer(&self) -> Option<PeerState> {
        Some(self.snapshot()?.producer.state)
    }

    pub(crate) fn consumer(&self) -> Option<PeerState> {
        Some(self.snapshot()?.consumer.state)
    }

    pub(crate) fn released_bytes(&self) -> u64 {
        self.snapshot().map_or(0, |now| now.consumer.totals.bytes)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if let Ok(ring) = Options::new().open(&self.0) {
            // A failed test says so already.
            drop(ring.remove());
        }
    }
}

/// What is mounted, one line each.
pub(crate) fn mounts() -> String {
    std::fs::read_to_string("/proc/mounts").unwrap()
}

/// Why nothing in this folder outlives a power cut, if so.
pub(crate) fn no_disk(folder: &str) -> Option<String> {
    let probe = Location::from(PathBuf::from(folder).join("probe.ring"));
    match Options::new().durable(true).create(&probe) {
        Err(error @ OpenError::NotDurable { .. }) => Some(error.to_string()),
        made => {
            made.unwrap().remove().unwrap();
            None
        }
    }
}

/// Why no image can be mounted here, if so.
pub(crate) fn no_loop_device() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root may mount");
    }
    let found = Command::new("losetup").arg("-f").output();
    let found = found.is_ok_and(|found| found.status.success());
    (!found).then_some("there is no loop device")
}

/// Says so; under `CI` that is a failure.
pub(crate) fn skip(what: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what}: {why}");
    eprintln!("SKIPPED {what}: {why}");
}
