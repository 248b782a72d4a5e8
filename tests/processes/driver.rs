//! The test's side of an agent: start it, ask it, end it.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::kernel::{self, Process};
use crate::{ROLE, agent};

/// No answer within this time means that something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another process that does what it is told, one command at a time.
#[derive(Debug)]
pub(crate) struct Agent {
    process: Process,
    requests: UnixStream,
    answers: BufReader<UnixStream>,
    child: Option<std::process::Child>,
}

/// This program, to be run again in a role.
pub(crate) fn myself(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, role);
    command
}

impl Agent {
    /// Starts a separate program.
    pub(crate) fn start() -> Self {
        Self::start_inheriting(None)
    }

    /// Starts a separate program that inherits a descriptor.
    pub(crate) fn start_inheriting(fd: Option<OwnedFd>) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = myself("agent");
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        if let Some(fd) = fd {
            kernel::inherit(&mut command, fd);
        }
        let child = command.spawn().unwrap();
        let process = Process::new(child.id());
        Self::over(ours, process, Some(child))
    }

    /// Lets `parent`, which must be an agent, fork a child that is an agent too.
    pub(crate) fn forked(parent: &mut Self, directory: &Path) -> Self {
        Self::forked_by(parent, directory, "fork", "")
    }

    /// The same with a process id of choice in the parent's pid namespace.
    pub(crate) fn forked_as(parent: &mut Self, directory: &Path, pid: u32) -> Self {
        Self::forked_by(parent, directory, "fork-as", &format!(" {pid}"))
    }

    fn forked_by(parent: &mut Self, directory: &Path, command: &str, pid: &str) -> Self {
        let path = directory.join("fork.socket");
        let listener = UnixListener::bind(&path).unwrap();
        // Whatever user the parent has become: the directory decides who gets here.
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        parent.ask(&format!("{command} {}{pid}", path.display()));
        assert!(
            kernel::readable(listener.as_fd(), 60),
            "the forked child does not come"
        );
        let (stream, _) = listener.accept().unwrap();
        std::fs::remove_file(&path).unwrap();
        // The parent may know it by another number, that of its own pid namespace.
        let peer = rustix::net::sockopt::socket_peercred(&stream).unwrap();
        let pid = u32::try_from(peer.pid.as_raw_nonzero().get()).unwrap();
        Self::over(stream, Process::new(pid), None)
    }

    fn over(stream: UnixStream, process: Process, child: Option<std::process::Child>) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap());
        Self {
            process,
            requests: stream,
            answers,
            child,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Gives a command and does not wait for the answer.
    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.requests, "{command}").unwrap();
    }

    /// Waits for the answer to the oldest command that has none: what went well, or the error.
    pub(crate) fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        assert!(
            matches!(read, Ok(1..)),
            "agent {} does not answer: {read:?}",
            self.pid()
        );
        let line = line.trim_end();
        match line.split_once(' ').unwrap_or((line, "")) {
            (agent::OK, rest) => Ok(rest.to_owned()),
            (_, rest) => Err(rest.to_owned()),
        }
    }

    /// The answer to the oldest command, which must have gone well.
    pub(crate) fn hear(&mut self) -> String {
        self.answer()
            .unwrap_or_else(|error| panic!("agent {}: {error}", self.pid()))
    }

    /// Gives a command that must go well.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
            .unwrap_or_else(|error| panic!("agent {}: {command}: {error}", self.pid()))
    }

    /// Gives a command that must fail, and returns how.
    pub(crate) fn refused(&mut self, command: &str) -> String {
        self.tell(command);
        match self.answer() {
            Err(error) => error,
            Ok(answer) => panic!("agent {}: {command} went well: {answer}", self.pid()),
        }
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Stops the process, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    fn end(&mut self) {
        self.process.kill();
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.end();
    }
}
