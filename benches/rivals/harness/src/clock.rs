//! Ticks: the time-stamp counter where there is one, else nanoseconds of the monotonic clock.

use std::time::{Duration, Instant};

/// The ticks now. Nothing is ordered around it: the loops take one stamp per round and use
/// differences between neighbours, so that no part of a round escapes its sample.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the only way to the counter")]
#[expect(clippy::inline_always, reason = "a call would be part of every sample")]
pub fn now() -> u64 {
    // SAFETY: every x86-64 has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The ticks now: nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
pub fn now() -> u64 {
    monotonic_ns()
}

/// Nanoseconds of the monotonic clock.
#[expect(unsafe_code, reason = "the clock that all processes share")]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writes; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Ticks in a nanosecond, measured for `how_long`.
pub fn ticks_per_ns(how_long: Duration) -> f64 {
    let started = Instant::now();
    let (ns, ticks) = (monotonic_ns(), now());
    while started.elapsed() < how_long {
        core::hint::spin_loop();
    }
    let (ns, ticks) = (monotonic_ns() - ns, now() - ticks);
    ticks as f64 / ns as f64
}

/// The step of the ticks: some counters advance by many ticks at a time.
///
/// It is the greatest number of which nearly all distances between stamps are a multiple, give or
/// take one tick.
pub fn step() -> u64 {
    let mut distances = Vec::with_capacity(20_000);
    let mut last = now();
    for round in 0..20_000 {
        for _ in 0..round % 50 {
            core::hint::spin_loop();
        }
        let stamp = now();
        distances.push(stamp - last);
        last = stamp;
    }
    let fits = |step: u64| {
        let close = |distance: &&u64| (*distance + 1) % step <= 2;
        distances.iter().filter(close).count() * 100 >= distances.len() * 95
    };
    (4..=200).rev().find(|step| fits(*step)).unwrap_or(1)
}
