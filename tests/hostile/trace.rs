//! A process that is run instruction by instruction, watched, and put back to where it was.
#![expect(unsafe_code, reason = "these calls exist only in libc")]

use std::fs;
use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::process::Child;
use std::ptr;

use libc::{c_uint, c_void, iovec, pid_t};

/// How a traced process came to a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// After a single step, or at a watchpoint.
    Trap,
    /// By itself: what it was to do is done.
    Done,
    /// A signal came that is none of these tests': a crash.
    Crash(i32),
    /// It is gone.
    Ended(i32),
}

/// A child that is traced by this thread.
#[derive(Debug)]
pub(crate) struct Traced {
    child: Child,
    pid: pid_t,
}

/// Where a process was: registers and its private memory.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    general: libc::user_regs_struct,
    extended: Vec<u8>,
    memory: Vec<(usize, Vec<u8>)>,
}

/// Bytes below the stack pointer that are in use all the same.
const RED_ZONE: usize = 128;

/// Bytes that hold every extended register of today's processors.
const XSTATE_BYTES: usize = 16384;
const NT_X86_XSTATE: usize = 0x202;

impl Traced {
    /// Waits for the first stop of a child that lets itself be traced.
    pub(crate) fn new(child: Child) -> Self {
        let pid = pid_t::try_from(child.id()).unwrap();
        let traced = Self { child, pid };
        assert_eq!(traced.wait(), Stop::Done);
        traced
    }

    pub(crate) const fn pid(&self) -> pid_t {
        self.pid
    }

    fn request(&self, request: c_uint, address: usize, data: *mut c_void) {
        // SAFETY: the child is stopped and traced by this thread; `data` is what the request takes.
        let outcome = unsafe { libc::ptrace(request, self.pid, address, data) };
        assert!(outcome >= 0, "{request}: {}", io::Error::last_os_error());
    }

    fn wait(&self) -> Stop {
        let mut status = 0;
        // SAFETY: the status is this function's own.
        let ended = unsafe { libc::waitpid(self.pid, &raw mut status, libc::WUNTRACED) };
        assert_eq!(ended, self.pid, "{}", io::Error::last_os_error());
        if !libc::WIFSTOPPED(status) {
            return Stop::Ended(status);
        }
        match libc::WSTOPSIG(status) {
            libc::SIGTRAP => Stop::Trap,
            libc::SIGSTOP => Stop::Done,
            signal => Stop::Crash(signal),
        }
    }

    /// One instruction.
    pub(crate) fn step(&self) -> Stop {
        self.request(libc::PTRACE_SINGLESTEP, 0, ptr::null_mut());
        self.wait()
    }

    /// On to the next stop, whatever it is.
    pub(crate) fn go_on(&self) -> Stop {
        self.request(libc::PTRACE_CONT, 0, ptr::null_mut());
        self.wait()
    }

    /// On to where a system call begins or ends.
    pub(crate) fn next_call(&self) -> Stop {
        self.request(libc::PTRACE_SYSCALL, 0, ptr::null_mut());
        self.wait()
    }

    /// Where it is now.
    pub(crate) fn moment(&self) -> Moment {
        let mut general = MaybeUninit::<libc::user_regs_struct>::zeroed();
        self.request(libc::PTRACE_GETREGS, 0, general.as_mut_ptr().cast());
        // SAFETY: the kernel has filled it, and all bit patterns are registers.
        let general = unsafe { general.assume_init() };
        let mut extended = vec![0; XSTATE_BYTES];
        let mut vector = iovec {
            iov_base: extended.as_mut_ptr().cast(),
            iov_len: extended.len(),
        };
        let data = (&raw mut vector).cast();
        self.request(libc::PTRACE_GETREGSET, NT_X86_XSTATE, data);
        extended.truncate(vector.iov_len);
        let stack = usize::try_from(general.rsp).unwrap();
        let mut memory: Vec<(usize, Vec<u8>)> = self
            .private_ranges(stack)
            .into_iter()
            .map(|(start, length)| (start, vec![0; length]))
            .collect();
        self.transfer(&mut memory, false);
        Moment {
            general,
            extended,
            memory,
        }
    }

    /// Puts it back to where it was.
    pub(crate) fn go_back(&self, moment: &mut Moment) {
        let general = (&raw mut moment.general).cast();
        self.request(libc::PTRACE_SETREGS, 0, general);
        let mut vector = iovec {
            iov_base: moment.extended.as_mut_ptr().cast(),
            iov_len: moment.extended.len(),
        };
        let data = (&raw mut vector).cast();
        self.request(libc::PTRACE_SETREGSET, NT_X86_XSTATE, data);
        self.transfer(&mut moment.memory, true);
    }

    /// Private memory that can change; of the stack only what is in use.
    fn private_ranges(&self, stack: usize) -> Vec<(usize, usize)> {
        let mut ranges = Vec::new();
        for map in maps(self.pid) {
            if map.rights != "rw-p" {
                continue;
            }
            let start = if (map.start..map.end).contains(&stack) {
                stack - RED_ZONE
            } else {
                map.start
            };
            ranges.push((start, map.end - start));
        }
        ranges
    }

    fn transfer(&self, memory: &mut [(usize, Vec<u8>)], back: bool) {
        let mut here = Vec::new();
        let mut there = Vec::new();
        let mut length = 0;
        for (start, bytes) in memory {
            length += bytes.len();
            here.push(iovec {
                iov_base: bytes.as_mut_ptr().cast(),
                iov_len: bytes.len(),
            });
            there.push(iovec {
                iov_base: ptr::with_exposed_provenance_mut(*start),
                iov_len: bytes.len(),
            });
        }
        let count = u64::try_from(here.len()).unwrap();
        let (here, there) = (here.as_ptr(), there.as_ptr());
        let moved = if back {
            // SAFETY: the vectors describe buffers of this process and addresses of the other one.
            unsafe { libc::process_vm_writev(self.pid, here, count, there, count, 0) }
        } else {
            // SAFETY: as above.
            unsafe { libc::process_vm_readv(self.pid, here, count, there, count, 0) }
        };
        assert_eq!(usize::try_from(moved).unwrap_or(0), length, "memory moved");
    }

    /// Stops after each access to any of at most four words, or each store to one.
    pub(crate) fn watch(&self, words: &[usize], stores_only: bool) {
        assert!(words.len() <= 4);
        self.set_debug_register(7, 0);
        let (kind, length) = (if stores_only { 1 } else { 3 }, 2);
        let mut control = 0;
        for (index, word) in words.iter().enumerate() {
            self.set_debug_register(index, *word);
            control |= 1 << (2 * index);
            control |= (kind | length << 2) << (16 + 4 * index);
        }
        self.set_debug_register(6, 0);
        self.set_debug_register(7, control);
    }

    /// Which of the watched words the last stop is about.
    pub(crate) fn watched(&self) -> [bool; 4] {
        let offset = debug_register(6);
        // SAFETY: the child is stopped and traced by this thread; the answer is the return value.
        let hits = unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, self.pid, offset, 0) };
        self.set_debug_register(6, 0);
        [0, 1, 2, 3].map(|index| hits & (1 << index) != 0)
    }

    fn set_debug_register(&self, index: usize, value: usize) {
        let data = ptr::without_provenance_mut(value);
        self.request(libc::PTRACE_POKEUSER, debug_register(index), data);
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

const fn debug_register(index: usize) -> usize {
    offset_of!(libc::user, u_debugreg) + 8 * index
}

/// Lets the parent trace this process, and stops until it does.
pub(crate) fn stop_traced() {
    // SAFETY: this request takes no address.
    let outcome = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    assert_eq!(outcome, 0, "{}", io::Error::last_os_error());
    stop();
}

/// Stops this process.
pub(crate) fn stop() {
    let me = rustix::process::getpid();
    rustix::process::kill_process(me, rustix::process::Signal::STOP).unwrap();
}

/// A line of a process's memory map.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) rights: String,
    pub(crate) offset: usize,
    pub(crate) path: String,
}

/// The memory map of a process.
pub(crate) fn maps(pid: pid_t) -> Vec<Map> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let hex = |digits: &str| usize::from_str_radix(digits, 16).unwrap();
    let mut maps = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next().unwrap().split_once('-').unwrap();
        let rights = words.next().unwrap().to_owned();
        let offset = hex(words.next().unwrap());
        let path = words.nth(2).unwrap_or_default().to_owned();
        maps.push(Map {
            start: hex(start),
            end: hex(end),
            rights,
            offset,
            path,
        });
    }
    maps
}

/// Where a process has mapped the first byte of a ring, if it has.
pub(crate) fn find_base(pid: pid_t, path: &str) -> Option<usize> {
    let covers_page_one = |map: &Map| {
        let pages = map.offset..map.offset + (map.end - map.start);
        map.path == path && pages.contains(&crate::raw::PAGE)
    };
    let found = maps(pid).into_iter().find(covers_page_one)?;
    Some(found.start - found.offset)
}

/// The same of one that has.
pub(crate) fn base_of(pid: pid_t, path: &str) -> usize {
    find_base(pid, path).expect("the ring is mapped")
}
