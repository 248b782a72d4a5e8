//! The test's side of an agent: start it, ask it, see how it ends.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::AGENT;

/// No answer within this time means that something hangs.
const PATIENCE_S: i64 = 60;

/// Another process that does what it is told, one command at a time.
#[derive(Debug)]
pub(crate) struct Agent {
    process: std::process::Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exit(i32),
    Signal(i32),
}

impl Agent {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(AGENT, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            requests,
            answers,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives a command and does not wait for the answer.
    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.requests, "{command}").unwrap();
    }

    /// The next line it says; `None` when it has ended.
    fn line(&mut self) -> Option<String> {
        let limit = Timespec {
            tv_sec: PATIENCE_S,
            tv_nsec: 0,
        };
        while self.answers.buffer().is_empty() {
            let output = self.answers.get_ref().as_fd();
            match poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&limit)) {
                Ok(0) => panic!("agent {} hangs", self.pid()),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => panic!("poll: {errno}"),
            }
        }
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.strip_suffix('\n').map(str::to_owned)
    }

    /// The next thing it says.
    pub(crate) fn hear(&mut self) -> String {
        match self.line() {
            Some(line) => line,
            None => panic!("agent {} ended: {:?}", self.pid(), self.end()),
        }
    }

    /// Gives a command and returns the answer.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.hear()
    }

    /// Gives a command that must go well, and returns the number that it answers with.
    pub(crate) fn does(&mut self, command: &str) -> u64 {
        let answer = self.ask(command);
        let number = answer
            .strip_prefix("ok ")
            .and_then(|rest| rest.parse().ok());
        number.unwrap_or_else(|| panic!("{command}: {answer}"))
    }

    /// Gives a command that ends the process, and returns how.
    pub(crate) fn dies_of(&mut self, command: &str) -> End {
        self.tell(command);
        match self.line() {
            Some(answer) => panic!("{command}: lived on and said {answer}"),
            None => self.end(),
        }
    }

    fn end(&mut self) -> End {
        let status = self.process.wait().unwrap();
        match (status.code(), status.signal()) {
            (Some(code), _) => End::Exit(code),
            (None, signal) => End::Signal(signal.unwrap()),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}
