//! The carrier over real mappings: with `copy`, the only file that touches bytes a peer can see.
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

use core::ops::RangeInclusive;
use core::time::Duration;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::Arc;

use super::{
    DurableMemory, Extent, Fence, LINE_BYTES, Memory, Order, Place, Strength, SyncFault, copy,
};
#[cfg(feature = "guard")]
use crate::fork::ForkToken;
use crate::layout::{
    EMPTY, HEADER_READ_BYTES, MIN_UNIT_BYTES, OVERHEAD_BYTES, Page, Role, SLOT_WORDS, Slot, Word,
};
use crate::position;
use crate::region::Mapping;
use crate::sync::{self, Slept};

/// Payloads shorter than this fit in every ring with a word on either side: no capacity is below
/// the smallest unit.
const ALWAYS_FITS_BYTES: u64 = MIN_UNIT_BYTES.wrapping_sub(OVERHEAD_BYTES);

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
    /// Alive until a page was found missing.
    #[cfg(feature = "guard")]
    intact: ForkToken,
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
            #[cfg(feature = "guard")]
            intact: mapping.intact(),
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
        self.at_offset(position & self.mask)
    }

    /// Address of the data word at a position that is a multiple of eight.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "two instructions")]
    fn data_word(&self, position: u64) -> *mut u64 {
        self.at_offset(position & self.word_mask).cast()
    }

    /// Address of the data byte at an offset that one of the masks has made smaller than the
    /// capacity.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one instruction")]
    fn at_offset(&self, offset: u64) -> *mut u8 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "usize has 64 bits, see lib.rs"
        )]
        let offset = offset as usize;
        // SAFETY: the offset is below the capacity, so the address is inside the first mapping.
        unsafe { self.data.add(offset) }
    }

    /// Sleeps on a word of a role's page: see [`sync::futex_wait`].
    pub(crate) fn futex_wait(&self, word: Word, seen: u32, limit: Duration) -> Slept {
        // SAFETY: `word` gives an aligned address inside a page that every role can read.
        unsafe { sync::futex_wait(self.word(word), seen, limit) }
    }

    /// Wakes the sleeper on a word of a role's page.
    pub(crate) fn futex_wake(&self, word: Word) {
        // SAFETY: `word` gives an aligned address inside a page that every role can read.
        unsafe { sync::futex_wake(self.word(word)) };
    }

    /// Lets the kernel read from `source` to the bytes from a position on: one `read(2)`.
    pub(crate) fn read_in(
        &self,
        source: BorrowedFd<'_>,
        position: u64,
        bytes: usize,
    ) -> io::Result<usize> {
        if !self.fits(bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let to = self.data(position);
        // SAFETY: at most one capacity of bytes, and so many are mapped from every data byte on. The
        // kernel stores them; Rust sees an opaque call that may change shared memory. Where the
        // pages are gone it answers EFAULT.
        let count = unsafe { libc::read(source.as_raw_fd(), to.cast(), bytes) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Lets the kernel write the bytes from a position on to `target`: one `write(2)`.
    pub(crate) fn write_out(
        &self,
        target: BorrowedFd<'_>,
        position: u64,
        bytes: usize,
    ) -> io::Result<usize> {
        if !self.fits(bytes) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let from = self.data(position);
        // SAFETY: at most one capacity of bytes, and so many are mapped from every data byte on. The
        // kernel loads them, whatever others store there meanwhile, and Rust none.
        let count = unsafe { libc::write(target.as_raw_fd(), from.cast(), bytes) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
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
    type Place<'a> = Address<'a>;

    #[inline(always)]
    fn place(&self, position: u64) -> Address<'_> {
        Address {
            word: self.data_word(position),
            memory: self,
        }
    }

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

    fn increment(&self, word: Word, _order: Order) {
        // SAFETY: `word` gives an aligned address inside a page; a role stores to its own only.
        unsafe { sync::increment(self.word(word)) }
    }

    #[inline(always)]
    fn load_data(&self, position: u64, order: Order) -> u64 {
        // SAFETY: `data_word` gives an aligned address inside the data, readable by every role.
        unsafe { sync::load(self.data_word(position), order.strength) }
    }

    #[inline(always)]
    fn store_data(&self, position: u64, value: u64, order: Order) {
        // SAFETY: `data_word` gives an aligned address inside the data; only a producer
        // stores single words.
        unsafe { sync::store(self.data_word(position), value, order.strength) }
    }

    #[inline(always)]
    fn copy_in(&self, position: u64, bytes: &[u8]) {
        if self.fits(bytes.len()) {
            // SAFETY: the length is at most the capacity, and so many bytes are mapped from the
            // address of a data word on.
            unsafe { copy::words_in(self.data_word(position), bytes) };
        }
    }

    /// From where a wide copy takes lines whole, to where that stops being faster. None where that
    /// was not measured.
    #[cfg(all(target_arch = "x86_64", not(ringduct_portable_copy)))]
    const RETURNED_BYTES: RangeInclusive<u64> = copy::WIDE_COPY_BYTES as u64..=16 << 10;
    #[cfg(not(all(target_arch = "x86_64", not(ringduct_portable_copy))))]
    const RETURNED_BYTES: RangeInclusive<u64> = u64::MAX..=0;

    /// Whole lines only: the first and the last one hold a commit word as well, and the producer may
    /// be about to write the one after the record.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "usize has 64 bits, see lib.rs"
    )]
    fn copy_back(&self, start: u64, bytes: &[u8]) {
        let first = position::advance(start, LINE_BYTES - 1) & !(LINE_BYTES - 1);
        let end = position::advance(start, bytes.len() as u64) & !(LINE_BYTES - 1);
        if position::at_or_after(first, end) {
            return;
        }
        let skipped = position::distance(start, first) as usize; // less than a line
        let length = position::distance(first, end) as usize; // less than `bytes` is long
        if let Some(lines) = bytes.get(skipped..skipped.wrapping_add(length)) {
            self.copy_in(first, lines);
        }
    }

    #[inline(always)]
    fn copy_out(&self, position: u64, out: &mut [u8]) {
        if self.fits(out.len()) {
            // SAFETY: the length is at most the capacity, and so many bytes are mapped from the
            // address of a data word on.
            unsafe { copy::words_out(self.data_word(position), out) };
        }
    }

    #[inline(always)]
    fn fence(&self, fence: Fence) {
        sync::fence(fence.kind);
    }

    #[cfg(feature = "guard")]
    #[inline(always)]
    fn is_intact(&self) -> bool {
        // "guard": the handler of this thread came between what was read or written and this look;
        // or that of another one did, and the zeros that it left were read. No instruction on
        // x86-64.
        sync::fence(super::FenceKind::Light);
        sync::fence(super::FenceKind::Acquire);
        self.intact.is_owner()
    }
}

impl DurableMemory for Mapped {
    fn load_slot(&self, slot: Slot) -> [u64; SLOT_WORDS] {
        let start: *mut u64 = self.mapping.slot(slot).cast();
        core::array::from_fn(|index| {
            // SAFETY: a slot has 16 words, its page at least 512.
            let from = unsafe { start.add(index) };
            // SAFETY: as above; aligned, since the page is, and readable by every role.
            unsafe { sync::load(from, Strength::Relaxed) }
        })
    }

    fn store_slot(&self, slot: Slot, words: &[u64; SLOT_WORDS]) {
        let start: *mut u64 = self.mapping.slot(slot).cast();
        for (index, word) in words.iter().enumerate() {
            // SAFETY: a slot has 16 words, its page at least 512.
            let to = unsafe { start.add(index) };
            // SAFETY: as above; aligned, since the page is; a role stores to its own slots only.
            unsafe { sync::store(to, *word, Strength::Release) };
        }
    }

    fn sync(&self, extent: Extent) -> Result<(), SyncFault> {
        self.mapping
            .sync(extent)
            .map_err(|errno| SyncFault { errno })
    }

    fn page_bytes(&self) -> u64 {
        crate::region::kernel_page_bytes()
    }
}

/// The address of a data word. The mirror makes what follows contiguous: the capacity is mapped
/// from here on, for as long as the carrier is borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address<'a> {
    /// Only made by [`Mapped::place`].
    word: *mut u64,
    memory: &'a Mapped,
}

impl Address<'_> {
    /// Whether a payload of so many bytes fits between two words, in every ring for the short ones:
    /// see [`ALWAYS_FITS_BYTES`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one comparison, or none")]
    fn fits(self, payload_bytes: usize) -> bool {
        let bytes = payload_bytes as u64;
        let most = self.memory.mask.wrapping_sub(OVERHEAD_BYTES - 1);
        let fits = bytes < ALWAYS_FITS_BYTES || bytes <= most;
        debug_assert!(fits, "a record fits the ring");
        fits
    }
}

#[expect(
    clippy::inline_always,
    reason = "one instruction, or a copy whose length may be known"
)]
impl Place for Address<'_> {
    #[inline(always)]
    fn load(self, order: Order) -> u64 {
        // SAFETY: an aligned address inside the data, readable by every role.
        unsafe { sync::load(self.word, order.strength) }
    }

    #[inline(always)]
    fn read(self, out: &mut [u8]) {
        if !self.fits(out.len()) {
            return;
        }
        // SAFETY: the commit word and the payload are at most the capacity long, which is mapped
        // from here on.
        let start = unsafe { self.word.add(1) };
        // SAFETY: as above.
        unsafe { copy::words_out(start, out) };
    }

    #[inline(always)]
    fn write(self, payload: &[u8], commit: u64, order: Order) -> bool {
        if !self.fits(payload.len()) {
            return false;
        }
        // SAFETY: the commit word, the payload and the word after it are at most the capacity
        // long, which is mapped from here on.
        let start = unsafe { self.word.add(1) };
        // SAFETY: as above; only a producer stores.
        unsafe { copy::words_in(start, payload) };
        // SAFETY: as above.
        let end = unsafe { start.add(payload.len().div_ceil(8)) };
        // SAFETY: as above.
        unsafe { sync::store(end, EMPTY, Strength::Relaxed) };
        if !self.memory.is_intact() {
            return false;
        }
        // SAFETY: as above.
        unsafe { sync::store(self.word, commit, order.strength) };
        true
    }
}
