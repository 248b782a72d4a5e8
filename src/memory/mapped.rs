//! The carrier over real mappings: the only file that touches bytes a peer can see.
//!
//! Why the unsafe code here is sound, once for all of it:
//!
//! - The pointers come from a [`Mapping`] that this value keeps alive; they stay mapped for as long
//!   as it lives. (In a forked child they are not: the ends check their token before every use.)
//! - A word's offset is a multiple of eight below 1,024 by its type, and a page has at least 4,096
//!   bytes. A data position is taken modulo the capacity, a power of two, so it lies in the data
//!   area; the area is mapped a second time behind itself, so up to `capacity` bytes that start
//!   anywhere in it are mapped.
//! - Other processes may read and write all of it at any time. So every access is either an atomic
//!   of 64 bits, always the same width, or an opaque copy in assembly that the compiler cannot
//!   reason about; the latter is told as a row of relaxed one-byte accesses.
//! - The protocol above stores only to pages that its role maps writable. Should it not, the
//!   kernel ends the process: a fault, never a silent write.
#![expect(
    unsafe_code,
    reason = "raw pointers into memory that another process writes"
)]

use core::time::Duration;
use std::sync::Arc;

use super::{Fence, Memory, Order, Strength};
use crate::layout::{HEADER_READ_BYTES, Page, Role, Word};
use crate::region::Mapping;
use crate::sync;

/// From this many bytes on, a copy goes through the C library's wide copy: below it a row of
/// 8-byte atomics costs the same or less.
#[cfg(all(target_arch = "x86_64", not(ringduct_portable_copy)))]
const WIDE_COPY_BYTES: usize = 256;

/// A role's pages and the data, ready to be touched.
#[derive(Clone, Debug)]
pub(crate) struct Mapped {
    producer: *mut u8,
    consumer: *mut u8,
    data: *mut u8,
    /// The capacity less one: takes a position to its offset.
    mask: u64,
    /// The same for the word at or before a position.
    word_mask: u64,
    mapping: Arc<Mapping>,
}

// SAFETY: the pointers lead into a shared mapping that is not bound to a thread, kept alive by
// `mapping`; all accesses are atomic or opaque copies, so threads may not race in Rust's sense.
unsafe impl Send for Mapped {}

impl Mapped {
    /// Takes the addresses from a mapping.
    pub(crate) fn new(mapping: Arc<Mapping>) -> Self {
        let mask = mapping.shape().capacity_bytes().wrapping_sub(1);
        Self {
            producer: mapping.page(Page::Producer),
            consumer: mapping.page(Page::Consumer),
            data: mapping.data(),
            mask,
            word_mask: mask & !7,
            mapping,
        }
    }

    /// The mapping underneath.
    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Address of a word of a role's page.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "role and offset are constants at every call"
    )]
    pub(crate) fn word(&self, word: Word) -> *mut u64 {
        let page = match word.role {
            Role::Producer => self.producer,
            Role::Consumer => self.consumer,
        };
        let offset = usize::from(word.offset.bytes());
        // SAFETY: the offset is below 1,024 and the page has at least 4,096 bytes.
        unsafe { page.add(offset) }.cast()
    }

    /// Address of the data byte at a position; `capacity_bytes` are mapped from there on.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "two instructions")]
    pub(crate) fn data(&self, position: u64) -> *mut u8 {
        let offset = position & self.mask;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "usize has 64 bits, see lib.rs"
        )]
        let offset = offset as usize;
        // SAFETY: the offset is below the capacity, so the address is inside the first mapping.
        unsafe { self.data.add(offset) }
    }

    /// Address of the data word at a position that is a multiple of eight.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "three instructions")]
    fn data_word(&self, position: u64) -> *mut u64 {
        self.data(position & self.word_mask).cast()
    }

    /// Sleeps on a word of a role's page: see [`sync::futex_wait`].
    pub(crate) fn futex_wait(&self, word: Word, seen: u32, limit: Duration) {
        // SAFETY: `word` gives an aligned address inside a page that every role can read.
        unsafe { sync::futex_wait(self.word(word), seen, limit) };
    }

    /// Wakes the sleeper on a word of a role's page.
    pub(crate) fn futex_wake(&self, word: Word) {
        // SAFETY: `word` gives an aligned address inside a page that every role can read.
        unsafe { sync::futex_wake(self.word(word)) };
    }

    /// Whether a copy of so many bytes stays inside what is mapped. The protocol never asks for
    /// more; a slip in it must not become an access outside.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one comparison")]
    fn fits(&self, bytes: usize) -> bool {
        debug_assert!((bytes as u64) <= self.mask, "a copy fits the ring");
        (bytes as u64) <= self.mask
    }
}

/// Writes the identity page of a ring that nobody else uses yet: the first word, the magic, last,
/// with everything before it ("magic"; its reader checks the header's checksum).
pub(crate) fn store_identity(mapping: &Mapping, words: &[u64; HEADER_READ_BYTES / 8]) {
    let start: *mut u64 = mapping.page(Page::Identity).cast();
    for (index, word) in words.iter().enumerate().rev() {
        // SAFETY: the header has 32 words, the page at least 512; a creator maps it writable.
        let to = unsafe { start.add(index) };
        // SAFETY: as above; aligned, since the page is.
        unsafe { sync::store(to, *word, Strength::Release) };
    }
}

#[expect(
    clippy::inline_always,
    reason = "one instruction each, or a copy whose length may be known"
)]
impl Memory for Mapped {
    #[inline(always)]
    fn load(&self, word: Word, order: Order) -> u64 {
        // SAFETY: `word` gives an aligned address inside a page that every role can read.
        unsafe { sync::load(self.word(word), order.strength) }
    }

    #[inline(always)]
    fn store(&self, word: Word, value: u64, order: Order) {
        // SAFETY: `word` gives an aligned address inside a page; a role stores to its own only.
        unsafe { sync::store(self.word(word), value, order.strength) }
    }

    #[inline(always)]
    fn load_data(&self, position: u64, order: Order) -> u64 {
        // SAFETY: `data_word` gives an aligned address inside the data, readable by every role.
        unsafe { sync::load(self.data_word(position), order.strength) }
    }

    #[inline(always)]
    fn store_data(&self, position: u64, value: u64, order: Order) {
        // SAFETY: `data_word` gives an aligned address inside the data; only a producer stores.
        unsafe { sync::store(self.data_word(position), value, order.strength) }
    }

    #[inline(always)]
    fn copy_in(&self, position: u64, bytes: &[u8]) {
        let length = bytes.len();
        if !self.fits(length) {
            return;
        }
        let mut to = self.data_word(position);
        let mut rest = bytes;
        #[cfg(all(target_arch = "x86_64", not(ringduct_portable_copy)))]
        if length >= WIDE_COPY_BYTES {
            let (whole, tail) = bytes.split_at(length & !7);
            // SAFETY: `whole` is at most the capacity long, and so many bytes are mapped at `to`;
            // it is a caller's slice, which cannot overlap the mapping.
            unsafe { wide_copy(to.cast(), whole.as_ptr(), whole.len()) };
            // SAFETY: one past the last byte copied is still inside or at the end of the mapping.
            to = unsafe { to.add(whole.len() / 8) };
            rest = tail;
        }
        let chunks = rest.chunks_exact(8);
        let tail = chunks.remainder();
        for chunk in chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            // SAFETY: `to` is aligned and at least eight bytes of the copied range lie ahead of it.
            unsafe { sync::store(to, u64::from_le_bytes(word), Strength::Relaxed) };
            // SAFETY: as above: the next word starts inside or at the end of the copied range.
            to = unsafe { to.add(1) };
        }
        if !tail.is_empty() {
            let mut word = [0; 8];
            for (out, byte) in word.iter_mut().zip(tail) {
                *out = *byte;
            }
            // SAFETY: the range, rounded up to eight bytes, is at most the capacity, itself a
            // multiple of eight; so this word is mapped.
            unsafe { sync::store(to, u64::from_le_bytes(word), Strength::Relaxed) };
        }
    }

    #[inline(always)]
    fn copy_out(&self, position: u64, out: &mut [u8]) {
        let length = out.len();
        if !self.fits(length) {
            return;
        }
        let mut from = self.data_word(position).cast_const();
        let mut rest = out;
        #[cfg(all(target_arch = "x86_64", not(ringduct_portable_copy)))]
        if length >= WIDE_COPY_BYTES {
            let (whole, tail) = rest.split_at_mut(length & !7);
            // SAFETY: `whole` is at most the capacity long, and so many bytes are mapped at
            // `from`; it is a caller's slice, which cannot overlap the mapping.
            unsafe { wide_copy(whole.as_mut_ptr(), from.cast(), whole.len()) };
            // SAFETY: one past the last byte copied is still inside or at the end of the mapping.
            from = unsafe { from.add(whole.len() / 8) };
            rest = tail;
        }
        let mut chunks = rest.chunks_exact_mut(8);
        for chunk in &mut chunks {
            // SAFETY: `from` is aligned and at least eight bytes of the range lie ahead of it.
            let word = unsafe { sync::load(from, Strength::Relaxed) };
            chunk.copy_from_slice(&word.to_le_bytes());
            // SAFETY: as above: the next word starts inside or at the end of the range.
            from = unsafe { from.add(1) };
        }
        let tail = chunks.into_remainder();
        if !tail.is_empty() {
            // SAFETY: the range, rounded up to eight bytes, is at most the capacity: mapped.
            let word = unsafe { sync::load(from, Strength::Relaxed) };
            for (out, byte) in tail.iter_mut().zip(word.to_le_bytes()) {
                *out = byte;
            }
        }
    }

    #[inline(always)]
    fn fence(&self, fence: Fence) {
        sync::fence(fence.kind);
    }
}

/// The C library's `memcpy`, called from assembly so that the compiler neither sees what it does
/// nor assumes that nobody else writes the bytes meanwhile. It keeps many cache lines in flight,
/// which a loop of 8-byte atomics does not.
///
/// # Safety
///
/// `bytes` bytes are readable at `from` and writable at `to` during the call, and do not overlap.
#[cfg(all(target_arch = "x86_64", not(ringduct_portable_copy)))]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "only moves three registers into place"
)]
unsafe fn wide_copy(to: *mut u8, from: *const u8, bytes: usize) {
    // SAFETY: the C library's function reads and writes exactly the ranges that this function's
    // contract grants, follows the C calling convention, whose clobbers are declared, and finds an
    // aligned stack, since `nostack` is not given.
    unsafe {
        core::arch::asm!(
            "call {copy}",
            copy = sym libc::memcpy,
            inout("rdi") to => _,
            inout("rsi") from => _,
            inout("rdx") bytes => _,
            clobber_abi("C"),
        );
    }
}
