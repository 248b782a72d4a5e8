//! Rows of words in the ring, copied from and to slices of this process.
//!
//! Everything here is told its range by `mapped`, which knows what is mapped. Other processes may
//! write the same bytes meanwhile: the argument is at the top of that file.
#![expect(
    unsafe_code,
    reason = "raw pointers into memory that another process writes"
)]

use super::Strength;
use crate::sync;

/// From this many bytes on, a copy goes in aligned blocks; below it, word by word.
#[cfg(all(target_arch = "x86_64", not(ringduct_portable_copy)))]
const BLOCK_COPY_BYTES: usize = 256;

/// From this many bytes on, a copy goes through the C library.
#[cfg(all(target_arch = "x86_64", not(ringduct_portable_copy)))]
pub(super) const WIDE_COPY_BYTES: usize = 1024;

/// Copies `bytes` to a row of words; what is left of the last word becomes zero.
///
/// # Safety
///
/// The length of `bytes`, rounded up to whole words, is mapped writable at `to` during the call.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the length may be known")]
pub(super) unsafe fn words_in(mut to: *mut u64, bytes: &[u8]) {
    let mut rest = bytes;
    #[cfg(all(target_arch = "x86_64", not(ringduct_portable_copy)))]
    if bytes.len() >= BLOCK_COPY_BYTES {
        // SAFETY: as this function's contract says; the slice cannot overlap the mapping.
        let done = unsafe { blocks::copy_in(to, bytes) };
        // SAFETY: so many bytes were copied: the next word starts inside or at the end of the
        // range.
        to = unsafe { to.add(done / 8) };
        (_, rest) = bytes.split_at(done);
    }
    while let Some((word, more)) = rest.split_first_chunk::<8>() {
        rest = more;
        // SAFETY: `to` is aligned and at least eight bytes of the range lie ahead of it.
        unsafe { sync::store(to, u64::from_le_bytes(*word), Strength::Relaxed) };
        // SAFETY: as above: the next word starts inside or at the end of the range.
        to = unsafe { to.add(1) };
    }
    if !rest.is_empty() {
        let word = partial::pack(bytes, rest.len());
        // SAFETY: the range, rounded up to whole words, has one more.
        unsafe { sync::store(to, word, Strength::Relaxed) };
    }
}

/// Copies a row of words to `out`.
///
/// # Safety
///
/// The length of `out`, rounded up to whole words, is mapped readable at `from` during the call.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the length may be known")]
pub(super) unsafe fn words_out(from: *const u64, out: &mut [u8]) {
    let mut from = from;
    let length = out.len();
    if length == 8 {
        // The most common fixed length, without the loop's bookkeeping.
        // SAFETY: eight bytes of the range lie at `from`, which is aligned.
        let word = unsafe { sync::load(from, Strength::Relaxed) };
        out.copy_from_slice(&word.to_le_bytes());
        return;
    }
    let mut rest = out;
    #[cfg(all(target_arch = "x86_64", not(ringduct_portable_copy)))]
    if length >= BLOCK_COPY_BYTES {
        // SAFETY: as this function's contract says; the slice cannot overlap the mapping.
        let done = unsafe { blocks::copy_out(from, rest) };
        // SAFETY: so many bytes were copied: the next word starts inside or at the end of the
        // range.
        from = unsafe { from.add(done / 8) };
        (_, rest) = rest.split_at_mut(done);
    }
    let mut words = rest.chunks_exact_mut(8);
    for out in &mut words {
        // SAFETY: `from` is aligned and at least eight bytes of the range lie ahead of it.
        let word = unsafe { sync::load(from, Strength::Relaxed) };
        out.copy_from_slice(&word.to_le_bytes());
        // SAFETY: as above: the next word starts inside or at the end of the range.
        from = unsafe { from.add(1) };
    }
    let tail = words.into_remainder();
    if !tail.is_empty() {
        // SAFETY: the range, rounded up to whole words, has one more.
        let word = unsafe { sync::load(from, Strength::Relaxed) };
        partial::unpack(tail, word);
    }
}

/// The last word of a payload whose length is no multiple of eight.
mod partial {
    use core::mem::take;

    /// The last `count` bytes of `bytes`, one to seven, with zeros above them.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a few instructions")]
    pub(super) fn pack(bytes: &[u8], count: usize) -> u64 {
        let (_, tail) = bytes.split_at(bytes.len().saturating_sub(count));
        if let Some(last) = bytes.last_chunk::<8>() {
            // One load that overlaps the word before: the bytes wanted are its upper ones.
            let bits = tail.len().wrapping_neg() & 7; // bytes to drop
            return u64::from_le_bytes(*last) >> (bits << 3);
        }
        let mut word = 0_u64;
        for byte in tail.iter().rev() {
            word = (word << 8) | u64::from(*byte);
        }
        word
    }

    /// Writes the lower bytes of `word` to `tail`, one to seven bytes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a few instructions")]
    pub(super) fn unpack(tail: &mut [u8], word: u64) {
        let (mut word, mut tail) = (word, tail);
        if tail.len() >= 4 {
            if let Some((four, rest)) = take(&mut tail).split_first_chunk_mut::<4>() {
                *four = low4(word);
                word >>= 32;
                tail = rest;
            }
        }
        if tail.len() >= 2 {
            if let Some((two, rest)) = take(&mut tail).split_first_chunk_mut::<2>() {
                let [first, second, ..] = low4(word);
                *two = [first, second];
                word >>= 16;
                tail = rest;
            }
        }
        if let Some(last) = tail.first_mut() {
            [*last, ..] = low4(word);
        }
    }

    fn low4(word: u64) -> [u8; 4] {
        let [a, b, c, d, ..] = word.to_le_bytes();
        [a, b, c, d]
    }
}

/// Long copies, in assembly, so that the compiler neither sees what they do nor assumes that nobody
/// else writes the bytes meanwhile.
///
/// Up to a kilobyte in blocks of four 16-byte registers that are aligned in the ring: a store that
/// crosses a cache line waits for both lines, one after the other, while a row of aligned stores
/// has all its lines on the way at once. (256 bytes there and back: 1.3 times the floor, with the C
/// library's copy 1.5 to 1.9.) Longer ones through the C library's `memcpy`, which is the fastest of
/// those tried between two cores.
#[cfg(all(target_arch = "x86_64", not(ringduct_portable_copy)))]
mod blocks {
    use core::arch::asm;

    use super::{Strength, WIDE_COPY_BYTES, sync};

    const BLOCK_BYTES: usize = 64;

    /// Copies most of `bytes` to a row of words; returns how many, a multiple of eight.
    ///
    /// # Safety
    ///
    /// The length of `bytes` is at least 16, and so many bytes are mapped writable at `to` and do
    /// not overlap `bytes`.
    pub(super) unsafe fn copy_in(to: *mut u64, bytes: &[u8]) -> usize {
        let length = bytes.len() & !7;
        if length >= WIDE_COPY_BYTES {
            // SAFETY: `length` bytes are at either place.
            unsafe { memcpy(to.cast(), bytes.as_ptr(), length) };
            return length;
        }
        let (mut to, mut bytes, mut lead) = (to, bytes, 0);
        if to.addr() & 8 != 0 {
            if let Some((word, rest)) = bytes.split_first_chunk::<8>() {
                // SAFETY: `to` is aligned and mapped for a word.
                unsafe { sync::store(to, u64::from_le_bytes(*word), Strength::Relaxed) };
                // SAFETY: the range is longer than a word.
                to = unsafe { to.add(1) };
                (bytes, lead) = (rest, 8);
            }
        }
        let length = bytes.len() & !(BLOCK_BYTES - 1);
        if length == 0 {
            return lead;
        }
        // SAFETY: `length` bytes, a positive number of blocks, are at either place; `to` is
        // aligned to 16 bytes now. Only the registers named are changed, and no stack is used.
        unsafe {
            asm!(
                "2:",
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                "movaps [{to}], {a}",
                "movaps [{to} + 16], {b}",
                "movaps [{to} + 32], {c}",
                "movaps [{to} + 48], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "sub {left}, 64",
                "jnz 2b",
                from = inout(reg) bytes.as_ptr() => _,
                to = inout(reg) to => _,
                left = inout(reg) length => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack),
            );
        }
        lead.wrapping_add(length)
    }

    /// Copies most of a row of words to `out`; returns how many bytes, a multiple of eight.
    ///
    /// # Safety
    ///
    /// The length of `out` is at least 16, and so many bytes are mapped readable at `from` and do
    /// not overlap `out`.
    pub(super) unsafe fn copy_out(from: *const u64, out: &mut [u8]) -> usize {
        let length = out.len() & !7;
        if length >= WIDE_COPY_BYTES {
            // SAFETY: `length` bytes are at either place.
            unsafe { memcpy(out.as_mut_ptr(), from.cast(), length) };
            return length;
        }
        let (mut from, mut out, mut lead) = (from, out, 0);
        if from.addr() & 8 != 0 {
            let (first, rest) = out.split_at_mut(8);
            // SAFETY: `from` is aligned and mapped for a word.
            let word = unsafe { sync::load(from, Strength::Relaxed) };
            first.copy_from_slice(&word.to_le_bytes());
            // SAFETY: the range is longer than a word.
            from = unsafe { from.add(1) };
            (out, lead) = (rest, 8);
        }
        let length = out.len() & !(BLOCK_BYTES - 1);
        if length == 0 {
            return lead;
        }
        // SAFETY: `length` bytes, a positive number of blocks, are at either place; `from` is
        // aligned to 16 bytes now. Only the registers named are changed, and no stack is used.
        unsafe {
            asm!(
                "2:",
                "movaps {a}, [{from}]",
                "movaps {b}, [{from} + 16]",
                "movaps {c}, [{from} + 32]",
                "movaps {d}, [{from} + 48]",
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                "movups [{to} + 32], {c}",
                "movups [{to} + 48], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "sub {left}, 64",
                "jnz 2b",
                from = inout(reg) from => _,
                to = inout(reg) out.as_mut_ptr() => _,
                left = inout(reg) length => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack),
            );
        }
        lead.wrapping_add(length)
    }

    /// The C library's function.
    ///
    /// # Safety
    ///
    /// `bytes` bytes are readable at `from` and writable at `to`, and do not overlap.
    unsafe fn memcpy(to: *mut u8, from: *const u8, bytes: usize) {
        // SAFETY: the function reads and writes exactly the ranges that this one's contract
        // grants, follows the C calling convention, whose clobbers are declared, and finds an
        // aligned stack, since `nostack` is not given.
        unsafe {
            asm!(
                "call {copy}",
                copy = sym libc::memcpy,
                inout("rdi") to => _,
                inout("rsi") from => _,
                inout("rdx") bytes => _,
                clobber_abi("C"),
            );
        }
    }
}
