//! The only door to atomics, fences, `membarrier` and `futex`.
//!
//! Shared words are 64 bits wide and always accessed whole. The kernel reads the low half of a wake
//! word; Rust never does.
#![expect(
    unsafe_code,
    reason = "turns pointers to shared words into atomic accesses"
)]
#![expect(
    clippy::disallowed_types,
    reason = "this is the door that the lint guards"
)]

use core::sync::atomic::{self, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex;
use rustix::thread::{MembarrierCommand, membarrier};

use crate::memory::{FenceKind, Strength};

/// A pointer that threads of this process pass on; what it points to is visible with it (label
/// `fork-page` on both sides).
#[derive(Debug)]
pub(crate) struct LocalPointer(AtomicPtr<u64>);

impl LocalPointer {
    /// Points to nothing.
    pub(crate) const fn null() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// Where it points now.
    pub(crate) fn load(&self) -> *mut u64 {
        self.0.load(Ordering::Acquire) // fork-page
    }

    /// Lets it point to `next` if it still points to `current`.
    pub(crate) fn replace(&self, current: *mut u64, next: *mut u64) -> bool {
        let (won, lost) = (Ordering::AcqRel, Ordering::Acquire); // fork-page
        self.0.compare_exchange(current, next, won, lost).is_ok()
    }
}

/// A word of this process that its threads and its signal handlers share. Never in a ring.
#[cfg(feature = "guard")]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct LocalWord(AtomicU64);

#[cfg(feature = "guard")]
impl LocalWord {
    /// A word that holds `value`.
    pub(crate) const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// What it holds; what was stored before that is visible (label `guard` on both sides).
    pub(crate) fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire) // guard
    }

    /// Lets it hold `value`.
    pub(crate) fn store(&self, value: u64) {
        self.0.store(value, Ordering::Release); // guard
    }

    /// Lets it hold `next` if it still holds `current`.
    pub(crate) fn replace(&self, current: u64, next: u64) -> bool {
        let (won, lost) = (Ordering::AcqRel, Ordering::Acquire); // guard
        self.0.compare_exchange(current, next, won, lost).is_ok()
    }
}

/// Loads the word at `word`.
///
/// # Safety
///
/// `word` is aligned to eight bytes and stays readable during the call.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the strength folds to one instruction only when inlined"
)]
pub(crate) unsafe fn load(word: *const u64, strength: Strength) -> u64 {
    // SAFETY: aligned and readable by this function's contract; memory that other processes write
    // is only ever accessed as whole 64-bit atomics. A relaxed or acquire load never writes, so a
    // read-only mapping is enough (std::sync::atomic, "Atomic accesses to read-only memory").
    let cell = unsafe { AtomicU64::from_ptr(word.cast_mut()) };
    match strength {
        Strength::Acquire => cell.load(Ordering::Acquire),
        Strength::Relaxed | Strength::Release => cell.load(Ordering::Relaxed),
    }
}

/// Stores `value` in the word at `word`.
///
/// # Safety
///
/// `word` is aligned to eight bytes and stays writable during the call.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the strength folds to one instruction only when inlined"
)]
pub(crate) unsafe fn store(word: *mut u64, value: u64, strength: Strength) {
    // SAFETY: aligned and writable by this function's contract; memory that other processes read
    // is only ever accessed as whole 64-bit atomics.
    let cell = unsafe { AtomicU64::from_ptr(word) };
    match strength {
        Strength::Release => cell.store(value, Ordering::Release),
        Strength::Relaxed | Strength::Acquire => cell.store(value, Ordering::Relaxed),
    }
}

/// Adds one to the word at `word`, beside another thread that may do the same.
///
/// # Safety
///
/// `word` is aligned to eight bytes and stays writable during the call.
pub(crate) unsafe fn increment(word: *mut u64) {
    // SAFETY: aligned and writable by this function's contract; memory that other processes read
    // is only ever accessed as whole 64-bit atomics.
    let cell = unsafe { AtomicU64::from_ptr(word) };
    cell.fetch_add(1, Ordering::Release);
}

/// Issues a fence of this kind.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a light fence must cost nothing")]
pub(crate) fn fence(kind: FenceKind) {
    match kind {
        FenceKind::Acquire => atomic::fence(Ordering::Acquire),
        FenceKind::Release => atomic::fence(Ordering::Release),
        FenceKind::Light => atomic::compiler_fence(Ordering::SeqCst),
        FenceKind::Full => atomic::fence(Ordering::SeqCst),
    }
}

/// Lets sleepers of any process interrupt this one with a barrier. `false` when the kernel or a
/// seccomp filter refuses; publishing must then fence for itself.
pub(crate) fn register_for_barriers() -> bool {
    membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
}

/// Makes every running thread of every registered process pass a full barrier. `false` when the
/// kernel or a seccomp filter refuses.
pub(crate) fn barrier_everywhere() -> bool {
    membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}

/// How a sleep on a word ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slept {
    /// Woken, interrupted, or not even begun: look again.
    Stirred,
    /// The time is over, and nobody called.
    Through,
    /// The word is not there: a truncated file lost its page, or it can not be read.
    Nowhere,
}

/// Sleeps until the low half of the word at `word` differs from `seen`, a wake comes, a signal
/// comes, or `limit` has passed. May return early for no reason: look again.
///
/// # Safety
///
/// `word` is aligned to eight bytes and stays readable during the call.
pub(crate) unsafe fn futex_wait(word: *const u64, seen: u32, limit: Duration) -> Slept {
    // SAFETY: aligned and readable by this function's contract. The reference is only passed to
    // the kernel, which reads four bytes: on this little-endian machine the low half.
    let cell = unsafe { AtomicU32::from_ptr(word.cast_mut().cast()) };
    let limit = futex::Timespec::try_from(limit).ok();
    match futex::wait(cell, futex::Flags::empty(), seen, limit.as_ref()) {
        Err(Errno::TIMEDOUT) => Slept::Through,
        Err(Errno::FAULT) => Slept::Nowhere,
        _ => Slept::Stirred,
    }
}

/// Observers may sleep on a wake word too, and must not take the wake from whom it is meant for.
const EVERYBODY: u32 = 0x7fff_ffff;

/// Wakes whoever sleeps on the word at `word`, in any process.
///
/// # Safety
///
/// `word` is aligned to eight bytes and stays readable during the call.
pub(crate) unsafe fn futex_wake(word: *const u64) {
    // SAFETY: as in `futex_wait`; the kernel only uses the address.
    let cell = unsafe { AtomicU32::from_ptr(word.cast_mut().cast()) };
    // An error here means that the page is gone under a truncated file: nobody can sleep on it, and
    // a sleeper looks again by itself in any case.
    let _woken: Result<usize, Errno> = futex::wake(cell, futex::Flags::empty(), EVERYBODY);
}

/// Words that a test owns instead of mapping them: what the model is made of. Under loom they are
/// loom's, which explores every order that the orderings allow.
#[cfg(test)]
pub(crate) mod owned {
    #[cfg(not(loom))]
    use core::sync::atomic::{AtomicU64, Ordering, fence as issue};
    #[cfg(loom)]
    use loom::sync::atomic::{AtomicU64, Ordering, fence as issue};

    use crate::memory::{FenceKind, Strength};

    /// One shared word.
    #[derive(Debug)]
    pub(crate) struct Cell(AtomicU64);

    impl Cell {
        /// A word that holds `value`.
        pub(crate) fn new(value: u64) -> Self {
            Self(AtomicU64::new(value))
        }

        /// As [`super::load`].
        pub(crate) fn load(&self, strength: Strength) -> u64 {
            self.0.load(match strength {
                Strength::Acquire => Ordering::Acquire,
                Strength::Relaxed | Strength::Release => Ordering::Relaxed,
            })
        }

        /// As [`super::store`].
        pub(crate) fn store(&self, value: u64, strength: Strength) {
            let ordering = match strength {
                Strength::Release => Ordering::Release,
                Strength::Relaxed | Strength::Acquire => Ordering::Relaxed,
            };
            self.0.store(value, ordering);
        }

        /// As [`super::increment`].
        pub(crate) fn increment(&self, strength: Strength) {
            let ordering = match strength {
                Strength::Release => Ordering::Release,
                Strength::Relaxed | Strength::Acquire => Ordering::Relaxed,
            };
            self.0.fetch_add(1, ordering);
        }

        /// The value that was stored last, as the kernel sees it when it compares a futex word. It
        /// orders nothing.
        #[cfg(loom)]
        pub(crate) fn latest(&self) -> u64 {
            self.0.fetch_add(0, Ordering::Relaxed)
        }
    }

    /// As [`super::fence`].
    pub(crate) fn fence(kind: FenceKind) {
        match kind {
            FenceKind::Acquire => issue(Ordering::Acquire),
            FenceKind::Release => issue(Ordering::Release),
            FenceKind::Light => {}
            FenceKind::Full => issue(Ordering::SeqCst),
        }
    }
}
