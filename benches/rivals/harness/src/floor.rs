//! What the machine allows: one cache line bounced between two cores, and a copy in bulk.
#![expect(unsafe_code, reason = "copies through shared memory")]

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::cell::{Cell, Output};
use crate::clock::now;
use crate::duo;
use crate::link::{Failure, Mode};
use crate::messages::{Buffer, END};
use crate::shared::Shared;

/// The name of the bounce that looks with a pause between looks; the other looks without.
pub const WITH_PAUSE: &str = "floor-pause";

/// Round trips of one word in one cache line: sampled exactly as those of the transports.
///
/// # Errors
///
/// What the kernel says.
pub fn bounce(cell: &Cell) -> Result<Output, Failure> {
    if cell.transport == WITH_PAUSE {
        bounce_with(cell, core::hint::spin_loop)
    } else {
        bounce_with(cell, || ())
    }
}

fn bounce_with(cell: &Cell, pause: impl Fn() + Copy) -> Result<Output, Failure> {
    duo::run(
        Mode::Processes,
        cell,
        |control| {
            control.meet();
            Ok(Output::of_samples(&ask(control.word(0), cell.ticks, pause)))
        },
        |control| {
            control.meet();
            answer(control.word(0), pause);
            Ok(())
        },
    )
}

/// Looks until a word is what is wanted.
#[inline]
pub(crate) fn wait(word: &AtomicU64, enough: impl Fn(u64) -> bool, pause: impl Fn()) -> u64 {
    loop {
        let seen = word.load(Acquire);
        if enough(seen) {
            return seen;
        }
        pause();
    }
}

/// Bounces a word that was zero, and returns the ticks of each round trip.
pub(crate) fn ask(word: &AtomicU64, ticks: u64, pause: impl Fn() + Copy) -> Vec<u64> {
    let mut index = 0;
    let mut trip = || {
        word.store(index + 1, Release);
        index += 2;
        wait(word, |seen| seen == index, pause);
    };
    // The other side may not be there yet.
    trip();
    let started = now();
    let mut trips = 0;
    while trips == 0 || now() - started < ticks / 8 {
        trip();
        trips += 1;
    }
    let each = ((now() - started) / trips).max(1);
    let mut samples = vec![1; usize::try_from((ticks / each).clamp(20, 1 << 20)).unwrap_or(0)];
    let mut last = now();
    for sample in &mut samples {
        trip();
        let stamp = now();
        *sample = stamp - last;
        last = stamp;
    }
    word.store(END, Release);
    samples
}

/// Answers until the other side has enough.
pub(crate) fn answer(word: &AtomicU64, pause: impl Fn() + Copy) {
    for index in (1..).step_by(2) {
        if wait(word, |seen| seen == index || seen == END, pause) == END {
            break;
        }
        word.store(index + 1, Release);
    }
}

/// Bytes of one block.
pub const BLOCK_BYTES: usize = 16 << 10;

/// Copies blocks into shared memory and out of it, with one counter each way and nothing else.
///
/// # Errors
///
/// What the kernel says.
pub fn bulk(cell: &Cell) -> Result<Output, Failure> {
    let blocks = (cell.ring_bytes / BLOCK_BYTES) as u64;
    let memory = Shared::new(cell.ring_bytes)?;
    let place = |index: u64| {
        let start = usize::try_from(index % blocks).unwrap_or(0) * BLOCK_BYTES;
        // SAFETY: block `index % blocks` is inside the mapping.
        unsafe { memory.as_ptr().add(start) }
    };
    duo::run(
        Mode::Processes,
        cell,
        |control| {
            let mut buffer = Buffer::new(BLOCK_BYTES);
            let (written, taken) = (control.word(0), control.word(2));
            control.meet();
            let (mut index, mut first, mut started) = (0, None, now());
            loop {
                wait(written, |seen| seen > index, || ());
                let (from, to) = (place(index), buffer.bytes_mut().as_mut_ptr());
                // SAFETY: both are valid for a block and do not overlap; the writer is elsewhere.
                unsafe { std::ptr::copy_nonoverlapping(from, to, BLOCK_BYTES) };
                black_box(buffer.bytes_mut());
                index += 1;
                taken.store(index, Release);
                let elapsed = now() - started;
                match first {
                    None if elapsed > cell.ticks / 8 => (first, started) = (Some(index), now()),
                    Some(first) if elapsed > cell.ticks => {
                        control.stop();
                        taken.store(u64::MAX / 2, Release);
                        let messages = index - first;
                        return Ok(Output::of_counts(messages, elapsed));
                    }
                    _ => {}
                }
            }
        },
        |control| {
            let mut buffer = Buffer::new(BLOCK_BYTES);
            let (written, taken) = (control.word(0), control.word(2));
            control.meet();
            let mut index = 0;
            while !control.stopped() {
                wait(taken, |seen| seen + blocks > index, || ());
                let (from, to) = (black_box(buffer.bytes_mut()).as_ptr(), place(index));
                // SAFETY: both are valid for a block and do not overlap; the reader is elsewhere.
                unsafe { std::ptr::copy_nonoverlapping(from, to, BLOCK_BYTES) };
                index += 1;
                written.store(index, Release);
            }
            Ok(())
        },
    )
}
