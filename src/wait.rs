//! How long to spin, when to sleep, and the steps of one sleep.

use core::time::Duration;
use std::time::Instant;

use crate::layout::Word;
use crate::memory::{Mapped, Memory};
use crate::region::Object;
use crate::ring::Sleeper;
use crate::sync::{self, Slept};

/// A sleeper looks again after this long, whatever happens: a killed peer wakes nobody.
pub(crate) const RECHECK: Duration = Duration::from_millis(100);

/// The same while the peer has not yet agreed to fence for a sleeper without `membarrier`.
const UNCOVERED_RECHECK: Duration = Duration::from_millis(1);

/// Between looks when the peer runs under another kernel and no futex can reach it.
const POLL: Duration = Duration::from_micros(100);

/// How a blocking call waits for the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Look again and again and never sleep: the lowest latency, one core for it.
    Spin,
    /// Look for a while, then sleep in the kernel until the other side wakes this one.
    SpinThenPark {
        /// How long to look before sleeping. Zero sleeps at once.
        spin: Duration,
    },
}

impl Default for Wait {
    /// Spin for 100 microseconds, then park.
    fn default() -> Self {
        Self::SpinThenPark {
            spin: Duration::from_micros(100),
        }
    }
}

/// What the steps of a sleep need from the kernel. The model has its own.
pub(crate) trait Kernel {
    /// A full barrier on every running thread that may publish; `false` when it is refused.
    fn barrier(&self) -> bool;
    /// Sleeps while the low half of `word` is `seen`, at most for `limit`; may return early.
    fn sleep(&self, word: Word, seen: u32, limit: Duration) -> Slept;
}

/// The kernel underneath a mapping.
#[derive(Debug)]
pub(crate) struct Linux<'a> {
    pub(crate) mapped: &'a Mapped,
    pub(crate) object: &'a Object,
}

impl Kernel for Linux<'_> {
    fn barrier(&self) -> bool {
        sync::barrier_everywhere()
    }

    fn sleep(&self, word: Word, seen: u32, limit: Duration) -> Slept {
        match self.mapped.futex_wait(word, seen, limit) {
            // Nobody called: perhaps because the ring is gone. Asked before anything is touched.
            Slept::Through if self.object.loss(self.mapped.mapping()).is_some() => Slept::Nowhere,
            slept => slept,
        }
    }
}

/// How long a call that waits in several steps may go on.
///
/// A wait ends when something seems to be there, and the call looks for itself then. A peer that
/// shows something and takes it back at once could keep that going for ever, so whoever looked in
/// vain asks here before it waits again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    deadline: Option<Instant>,
    tried: bool,
}

impl Patience {
    /// Until a deadline; without one, for ever.
    pub(crate) const fn until(deadline: Option<Instant>) -> Self {
        Self {
            deadline,
            tried: false,
        }
    }

    /// Whether there may be another wait: the first one in any case, which reports an ending rather
    /// than a deadline that has passed; later ones before the deadline only.
    pub(crate) fn lasts(&mut self) -> bool {
        let is_first = !core::mem::replace(&mut self.tried, true);
        is_first
            || self
                .deadline
                .is_none_or(|deadline| Instant::now() < deadline)
    }
}

/// What one sleep waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    /// The position the peer must have reached before a wake is worth sending.
    pub(crate) wanted: u64,
    /// The longest sleep.
    pub(crate) limit: Duration,
}

/// One sleep: steps S1 to S5 of `ring/parking.rs`. Returns after a wake, at the limit, or early;
/// nothing is touched any more once the ring is nowhere.
pub(crate) fn park(
    memory: &impl Memory,
    kernel: &impl Kernel,
    sleeper: &mut Sleeper,
    pause: Pause,
    mut ready: impl FnMut() -> bool,
) -> Slept {
    let Pause { wanted, limit } = pause;
    let seen = sleeper.announce(memory, wanted);
    if !kernel.barrier() {
        sleeper.ask_for_fences(memory);
    }
    let limit = if sleeper.is_covered(memory) {
        limit
    } else {
        limit.min(UNCOVERED_RECHECK)
    };
    let slept = if ready() {
        Slept::Stirred
    } else {
        kernel.sleep(sleeper.sleeps_on(), seen, limit)
    };
    if slept != Slept::Nowhere {
        sleeper.retract(memory);
    }
    slept
}

/// Looks again and again for at most `limit`, or until `give_up`. `true`: ready.
///
/// `give_up` is asked and the clock read once in 64 looks, through the vDSO: no system call.
pub(crate) fn spin(
    limit: Duration,
    mut ready: impl FnMut() -> bool,
    give_up: impl Fn() -> bool,
) -> bool {
    let mut start = None;
    loop {
        for _ in 0..64 {
            if ready() {
                return true;
            }
            core::hint::spin_loop();
        }
        let now = Instant::now();
        let began = *start.get_or_insert(now);
        if now.saturating_duration_since(began) >= limit || give_up() {
            return ready();
        }
    }
}

/// Sleeps a moment between looks at a peer that no futex reaches.
pub(crate) fn nap(limit: Duration) {
    std::thread::sleep(limit.min(POLL));
}

/// What is left until a deadline; the recheck bound where there is none.
pub(crate) fn slice(deadline: Option<Instant>) -> Duration {
    match deadline {
        None => RECHECK,
        Some(deadline) => deadline
            .saturating_duration_since(Instant::now())
            .min(RECHECK),
    }
}
