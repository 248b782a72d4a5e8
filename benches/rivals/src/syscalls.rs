//! Counts the system calls of both sides of a stream, by tracing them.
#![expect(unsafe_code, reason = "ptrace")]

use std::io;

use rivals_harness::duo::{BEGIN, END, MARK};
use rivals_harness::shared::Shared;
use rivals_harness::{Cell, Failure, Link, Output, fail};
use std::sync::atomic::Ordering::SeqCst;

const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_EXITKILL;

/// Measures a stream under a tracer; `ticks` of the output is the number of system calls between
/// the marks.
pub(crate) fn measure<L: Link>(cell: &Cell) -> Result<Output, Failure> {
    let messages = Shared::new(4096)?;
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error().into());
    }
    if child == 0 {
        // SAFETY: the parent traces.
        if unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } != 0 {
            fail(io::Error::last_os_error());
        }
        // SAFETY: stops this process until the parent is ready.
        unsafe { libc::raise(libc::SIGSTOP) };
        match rivals_harness::stream::measure::<L, 0>(cell) {
            Ok(output) => messages.word(0).store(output.messages, SeqCst),
            Err(error) => fail(error),
        }
        // SAFETY: ends this process without running what belongs to the parent.
        unsafe { libc::_exit(0) };
    }
    let calls = trace(child)?;
    Ok(Output::of_counts(messages.word(0).load(SeqCst), calls))
}

/// Lets the child and its children run to their ends, and counts.
fn trace(child: i32) -> Result<u64, Failure> {
    let mut status = 0;
    // SAFETY: the status is valid for writes.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    // SAFETY: the child is stopped; the options are a number.
    if unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, child, 0, OPTIONS) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    let (mut calls, mut counting) = (0, false);
    go_on(child, 0);
    loop {
        // SAFETY: the status is valid for writes.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if pid < 0 {
            return Ok(calls);
        }
        if !libc::WIFSTOPPED(status) {
            continue;
        }
        let signal = libc::WSTOPSIG(status);
        if signal == libc::SIGTRAP | 0x80 {
            match entered(pid) {
                Some((MARK, BEGIN)) => counting = true,
                Some((MARK, END)) => counting = false,
                Some(_) if counting => calls += 1,
                _ => {}
            }
        }
        let own = signal & 0x7f == libc::SIGTRAP || signal == libc::SIGSTOP;
        go_on(pid, if own { 0 } else { signal });
    }
}

fn go_on(pid: i32, signal: i32) {
    // SAFETY: the process is stopped and traced by this one; if it died meanwhile nothing happens.
    unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid, 0, signal) };
}

/// Number and first argument of the system call that a process is about to make.
fn entered(pid: i32) -> Option<(i64, u64)> {
    // SAFETY: plain numbers.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = size_of_val(&info);
    // SAFETY: `info` is valid for writes of its size.
    unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, size, &raw mut info) };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: the kernel filled in this arm of the union.
    let entry = unsafe { info.u.entry };
    Some((i64::try_from(entry.nr).ok()?, entry.args[0]))
}
