//! The handler: whose fault is it, and who is next.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use std::io;
use std::sync::OnceLock;

use super::table::{self, Hit};
use crate::sync::LocalWord;

/// What the kernel calls an address behind which nothing is to be had. libc has no names for these.
const BUS_ADRERR: c_int = 2;
/// The same, of hardware.
const BUS_OBJERR: c_int = 3;
/// Memory that has gone bad, met by an access.
const BUS_MCEERR_AR: c_int = 4;
/// Memory that has gone bad, and nobody has met it yet.
const BUS_MCEERR_AO: c_int = 5;

/// What was there before. Filled before the handler is installed, so the handler always finds it.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// One once the handler is installed.
static INSTALLED: LocalWord = LocalWord::new(0);

/// One once the handler before has used up its only turn.
static SPENT: LocalWord = LocalWord::new(0);

pub(super) fn is_installed() -> bool {
    INSTALLED.load() != 0
}

pub(super) fn install() -> io::Result<()> {
    if is_installed() {
        return Ok(());
    }
    // Of two threads that come here together both do the same.
    let now = swap(None)?;
    let previous = PREVIOUS.get_or_init(|| now);
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault;
    let mut ours = *previous;
    ours.sa_sigaction = handler as *const () as usize;
    // The mask stays what the handler before wants, and whether it may be met by itself.
    ours.sa_flags = (previous.sa_flags & libc::SA_NODEFER)
        | libc::SA_SIGINFO
        | libc::SA_ONSTACK
        | libc::SA_RESTART;
    swap(Some(&ours))?;
    INSTALLED.store(1);
    Ok(())
}

/// Sets what is done with SIGBUS, if anything is given, and returns what was before.
fn swap(next: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let next = next.map_or(ptr::null(), ptr::from_ref);
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `next` is null or a valid struct whose handler may be called at any time in any
    // thread; `before` is a place for the answer.
    let outcome = unsafe { libc::sigaction(libc::SIGBUS, next, before.as_mut_ptr()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeros are a valid value, and the kernel has filled it in.
    Ok(unsafe { before.assume_init() })
}

/// Called by the kernel, or by a handler that was installed later.
extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the C library gives each thread such a place.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it is this thread's, and valid as long as the thread.
    let before = unsafe { *errno };
    if !is_answered(info) {
        pass_on(signal, info, context);
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Deals with a fault in a guarded range: says so there, and puts empty memory in its place.
fn is_answered(info: *mut libc::siginfo_t) -> bool {
    let Some(address) = fault_address(info) else {
        return false;
    };
    let Some(hit) = table::find(address) else {
        return false;
    };
    hit.note(address);
    replace(&hit, address)
}

/// Where an access found no memory: not what was sent by somebody, nor an address that is not
/// aligned, nor what no access has met.
fn fault_address(info: *mut libc::siginfo_t) -> Option<u64> {
    // SAFETY: whoever calls a handler of this kind gives it what the kernel said.
    let info = unsafe { info.as_ref() }?;
    match info.si_code {
        BUS_ADRERR | BUS_OBJERR | BUS_MCEERR_AR => {
            // SAFETY: for these codes the kernel gives an address.
            let address = unsafe { info.si_addr() };
            Some(address.addr() as u64)
        }
        _ => None,
    }
}

/// All of the range, since nothing in it is to be believed any more; where the kernel does not give
/// so much, the page that was missing.
fn replace(hit: &Hit, address: u64) -> bool {
    let page = address & hit.unit.wrapping_neg(); // a power of two
    map_empty(hit.start, hit.end.wrapping_sub(hit.start)) || map_empty(page, hit.unit)
}

fn map_empty(start: u64, length: u64) -> bool {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "usize has 64 bits, see lib.rs"
    )]
    let (start, length) = (start as usize, length as usize);
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let start = ptr::without_provenance_mut::<c_void>(start);
    // SAFETY: whole pages of a range that a ring is mapped in, by the table; who met the fault uses
    // it, so it is not being unmapped. What is accessed there is memory that others may change at
    // any time, so its becoming other memory breaks nothing that was relied on.
    let there = unsafe { libc::mmap(start, length, rights, flags, -1, 0) };
    there == start
}

/// Not ours: does what was done before.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(previous) = PREVIOUS.get() else {
        return;
    };
    let is_once = previous.sa_flags & libc::SA_RESETHAND != 0;
    let is_spent = is_once && !SPENT.replace(0, 1);
    match previous.sa_sigaction {
        libc::SIG_DFL => by_default(signal, info),
        _ if is_spent => by_default(signal, info),
        libc::SIG_IGN => ignore(signal, info),
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
            // SAFETY: somebody installed this address as a handler of this kind.
            let handler = unsafe { core::mem::transmute::<usize, Handler>(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: somebody installed this address as a handler of the plain kind.
            let handler = unsafe { core::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
            handler(signal);
        }
    }
}

/// Whether an access met a fault, which it will meet again, rather than somebody sent a signal.
fn is_fault(info: *mut libc::siginfo_t) -> bool {
    // SAFETY: as in `fault_address`.
    let info = unsafe { info.as_ref() };
    info.is_some_and(|info| info.si_code > 0 && info.si_code != BUS_MCEERR_AO)
}

/// What the kernel does without a handler: the process ends, at the very place of the fault.
fn by_default(signal: c_int, info: *mut libc::siginfo_t) {
    let mut default = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeros are a valid value: the default action, no flags, an empty mask.
    let default = unsafe { default.assume_init_mut() };
    // It can not fail, and there would be nothing else to do.
    let _before = swap(Some(default));
    if !is_fault(info) {
        // Nothing would raise it again. It is delivered when this handler returns.
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(signal) };
    }
}

/// A fault can not be ignored: the kernel ends a process that asks for that.
fn ignore(signal: c_int, info: *mut libc::siginfo_t) {
    if is_fault(info) {
        by_default(signal, info);
    }
}
