//! Rings that go away with the test, and the program under test.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringduct::{Location, Observer, Options, Ring};
use rustix::process::{Pid, Signal, kill_process};

/// The program.
pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_ringduct");

/// Nothing here takes a tenth of this, unless it hangs.
const LIMIT: Duration = Duration::from_secs(60);

static NEXT: AtomicI32 = AtomicI32::new(0);

/// A number that no other test has.
pub(crate) fn unique() -> u32 {
    let own = NEXT.fetch_add(1, Ordering::Relaxed);
    std::process::id()
        .wrapping_mul(256)
        .wrapping_add(own.unsigned_abs())
}

/// A location with no ring yet; a ring that is there at the end is removed.
pub(crate) struct Place {
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn shm() -> Self {
        Self {
            name: format!("shm:ringduct-cli-{}", unique()),
        }
    }

    pub(crate) fn sysv() -> Self {
        Self {
            name: format!("sysv:{:#x}", 0x4000_0000 | (unique() & 0x3fff_ffff)),
        }
    }

    pub(crate) fn file(dir: &Path) -> Self {
        let path = dir.join(format!("{}.ring", unique()));
        Self {
            name: path.to_str().unwrap().to_owned(),
        }
    }

    pub(crate) fn create(self, options: &[&str]) -> Self {
        let made = tool(&["create", &self.name])
            .args(options)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        self
    }

    pub(crate) fn ring(&self) -> Ring {
        let location: Location = self.name.parse().unwrap();
        Options::new().open(&location).unwrap()
    }

    pub(crate) fn observer(&self) -> Observer {
        self.ring().observer().unwrap()
    }

    /// Waits until a ring is there and `seen` of it.
    pub(crate) fn wait_until(&self, what: &str, seen: impl Fn(&ringduct::Snapshot) -> bool) {
        let location: Location = self.name.parse().unwrap();
        let mut observer = None;
        wait_until(what, || {
            if observer.is_none() {
                observer = Options::new().observe(&location).ok();
            }
            observer
                .as_ref()
                .is_some_and(|observer| seen(&observer.snapshot()))
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let location: Location = self.name.parse().unwrap();
        let _was_never_made = Options::new()
            .open(&location)
            .and_then(|ring| ring.remove());
    }
}

/// The program with these arguments, in a plain environment.
pub(crate) fn tool<A: AsRef<OsStr>>(arguments: &[A]) -> Command {
    let mut command = Command::new(TOOL);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("NO_COLOR")
        .env_remove("container");
    command
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// It did what it was asked for, without a word but for a ring that was made.
    pub(crate) fn succeeded(self) -> Vec<u8> {
        assert_eq!(self.code(), 0, "{self:?}");
        assert!(
            self.stderr.is_empty() || self.stderr.contains("made a ring"),
            "{self:?}"
        );
        self.stdout
    }
}

/// A program that runs; killed if the test ends before it does.
pub(crate) struct Run {
    child: Child,
    stdin: Option<JoinHandle<()>>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Run {
    /// Starts it; what it writes is collected unless `command` says otherwise.
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self::collect(child)
    }

    /// The same with something to read.
    pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Self {
        let mut run = Self::start(command.stdin(Stdio::piped()));
        let mut stdin = run.child.stdin.take().unwrap();
        let input = input.to_vec();
        run.stdin = Some(std::thread::spawn(move || {
            let _it_may_have_ended = stdin.write_all(&input);
        }));
        run
    }

    /// The same, with standard output going elsewhere.
    pub(crate) fn with_output(command: &mut Command, output: impl Into<Stdio>) -> Self {
        let child = command
            .stdout(output)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self::collect(child)
    }

    fn collect(mut child: Child) -> Self {
        fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                from.read_to_end(&mut all).unwrap();
                all
            })
        }
        let stdout = child.stdout.take().map(reader);
        let stderr = child.stderr.take().map(reader);
        Self {
            child,
            stdin: None,
            stdout,
            stderr,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Kills it as nothing can be prepared for.
    pub(crate) fn kill(self) -> Done {
        self.signal(Signal::KILL);
        let done = self.finish();
        assert_eq!(
            done.status.signal(),
            Some(9),
            "it ended before it was killed: {done:?}"
        );
        done
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Done {
        let mut status = None;
        wait_until("the program to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        if let Some(stdin) = self.stdin.take() {
            stdin.join().unwrap();
        }
        let read = |from: Option<JoinHandle<Vec<u8>>>| {
            from.map(|thread| thread.join().unwrap())
                .unwrap_or_default()
        };
        let (stdout, stderr) = (read(self.stdout.take()), read(self.stderr.take()));
        Done {
            status: status.unwrap(),
            stdout,
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
        let _was_waited_for = self.child.wait();
    }
}

/// Runs the program to its end.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Done {
    Run::start(&mut tool(arguments)).finish()
}

/// The same with something to read.
pub(crate) fn run_with<A: AsRef<OsStr>>(arguments: &[A], input: &[u8]) -> Done {
    Run::with_input(&mut tool(arguments), input).finish()
}

/// Waits for something to be so, and fails if it takes for ever.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `count` lines, each another one.
pub(crate) fn lines(count: u32) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 1..=count {
        writeln!(text, "{number} {}", "x".repeat((number % 13) as usize)).unwrap();
    }
    text
}

/// Small random numbers from a seed that is printed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(test: &str) -> Self {
        let given = std::env::var("RINGDUCT_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(unique()));
        println!("{test}: RINGDUCT_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
