//! What the tests ask of the kernel.
#![expect(unsafe_code, reason = "these calls exist only in libc")]

use rustix::process::Signal;

/// A child must not outlive a test that was killed.
pub(crate) fn die_with_parent() {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
}

/// Gives up the rights of root for those of a user who owns nothing.
pub(crate) fn become_user(id: u32) {
    // SAFETY: neither call takes an address. The process has one thread.
    let outcome = unsafe { libc::setgid(id) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: as above.
    let outcome = unsafe { libc::setuid(id) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

/// Faults of the program's own, and handlers for them.
#[cfg(feature = "guard")]
pub(crate) mod faults {
    use std::ffi::{c_int, c_void};
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};

    /// Where the program's own mapping is.
    static OWN: AtomicI64 = AtomicI64::new(0);
    /// Faults there that a handler of the program met.
    static MET: AtomicI32 = AtomicI32::new(0);
    /// Signals that it passed on to the handler it has replaced.
    static PASSED: AtomicI32 = AtomicI32::new(0);
    /// Of the faults met, those on an alternate stack.
    static ELSEWHERE: AtomicI32 = AtomicI32::new(0);
    /// What was there when the program's handler was installed.
    static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

    /// What a handler of the program leaves in `errno`.
    const MARK: c_int = 77;

    fn page() -> usize {
        rustix::param::page_size()
    }

    pub(crate) fn obey(command: &str, argument: &str) -> u64 {
        match command {
            // Installs a handler of the program, or what it is instead of one.
            "handler" => install(argument),
            // Maps a file of two pages, at a given address or anywhere, and cuts it off.
            "own" => own_mapping(argument),
            // Reads that, in another thread, and says what `errno` is then.
            "touch" => std::thread::spawn(touch).join().unwrap(),
            "met" => counted(&MET),
            "passed" => counted(&PASSED),
            "elsewhere" => counted(&ELSEWHERE),
            // Sends the signal without a fault.
            "raise" => raise(),
            // Where a file is mapped.
            "where" => first_mapping_of(argument),
            // The same in a forked child, and how that ends: the signal, or 1,000.
            "fork-touch" => fork_touch(argument),
            other => panic!("no such command: {other}"),
        }
    }

    fn counted(counter: &AtomicI32) -> u64 {
        u64::try_from(counter.load(Ordering::Relaxed)).unwrap()
    }

    fn install(kind: &str) -> u64 {
        type Informed = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
        let (handler, flags) = match kind {
            "default" => (libc::SIG_DFL, 0),
            "ignore" => (libc::SIG_IGN, 0),
            "plain" => {
                let handler: extern "C" fn(c_int) = plain;
                (handler as *const () as usize, 0)
            }
            "informed" => {
                let handler: Informed = informed;
                (handler as *const () as usize, libc::SA_SIGINFO)
            }
            other => panic!("no such handler: {other}"),
        };
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: all zeros are a valid value of this struct of integers.
        let action = unsafe { action.assume_init_mut() };
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: both structs are valid, and the handlers below do nothing that a handler may not.
        let outcome = unsafe { libc::sigaction(libc::SIGBUS, action, before.as_mut_ptr()) };
        assert_eq!(outcome, 0);
        // SAFETY: all zeros are a valid value, and the kernel has filled it in.
        BEFORE.get_or_init(|| unsafe { before.assume_init() });
        0
    }

    fn set_errno(number: c_int) {
        // SAFETY: the C library gives each thread such a place.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        unsafe { *errno = number };
    }

    /// Mends the program's own mapping, as a handler does that knows it. Whether it was meant.
    fn mend(address: usize) -> bool {
        let own = usize::try_from(OWN.load(Ordering::Relaxed)).unwrap_or(0);
        if own == 0 || !(own..own + 2 * page()).contains(&address) {
            return false;
        }
        MET.fetch_add(1, Ordering::Relaxed);
        let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
        // SAFETY: asks only; there is a place for the answer.
        unsafe { libc::sigaltstack(ptr::null(), stack.as_mut_ptr()) };
        // SAFETY: all zeros are a valid value, and the kernel has filled it in.
        let stack = unsafe { stack.assume_init() };
        let is_elsewhere = stack.ss_flags & libc::SS_ONSTACK != 0;
        ELSEWHERE.fetch_add(i32::from(is_elsewhere), Ordering::Relaxed);
        map(
            own,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
        );
        set_errno(MARK);
        true
    }

    extern "C" fn plain(_: c_int) {
        // It is not told where: it can only mean its own.
        let own = usize::try_from(OWN.load(Ordering::Relaxed)).unwrap_or(0);
        mend(own);
    }

    extern "C" fn informed(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel, or a handler that passes on, gives what it was given.
        let info_of = unsafe { &*info };
        // SAFETY: a place for an address, whatever it means.
        let address = unsafe { info_of.si_addr() };
        if mend(address.addr()) {
            return;
        }
        PASSED.fetch_add(1, Ordering::Relaxed);
        match BEFORE.get() {
            Some(before) if before.sa_flags & libc::SA_SIGINFO != 0 => {
                type Informed = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
                // SAFETY: this address was installed as a handler of this kind.
                let next = unsafe { std::mem::transmute::<usize, Informed>(before.sa_sigaction) };
                next(signal, info, context);
            }
            // SAFETY: ends the process; nobody is there to pass it on to.
            _ => unsafe { libc::_exit(99) },
        }
    }

    fn map(address: usize, flags: c_int, fd: c_int) -> usize {
        let start = ptr::without_provenance_mut::<c_void>(address);
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: anywhere, at an address that nobody has, or over the program's own mapping.
        let there = unsafe { libc::mmap(start, 2 * page(), rights, flags, fd, 0) };
        there.addr()
    }

    fn own_mapping(argument: &str) -> u64 {
        use std::os::fd::AsRawFd;
        let file = tempfile::tempfile().unwrap();
        file.set_len(2 * page() as u64).unwrap();
        let wanted: usize = argument.parse().unwrap_or(0);
        let fixed = if wanted == 0 {
            0
        } else {
            libc::MAP_FIXED_NOREPLACE
        };
        let there = map(wanted, libc::MAP_SHARED | fixed, file.as_raw_fd());
        assert!(
            wanted == 0 || there == wanted,
            "{}",
            std::io::Error::last_os_error()
        );
        OWN.store(i64::try_from(there).unwrap(), Ordering::Relaxed);
        file.set_len(0).unwrap();
        0
    }

    /// Reads what is mapped and not there.
    fn touch() -> u64 {
        let own = usize::try_from(OWN.load(Ordering::Relaxed)).unwrap();
        let word = ptr::with_exposed_provenance::<u64>(own);
        set_errno(5);
        // SAFETY: mapped, aligned and readable; whether it is there is what is tried.
        let value = unsafe { word.read_volatile() };
        let errno = std::io::Error::last_os_error().raw_os_error();
        assert_eq!(value, 0);
        u64::try_from(errno.unwrap()).unwrap()
    }

    fn raise() -> u64 {
        // SAFETY: sends a signal to this thread.
        let outcome = unsafe { libc::raise(libc::SIGBUS) };
        assert_eq!(outcome, 0);
        0
    }

    fn first_mapping_of(path: &str) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        // The lock's page is mapped from the same file: the ring is what is longer.
        let ranges = maps.lines().filter(|line| line.ends_with(path));
        let ranges = ranges.map(|line| {
            let (range, _) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            (number(start), number(end))
        });
        let (start, _) = ranges.max_by_key(|(start, end)| end - start).unwrap();
        start
    }

    fn fork_touch(address: &str) -> u64 {
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork");
        if pid == 0 {
            own_mapping(address);
            touch();
            // SAFETY: ends the child, which has nothing to clean up.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: there is a place for the answer.
        let done = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(done, pid);
        if libc::WIFSIGNALED(status) {
            u64::try_from(libc::WTERMSIG(status)).unwrap()
        } else {
            1000
        }
    }
}
