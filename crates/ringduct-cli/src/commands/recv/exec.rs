//! `--exec`: a command for each message.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Write as _};
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};

use crate::failure::{Code, Failure};

/// Runs a command with each message as its standard input.
pub(super) struct Exec {
    command: Command,
    program: OsString,
    taken_bytes: usize,
    failed: Option<Failure>,
}

impl Exec {
    /// This program with these arguments.
    pub(super) fn new(program: &OsStr, arguments: &[OsString]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped());
        Self {
            command,
            program: program.to_owned(),
            taken_bytes: 0,
            failed: None,
        }
    }

    /// Runs the command. Breaks, so that each message is released before the next one.
    pub(super) fn take(&mut self, message: &[u8]) -> ControlFlow<()> {
        self.taken_bytes = message.len();
        self.failed = match self.run(message) {
            Ok(status) if status.success() => None,
            Ok(status) => Some(self.failed(&how(status))),
            Err(error) => Some(self.failed(&format!("could not be run ({error})"))),
        };
        ControlFlow::Break(())
    }

    fn run(&mut self, message: &[u8]) -> io::Result<ExitStatus> {
        let mut child = self.command.spawn()?;
        let written = match child.stdin.take() {
            Some(mut stdin) => stdin.write_all(message), // and closes it
            None => Ok(()),
        };
        let status = child.wait()?;
        match written {
            // A command need not read what it is given.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => Ok(status),
        }
    }

    fn failed(&self, how: &str) -> Failure {
        let program = self.program.to_string_lossy();
        Failure::new(
            Code::Other,
            format!("the command {program:?} {how}; the message it was given stays in the ring"),
        )
        .next(
            "look at the message with `ringduct recv --peek -n 1`; `recv` begins with it again, \
             `recv -n 1` passes over it",
        )
    }

    /// Whether the last command succeeded; says how long its message was.
    pub(super) fn finish(&mut self) -> Result<u64, Failure> {
        match self.failed.take() {
            Some(failure) => Err(failure),
            None => Ok(std::mem::take(&mut self.taken_bytes) as u64),
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => format!("ended with {status}"),
    }
}
