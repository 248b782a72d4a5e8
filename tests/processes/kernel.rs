//! What the tests ask of the kernel: filters, timers, forks, signals, descriptors.
#![expect(
    unsafe_code,
    reason = "these calls exist only in libc, or run between fork and exec"
)]

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

/// A child must not outlive a test that was killed.
pub(crate) fn die_with_parent() {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
}

/// A forked child that is to live on when its parent is killed.
pub(crate) fn outlive_parent() {
    rustix::process::set_parent_process_death_signal(None).unwrap();
}

/// Refuses `membarrier` from now on, as a container's filter would.
pub(crate) fn deny_membarrier() {
    let errno = u32::try_from(libc::EPERM).unwrap();
    filter(
        &[libc::SYS_membarrier],
        libc::SECCOMP_RET_ERRNO | errno,
        libc::SECCOMP_RET_ALLOW,
    );
}

/// Kills this process for every system call from now on but the one that ends it.
pub(crate) fn allow_only_exit() {
    let calls = [libc::SYS_exit_group, libc::SYS_exit];
    filter(
        &calls,
        libc::SECCOMP_RET_ALLOW,
        libc::SECCOMP_RET_KILL_PROCESS,
    );
}

/// Installs a filter: `verdict` for the listed calls, `otherwise` for all others.
fn filter(calls: &[libc::c_long], verdict: u32, otherwise: u32) {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf: 0,
        k,
    };
    // The first word of what a filter sees is the number of the call.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for call in calls {
        let number = u32::try_from(*call).unwrap();
        let mut jump = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number);
        jump.jf = 1;
        program.push(jump);
        program.push(statement(libc::BPF_RET | libc::BPF_K, verdict));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, otherwise));
    rustix::thread::set_no_new_privs(true).unwrap();
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: this command reads the program behind `filter`, which lives until it returns.
    let outcome = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

/// Ends this process at once, with the one call that [`allow_only_exit`] leaves.
pub(crate) fn exit_at_once(code: i32) -> ! {
    // SAFETY: ends the process; nothing of it is used again.
    unsafe { libc::_exit(code) }
}

/// Interrupts this process every `period_us` microseconds from now on, without restarting calls.
pub(crate) fn storm_of_signals(period_us: i64) {
    extern "C" fn nothing(_: libc::c_int) {}
    handle_alarms(nothing);
    alarm_every(period_us);
}

/// Has `handler` called at every alarm; calls that it interrupts are not restarted.
pub(crate) fn handle_alarms(handler: extern "C" fn(libc::c_int)) {
    // SAFETY: all zero bytes are a valid value of this struct of integers.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler as *const () as usize;
    // SAFETY: the struct is valid; what the handlers do may be done in any handler.
    let outcome =
        unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    assert_eq!(outcome, 0);
}

/// Sounds an alarm every `period_us` microseconds from now on; zero stops that.
pub(crate) fn alarm_every(period_us: i64) {
    let period = libc::timeval {
        tv_sec: 0,
        tv_usec: period_us,
    };
    let timer = libc::itimerval {
        it_interval: period,
        it_value: period,
    };
    // SAFETY: the struct is valid and nothing is asked back.
    let outcome =
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(outcome, 0);
}

/// Forks by the bare system call: the C library runs none of its handlers, and knows nothing.
pub(crate) fn clone() -> Option<Pid> {
    let flags = libc::c_long::from(libc::SIGCHLD);
    // SAFETY: no stack and no other address is passed, so the child goes on like a forked one; as
    // for `fork`, this process has one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    assert!(pid >= 0, "clone");
    Pid::from_raw(i32::try_from(pid).unwrap())
}

/// The same with a process id of choice, in a pid namespace of this process's own.
pub(crate) fn clone_as(wanted: i32) -> std::io::Result<Option<Pid>> {
    let wanted = [wanted];
    // SAFETY: all zero bytes are a valid value of this struct of integers: "nothing".
    let mut arguments: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    arguments.exit_signal = u64::try_from(libc::SIGCHLD).unwrap();
    arguments.set_tid = wanted.as_ptr().addr() as u64;
    arguments.set_tid_size = 1;
    let bytes = size_of::<libc::clone_args>();
    // The last process with this id may be on its way out still.
    for _ in 0..100_000 {
        // SAFETY: the arguments and what they point to live until the call returns; no stack is
        // passed, so the child goes on like a forked one.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, bytes) };
        if pid >= 0 {
            return Ok(Pid::from_raw(i32::try_from(pid).unwrap()));
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        std::thread::yield_now();
    }
    Err(std::io::ErrorKind::AlreadyExists.into())
}

/// Shows this process, and the children that it forks, the processes of its own pid namespace under
/// `/proc`; nobody else sees that.
pub(crate) fn mount_own_proc() -> std::io::Result<()> {
    let failed = || Err(std::io::Error::last_os_error());
    // SAFETY: takes a number; the mounts of this process become a copy.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return failed();
    }
    let (root, proc) = (c"/".as_ptr(), c"/proc".as_ptr());
    let (none, no_data) = (c"none".as_ptr(), std::ptr::null());
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: C strings that live for ever, and no data.
    if unsafe { libc::mount(none, root, std::ptr::null(), private, no_data) } != 0 {
        return failed();
    }
    // SAFETY: as above.
    if unsafe { libc::mount(none, proc, c"proc".as_ptr(), 0, no_data) } != 0 {
        return failed();
    }
    Ok(())
}

/// Children that this process forks from now on live in a pid namespace of their own.
pub(crate) fn unshare_pids() -> std::io::Result<()> {
    // SAFETY: takes a number; nothing of this process itself changes.
    match unsafe { libc::unshare(libc::CLONE_NEWPID) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Forks. Only for a process with one thread, which an agent is, or whose other threads wait in the
/// library.
pub(crate) fn fork() -> Option<Pid> {
    // SAFETY: other threads wait and hold no lock that the child could want; the allocator's own are
    // put right by the C library.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    Pid::from_raw(pid)
}

/// Children that end leave nothing to be waited for.
pub(crate) fn reap_children() {
    // SAFETY: ignoring a signal installs no code.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR);
}

/// A process that may be signalled and waited for, whoever its parent is.
#[derive(Debug)]
pub(crate) struct Process {
    pidfd: OwnedFd,
    pub(crate) pid: u32,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        let raw = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let pidfd = rustix::process::pidfd_open(raw, PidfdFlags::empty()).unwrap();
        Self { pidfd, pid }
    }

    /// Sends a signal; nothing happens if the process is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        let _gone = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&self) -> bool {
        !readable(self.pidfd.as_fd(), 0)
    }

    /// Waits until the process has ended; its files and memory are given back by then.
    pub(crate) fn wait_end(&self) {
        assert!(
            readable(self.pidfd.as_fd(), 60),
            "process {} does not end",
            self.pid
        );
    }

    /// Ends the process and waits for that.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
        self.wait_end();
    }
}

/// Whether `fd` becomes readable within so many seconds.
pub(crate) fn readable(fd: BorrowedFd<'_>, seconds: i64) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let limit = rustix::event::Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    loop {
        match poll(&mut fds, Some(&limit)) {
            Ok(count) => return count == 1,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("poll: {errno}"),
        }
    }
}

/// Lets the child of `command` inherit `fd`, under the same number.
pub(crate) fn inherit(command: &mut Command, fd: OwnedFd) {
    let keep = move || {
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty())?;
        Ok(())
    };
    // SAFETY: what runs between fork and exec is one system call: no allocation, no lock.
    unsafe { command.pre_exec(keep) };
}

/// Gives up every right and goes on as another user, for ever.
pub(crate) fn become_user(uid: u32) {
    // SAFETY: no groups are passed, so no address is read.
    let groups = unsafe { libc::setgroups(0, std::ptr::null()) };
    // SAFETY: takes a number only. The whole process changes, which is what is wanted.
    let group = unsafe { libc::setgid(uid) };
    // SAFETY: as above.
    let user = unsafe { libc::setuid(uid) };
    assert_eq!(
        [groups, group, user],
        [0; 3],
        "{}",
        std::io::Error::last_os_error()
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find(|line| line.starts_with("CapEff"));
    assert_eq!(
        effective.and_then(|line| line.split_whitespace().nth(1)),
        Some("0000000000000000")
    );
    // The kernel has forgotten what it was to do when the parent dies.
    die_with_parent();
}

/// Sets a write lock on one byte, through this very description.
pub(crate) fn lock_byte(fd: BorrowedFd<'_>, byte: i64) -> std::io::Result<()> {
    // SAFETY: all zero bytes are a valid value of this struct of integers.
    let mut request: libc::flock = unsafe { MaybeUninit::zeroed().assume_init() };
    request.l_type = libc::c_short::try_from(libc::F_WRLCK).unwrap();
    request.l_start = byte;
    request.l_len = 1;
    // SAFETY: the descriptor is open, and this command only reads the struct.
    let outcome = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) };
    match outcome {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Hands a descriptor over a Unix socket.
pub(crate) fn send_descriptor(stream: &UnixStream, fd: BorrowedFd<'_>) {
    send_descriptors(stream, b'!', &[fd]);
}

/// Hands descriptors over a Unix socket, beside one byte.
pub(crate) fn send_descriptors(stream: &UnixStream, byte: u8, fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    let byte = [byte];
    let data = [IoSlice::new(&byte)];
    assert_eq!(
        sendmsg(stream, &data, &mut control, SendFlags::empty()),
        Ok(1)
    );
}

/// Takes a descriptor from a Unix socket.
pub(crate) fn receive_descriptor(stream: &UnixStream) -> OwnedFd {
    receive_marked(stream).1
}

/// Takes a byte and the first descriptor beside it.
pub(crate) fn receive_marked(stream: &UnixStream) -> (u8, OwnedFd) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    recvmsg(stream, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            return (byte[0], fds.next().unwrap());
        }
    }
    panic!("no descriptor came");
}

/// Lets the parent step this process, and stops until it does.
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

/// A child that stopped to be stepped.
#[derive(Debug)]
pub(crate) struct Stepped(Pid);

impl Stepped {
    /// Waits for the child's first stop.
    pub(crate) fn new(pid: u32) -> Self {
        let stepped = Self(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap());
        assert_eq!(stepped.stopped_by(), libc::SIGSTOP);
        stepped
    }

    /// Lets it do one instruction; false if it has stopped itself again.
    pub(crate) fn step(&self) -> bool {
        self.go_on(libc::PTRACE_SINGLESTEP)
    }

    /// Lets it go on to where a system call begins or ends; false if it has stopped itself again.
    pub(crate) fn next_call(&self) -> bool {
        self.go_on(libc::PTRACE_SYSCALL)
    }

    fn go_on(&self, how: libc::c_uint) -> bool {
        let pid = self.0.as_raw_nonzero().get();
        // SAFETY: the child is stopped and ours to trace; no address and no signal is passed.
        let outcome = unsafe { libc::ptrace(how, pid, 0, 0) };
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
