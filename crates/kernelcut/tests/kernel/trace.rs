//! Stopping another process where its system calls begin and end.
#![expect(unsafe_code, reason = "these calls exist only in libc")]

use rustix::process::{Pid, Signal, WaitOptions};

/// Lets the parent trace this process, and stops until it does.
pub(crate) fn stop_traced() {
    // SAFETY: this request takes no address.
    let outcome = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    stop();
}

/// Stops this process.
pub(crate) fn stop() {
    let me = rustix::process::getpid();
    rustix::process::kill_process(me, Signal::STOP).unwrap();
}

/// A child that stopped to be traced.
#[derive(Debug)]
pub(crate) struct Traced(Pid);

impl Traced {
    /// Waits for the child's first stop.
    pub(crate) fn new(pid: u32) -> Self {
        let traced = Self(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap());
        assert_eq!(traced.stopped_by(), libc::SIGSTOP);
        traced
    }

    /// Lets it go on to where a system call begins or ends; false if it has stopped itself.
    pub(crate) fn next_call(&self) -> bool {
        let pid = self.0.as_raw_nonzero().get();
        // SAFETY: the child is stopped and ours to trace; no address and no signal is passed.
        let outcome = unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid, 0, 0) };
        assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
        match self.stopped_by() {
            libc::SIGTRAP => true,
            libc::SIGSTOP => false,
            signal => panic!("stopped by signal {signal}"),
        }
    }

    fn stopped_by(&self) -> i32 {
        let ended = rustix::process::waitpid(Some(self.0), WaitOptions::UNTRACED).unwrap();
        let (_, status) = ended.unwrap();
        status
            .stopping_signal()
            .unwrap_or_else(|| panic!("the child ended: {status:?}"))
    }
}
