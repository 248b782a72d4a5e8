//! Knowing, without a system call, that this process is not the one that made a handle.
//!
//! One page for each process holds the number one and is wiped by the kernel in every forked
//! child. A token is the address of that page. In a child, tokens from before the fork read zero
//! for ever, because the child gets a page of its own and never writes to an inherited one. A
//! child that shares its parent's memory (`vfork`) shares the mappings too, and counts as the owner.
#![expect(
    unsafe_code,
    reason = "maps the page, marks it and reads it through its address"
)]

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;
use std::io;

use memmap2::{MmapOptions, MmapRaw};

use crate::memory::Strength;
use crate::sync::{self, LocalPointer};

/// The page of the process that made one last: of this one, or of an ancestor.
///
static CURRENT: LocalPointer = LocalPointer::null();

/// What the page of a living owner holds; zero is what the kernel leaves in a child.
pub(crate) const ALIVE: u64 = 1;

/// Says whether the process that made it is the one that asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForkToken {
    /// Points into a page, or a constant, that stays as long as the process.
    word: NonNull<u64>,
}

// SAFETY: the page behind the address lives as long as the process and is only read once its
// address has been published, so any thread may read it at any time.
unsafe impl Send for ForkToken {}
// SAFETY: as above; a shared token offers nothing but that read.
unsafe impl Sync for ForkToken {}

impl ForkToken {
    /// The token of this process. The first call in a process maps a page; later ones only look.
    pub(crate) fn get() -> io::Result<Self> {
        loop {
            let current = CURRENT.load();
            if let Some(word) = NonNull::new(current) {
                let token = Self { word };
                if token.is_owner() {
                    return Ok(token);
                }
            }
            let (page, word) = wiped_on_fork()?;
            if CURRENT.replace(current, word.as_ptr()) {
                // Tokens point into the page from now on: it stays as long as the process.
                let _forever = ManuallyDrop::new(page);
                return Ok(Self { word });
            }
            // Another thread was faster; our page was never seen and goes away with `page`.
        }
    }

    /// A token over a word of a page from [`wiped_on_fork`] that is never unmapped. It is alive while
    /// the word is [`ALIVE`]: never in a child.
    #[cfg(feature = "guard")]
    pub(crate) fn over(word: &'static sync::LocalWord) -> Self {
        Self {
            word: NonNull::from(word).cast(),
        }
    }

    /// A token that no process owns: for an end that must not be used any more.
    pub(crate) fn nobodys() -> Self {
        static NOBODY: u64 = 0;
        Self {
            word: NonNull::from(&NOBODY),
        }
    }

    /// Whether this is still the process that made the token: one load.
    #[inline]
    pub(crate) fn is_owner(self) -> bool {
        // SAFETY: `word` is aligned and lies in a page that is mapped readable as long as the
        // process, in a child too, where it is zero. Whoever else writes to it stores whole words.
        let word = unsafe { sync::load(self.word.as_ptr(), Strength::Relaxed) };
        word == ALIVE
    }
}

/// A fresh page that says "alive" here and nothing in any child.
pub(crate) fn wiped_on_fork() -> io::Result<(MmapRaw, NonNull<u64>)> {
    let page_bytes = rustix::param::page_size();
    let page = MmapRaw::from(MmapOptions::new().len(page_bytes).map_anon()?);
    let start: *mut c_void = page.as_mut_ptr().cast();
    // SAFETY: the range is exactly the mapping made above, private and anonymous as this advice
    // wants it, and nobody else knows its address.
    unsafe {
        rustix::mm::madvise(
            start.cast(),
            page_bytes,
            rustix::mm::Advice::LinuxWipeOnFork,
        )?;
    }
    let word = NonNull::new(start.cast::<u64>()).ok_or(io::ErrorKind::OutOfMemory)?;
    // SAFETY: a mapping is page-aligned and at least a page long, it is writable, and no other
    // thread knows of it yet.
    unsafe { word.as_ptr().write_volatile(ALIVE) };
    Ok((page, word))
}

/// A mapping that is not inherited by `fork` and is therefore left alone in a child: there its
/// addresses are free, and may meanwhile belong to something else.
#[derive(Debug)]
pub(crate) struct OwnMapping {
    map: ManuallyDrop<MmapRaw>,
    token: ForkToken,
}

impl OwnMapping {
    /// Takes over `map`, which the process of `token` made and marked as not inherited.
    pub(crate) fn new(map: MmapRaw, token: ForkToken) -> Self {
        Self {
            map: ManuallyDrop::new(map),
            token,
        }
    }

    /// The token of the process that has the mapping.
    pub(crate) fn token(&self) -> ForkToken {
        self.token
    }
}

impl Deref for OwnMapping {
    type Target = MmapRaw;

    fn deref(&self) -> &MmapRaw {
        &self.map
    }
}

impl Drop for OwnMapping {
    fn drop(&mut self) {
        if self.token.is_owner() {
            // SAFETY: this is the only place that drops `map`, and a value is dropped once.
            unsafe { ManuallyDrop::drop(&mut self.map) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alone, in_child};

    /// Goal: every call in one process gives the same token, from any thread.
    #[test]
    fn one_token_for_a_process() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| ForkToken::get().unwrap()))
            .collect();
        let here = ForkToken::get().unwrap();
        assert!(here.is_owner());
        for thread in threads {
            assert_eq!(thread.join().unwrap().word, here.word);
        }
    }

    /// Goal: in a child, and in its child, inherited tokens are dead and new ones live, even after
    /// new ones were made; the parent's stays alive. Method: fork twice, one bit per finding.
    #[test]
    fn tokens_die_in_children() {
        let _alone = alone();
        let parent = ForkToken::get().unwrap();
        let code = in_child(|| {
            let dead = !parent.is_owner();
            let Ok(child) = ForkToken::get() else {
                return 64;
            };
            let grandchild_code = in_child(|| {
                let before = !parent.is_owner() && !child.is_owner();
                let Ok(own) = ForkToken::get() else { return 64 };
                let after = own.is_owner() && !parent.is_owner() && !child.is_owner();
                i32::from(before) | i32::from(after) << 1
            });
            let alive = child.is_owner() && !parent.is_owner();
            i32::from(dead) | i32::from(alive) << 1 | grandchild_code << 2
        });
        assert_eq!(code, 0b1111);
        assert!(parent.is_owner());
    }

    /// Goal: a mapping that a child inherited the handle of is not unmapped there. Method: the
    /// child maps something else at the very address, drops the handle, and still reads its own.
    #[test]
    fn a_child_unmaps_nothing() {
        let _alone = alone();
        let map = MmapRaw::from(MmapOptions::new().len(4096).map_anon().unwrap());
        map.advise(memmap2::Advice::DontFork).unwrap();
        let own = OwnMapping::new(map, ForkToken::get().unwrap());
        let mut slot = Some(own);
        let code = in_child(move || {
            let Some(own) = slot.take() else { return 1 };
            let address = own.as_mut_ptr();
            // SAFETY: the parent's mapping is not inherited, so nothing is at this address, and
            // the flag makes the kernel refuse if something were.
            let mapped = unsafe {
                rustix::mm::mmap_anonymous(
                    address.cast(),
                    4096,
                    rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                    rustix::mm::MapFlags::PRIVATE | rustix::mm::MapFlags::FIXED_NOREPLACE,
                )
            };
            if mapped.is_err() {
                return 2;
            }
            drop(own);
            // SAFETY: the page was mapped readable and writable just above.
            unsafe { address.write_volatile(7) };
            0
        });
        assert_eq!(code, 0);
    }
}
