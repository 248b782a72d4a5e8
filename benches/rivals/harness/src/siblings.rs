//! Whether the two ends run on hyper-threads of one core: whether work on one slows the other down.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::clock::now;
use crate::floor;

/// How often one side works alone, and beside the other.
const LOOKS: u64 = 16;

/// Steps of a work that is timed, some ten microseconds, and between two looks of the other side.
const STEPS: u32 = 8000;
const SHORT_STEPS: u32 = 100;

/// The words that it takes, a cache line each.
pub(crate) const WORDS: usize = 2;

/// Four chains of squares, which keep the only multiplier of a core busy all the time; no compiler can
/// make fewer multiplications of them.
fn work(steps: u32) {
    let [mut a, mut b, mut c, mut d] = black_box([3_u64, 5, 7, 11]);
    for _ in 0..steps {
        a = a.wrapping_mul(a);
        b = b.wrapping_mul(b);
        c = c.wrapping_mul(c);
        d = d.wrapping_mul(d);
    }
    black_box([a, b, c, d]);
}

fn wait(word: &AtomicU64, least: u64) {
    floor::wait(word, |seen| seen >= least, core::hint::spin_loop);
}

/// The median ticks of the same work, alone and beside the other side's: the same on two cores; on
/// one, by how the work is made, twice as many.
pub(crate) fn ask([asked, busy]: [&AtomicU64; WORDS]) -> [u64; 2] {
    let timed = || {
        let started = now();
        work(STEPS);
        now() - started
    };
    let mut samples = [Vec::new(), Vec::new()];
    for look in 1..=LOOKS {
        samples[0].push(timed());
        asked.store(2 * look - 1, Release);
        wait(busy, look);
        samples[1].push(timed());
        asked.store(2 * look, Release);
    }
    samples.map(|mut samples| {
        samples.sort_unstable();
        samples[samples.len() / 2]
    })
}

/// The other side: works when it is asked to, and otherwise only looks whether it is.
pub(crate) fn answer([asked, busy]: [&AtomicU64; WORDS]) {
    for look in 1..=LOOKS {
        wait(asked, 2 * look - 1);
        busy.store(look, Release);
        while asked.load(Acquire) < 2 * look {
            work(SHORT_STEPS);
        }
    }
}
