//! How long a side that waits looks away before it looks again.

use std::time::{Duration, Instant};

/// How long a side that ran dry looks away before it looks again: learned, zero at first.
///
/// Two sides that stream at about the same speed meet on one cache line: the faster one looks at
/// it after every message, and each look takes it from the other, who is writing there. When the
/// faster one looks away for a moment instead, it finds many messages at once, and the lines in
/// between travel once. Where the other side waits for this one, or comes when it comes, that
/// moment is lost. No count of messages tells the two apart, so the rate decides: now and then
/// two blocks of waits are done the other way, and if the second of them moved more bytes in the same
/// time, the other way stays.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Whether waits begin with a look away, but for trials.
    settled: bool,
    /// Whether this block's waits do.
    looks_away: bool,
    waits: u32,
    done_messages: u64,
    block: Option<Block>,
    /// Rate of the block before a trial, while one goes on.
    rate_before: Option<Rate>,
    /// The first block of a trial: what the other way has left in the ring is still in it.
    settling: bool,
    /// Blocks until the next trial, and the number that it started from.
    until_trial: u32,
    patience: u32,
}

/// Where a block of waits began.
#[derive(Clone, Copy, Debug)]
struct Block {
    start: Instant,
    bytes: u64,
}

/// Bytes in a time.
#[derive(Clone, Copy, Debug)]
struct Rate {
    bytes: u64,
    ns: u64,
}

impl Rate {
    fn new(bytes: u64, time: Duration) -> Self {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self { bytes, ns }
    }

    /// Whether this rate is at least so many percent of another.
    fn is_at_least(self, percent: u64, other: Self) -> bool {
        let wide = |number: u64| u128::from(number);
        let this = wide(self.bytes)
            .saturating_mul(wide(other.ns))
            .saturating_mul(100);
        let that = wide(other.bytes).saturating_mul(wide(self.ns));
        this >= that.saturating_mul(wide(percent))
    }
}

impl Pace {
    /// The clock is read, and a trial judged, once in so many waits.
    const BLOCK_WAITS: u32 = 32;
    /// Pauses of the processor, 10 to 50 ns each, in a look away.
    const PAUSES: u32 = 32;
    /// Blocks between two trials: twice as many after each that changed nothing.
    const EAGER: u32 = 4;
    const WEARY: u32 = 512;
    const WEARY_OF_LOOKING_AWAY: u32 = 64;
    /// What looking away must bring, and not doing so must keep, in percent.
    const WORTH: u64 = 110;
    const KEPT: u64 = 97;

    /// A wait begins after so many messages and bytes in all: how many pauses to make first.
    pub(crate) fn begin(
        &mut self,
        messages: u64,
        bytes: u64,
        now: impl FnOnce() -> Instant,
    ) -> u32 {
        let came = messages.wrapping_sub(self.done_messages);
        self.done_messages = messages;
        self.waits = self.waits.wrapping_add(1);
        if self.looks_away && came <= 1 {
            self.open_eyes();
        } else if self.waits % Self::BLOCK_WAITS == 0 {
            self.end_block(bytes, now());
        }
        if self.looks_away { Self::PAUSES } else { 0 }
    }

    /// One message at a time is no stream, whatever it was before.
    fn open_eyes(&mut self) {
        (self.settled, self.looks_away) = (false, false);
        (self.block, self.rate_before, self.settling) = (None, None, false);
        self.wait_longer();
    }

    #[cold]
    fn end_block(&mut self, bytes: u64, now: Instant) {
        let block = Block { start: now, bytes };
        let Some(last) = self.block.replace(block) else {
            return;
        };
        let time = now.saturating_duration_since(last.start);
        let rate = Rate::new(bytes.wrapping_sub(last.bytes), time);
        if core::mem::take(&mut self.settling) {
            return;
        }
        if let Some(before) = self.rate_before.take() {
            self.judge(rate, before);
        } else if self.until_trial > 0 {
            self.until_trial = self.until_trial.saturating_sub(1);
        } else {
            (self.rate_before, self.settling) = (Some(rate), true);
            self.looks_away = !self.settled;
        }
    }

    /// Ends a trial.
    fn judge(&mut self, rate: Rate, before: Rate) {
        let wanted = if self.settled {
            Self::KEPT
        } else {
            Self::WORTH
        };
        if rate.is_at_least(wanted, before) {
            self.settled = self.looks_away;
            self.patience = Self::EAGER;
            self.until_trial = self.patience;
        } else {
            self.looks_away = self.settled;
            self.wait_longer();
        }
    }

    /// The next trial comes after twice as many blocks as this one.
    fn wait_longer(&mut self) {
        let weary = if self.settled {
            Self::WEARY_OF_LOOKING_AWAY
        } else {
            Self::WEARY
        };
        let longer = self.patience.saturating_mul(2);
        self.patience = longer.clamp(Self::EAGER, weary);
        self.until_trial = self.patience;
    }
}

/// Lets time pass without a look.
pub(crate) fn look_away(pauses: u32) {
    for _ in 0..pauses {
        core::hint::spin_loop();
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers")]
mod tests {
    use core::time::Duration;
    use std::time::Instant;

    use super::Pace;

    /// A side that waits over and over: before each wait some messages of 16 bytes came, and some
    /// nanoseconds went by, both told by the pauses that it made before.
    struct Waiter {
        pace: Pace,
        messages: u64,
        now: Instant,
        last: u32,
    }

    impl Waiter {
        fn new() -> Self {
            Self {
                pace: Pace::default(),
                messages: 0,
                now: Instant::now(),
                last: 0,
            }
        }

        /// Returns the pauses of each wait.
        fn wait(&mut self, waits: u32, step: impl Fn(u32) -> (u64, u64)) -> Vec<u32> {
            let mut all = Vec::new();
            for _ in 0..waits {
                let (messages, ns) = step(self.last);
                self.messages = self.messages.wrapping_add(messages);
                self.now = self.now.checked_add(Duration::from_nanos(ns)).unwrap();
                let bytes = self.messages.wrapping_mul(16);
                self.last = self.pace.begin(self.messages, bytes, || self.now);
                all.push(self.last);
            }
            all
        }
    }

    fn looked_away(pauses: &[u32]) -> usize {
        pauses.iter().filter(|pauses| **pauses > 0).count()
    }

    /// A pause takes 25 ns, and in that time three messages come; without one it is one in 50 ns.
    fn stream(last: u32) -> (u64, u64) {
        let pauses = u64::from(last);
        (1 + 3 * pauses, 50 + 25 * pauses)
    }

    /// Goal: whoever waits for one answer at a time looks at once, but for the few tries.
    #[test]
    fn answers_are_waited_for_with_open_eyes() {
        let mut waiter = Waiter::new();
        let pauses = waiter.wait(50_000, |last| (1, 200 + 25 * u64::from(last)));
        let tries = looked_away(&pauses);
        assert!((1..50).contains(&tries), "{tries} waits looked away");
    }

    /// Goal: nor is a burst of answers, or a peer that comes when it comes, taken for a stream.
    /// Method: as many messages for every wait, however long it looked away, and a fixed rate.
    #[test]
    fn bursts_and_clocks_are_no_streams() {
        let burst = |last: u32| (8_u64, 300 + 25 * u64::from(last));
        let clock = |last: u32| (2 + u64::from(last) / 4, 200 + 25 * u64::from(last));
        for (step, name) in [(&burst as &dyn Fn(u32) -> _, "burst"), (&clock, "clock")] {
            let pauses = Waiter::new().wait(50_000, step);
            let tries = looked_away(&pauses[25_000..]);
            assert!(tries < 250, "{name}: {tries} of 25,000 waits looked away");
        }
    }

    /// Goal: a stream is found and given time, loses it at once when one message
    /// comes at a time, slowly when bursts come, and is found again.
    #[test]
    fn a_stream_is_given_time() {
        let mut waiter = Waiter::new();
        for _ in 0..2 {
            let pauses = waiter.wait(20_000, stream);
            let found = looked_away(&pauses);
            assert!(found > 15_000, "{found}: a stream was not given time");
            let pauses = waiter.wait(3, |_| (1, 200));
            assert_eq!(looked_away(&pauses), 0, "an answer was made to wait");
            waiter.wait(20_000, stream);
            let pauses = waiter.wait(50_000, |last| (8, 300 + 25 * u64::from(last)));
            assert!(
                looked_away(&pauses[40_000..]) < 100,
                "a burst was made to wait"
            );
        }
    }
}
