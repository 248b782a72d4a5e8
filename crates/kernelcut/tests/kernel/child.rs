//! Other processes: what is cut, and what it has said until then.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::ROLE;
use crate::random::Random;

/// Something that a victim did or is about to do. It is said in one piece, into a pipe that no
/// power cut of ours touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) what: String,
    /// How long the disk's log was: for a thing done, what the log held before this moment is
    /// behind it; for a thing to come, what it does is after.
    pub(crate) moment: u64,
    pub(crate) numbers: Vec<u64>,
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n')?;
        let mut words = line.split(' ');
        let what = words.next()?.to_owned();
        let mut numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        let moment = numbers.remove(0);
        Some(Self {
            what,
            moment,
            numbers,
        })
    }
}

/// The victim's end.
#[derive(Debug)]
pub(crate) struct Reporter {
    out: File,
    moments: Option<File>,
}

impl Reporter {
    /// `moments` is what [`ringduct_kernelcut::Disk::moment_file`] says, or `-`.
    pub(crate) fn new(moments: &str) -> Self {
        let out = File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
        let moments = (moments != "-").then(|| File::open(moments).unwrap());
        Self { out, moments }
    }

    fn moment(&self) -> u64 {
        let mut bytes = [0; 8];
        if let Some(file) = &self.moments {
            file.read_exact_at(&mut bytes, 0).unwrap();
        }
        u64::from_le_bytes(bytes)
    }

    /// Says something about numbers.
    pub(crate) fn say(&self, what: &str, numbers: &[u64]) {
        let mut line = format!("{what} {}", self.moment());
        for number in numbers {
            line.push(' ');
            line.push_str(&number.to_string());
        }
        line.push('\n');
        // One write, shorter than a pipe's atom: threads do not mix, a kill does not tear.
        let written = (&self.out).write(line.as_bytes()).unwrap();
        assert_eq!(written, line.len());
    }
}

/// Another process.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    out: BufReader<ChildStdout>,
}

/// This program, to be run again in a role.
pub(crate) fn start(role: &str) -> Child {
    spawn(role, Stdio::null())
}

/// The same, and it listens to commands.
pub(crate) fn start_listening(role: &str) -> Child {
    spawn(role, Stdio::piped())
}

fn spawn(role: &str, input: Stdio) -> Child {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .env(ROLE, role)
        .stdin(input)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(process.stdout.take().unwrap());
    Child { process, out }
}

impl Child {
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next thing it says; none when it has ended.
    pub(crate) fn hear(&mut self) -> Option<Event> {
        let mut line = String::new();
        // What comes, comes in whole lines.
        if self.out.buffer().is_empty() {
            await_readable(self.out.get_ref().as_fd());
        }
        self.out.read_line(&mut line).unwrap();
        Event::parse(&line)
    }

    /// Gives a command, and returns the answer: a word and a number.
    pub(crate) fn ask(&mut self, command: &str) -> (String, u64) {
        let answer = self.try_ask(command);
        answer.unwrap_or_else(|end| panic!("{command}: the process ended: {end}"))
    }

    /// The same, or how it ended instead of answering.
    pub(crate) fn try_ask(&mut self, command: &str) -> Result<(String, u64), ExitStatus> {
        let requests = self.process.stdin.as_mut().unwrap();
        writeln!(requests, "{command}").unwrap();
        match self.hear() {
            Some(answer) => Ok((answer.what, answer.numbers[0])),
            None => Err(self.process.wait().unwrap()),
        }
    }

    /// Up to `count` things it says.
    pub(crate) fn hear_some(&mut self, count: usize, into: &mut Vec<Event>) {
        for _ in 0..count {
            let Some(event) = self.hear() else { break };
            into.push(event);
        }
    }

    /// Kills it, and returns what it had said and nobody had read.
    pub(crate) fn kill(mut self) -> Vec<Event> {
        self.end();
        let mut rest = Vec::new();
        while let Some(event) = self.hear() {
            rest.push(event);
        }
        rest
    }
}

impl Child {
    fn end(&mut self) {
        let pid = Pid::from_child(&self.process);
        // It is not waited for yet, so the number is still its own.
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        self.process.kill().unwrap();
        await_readable(handle.as_fd());
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(Some(_))) && !std::thread::panicking() {
            self.end();
        } else {
            let _gone = self.process.kill();
        }
    }
}

/// Nothing that is awaited takes longer, unless the kernel is stuck.
const PATIENCE_S: i64 = 60;

fn await_readable(fd: BorrowedFd<'_>) {
    let limit = Timespec {
        tv_sec: PATIENCE_S,
        tv_nsec: 0,
    };
    loop {
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)) {
            Ok(0) => panic!("another process hangs, perhaps in the kernel"),
            Ok(_) => return,
            Err(Errno::INTR) => {}
            Err(errno) => panic!("poll: {errno}"),
        }
    }
}

/// A child must not outlive a test that was killed.
pub(crate) fn die_with_parent() {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
}

/// Nobody waits longer than this for a file that another process makes.
const LOOKS: u32 = 1_000_000;

/// Makes random parts of a file reach the disk early, until it is killed or the disk fails.
pub(crate) fn nudge(path: &Path, seed: u64) {
    let mut random = Random::new(seed);
    let Some(file) = (0..LOOKS).find_map(|_| {
        std::thread::yield_now();
        File::open(path).ok()
    }) else {
        return;
    };
    loop {
        let pages = file.metadata().map_or(1, |data| data.len() / 4096 + 1);
        let first = random.below(pages);
        let end = first + 1 + random.below(4);
        let bytes = |page: u64| i64::try_from(page * 4096).unwrap();
        if ringduct_kernelcut::sync_some(&file, bytes(first)..bytes(end)).is_err() {
            return;
        }
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
    }
}
