//! How long a side that waits looks away before it looks again.

/// How long a side that ran dry looks away before it looks again: learned, zero at first.
///
/// Two sides that stream at about the same speed meet on one cache line: the faster one looks at
/// it after every message, and each look takes it from the other, who is writing there. When the
/// faster one looks away for a moment instead, it finds many messages at once, and the lines in
/// between travel once. For a single message on its way that moment would be lost; so a side looks
/// away only as long as it has just seen that this brings in a stream: now and then it tries, keeps
/// to it and stretches it while enough comes at a time, and stops when not.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Pauses of the processor, some 10 to 30 ns each, before the first look of a wait.
    pauses: u32,
    waits: u32,
    done_messages: u64,
    done_bytes: u64,
}

impl Pace {
    /// One wait in so many tries what looking away would bring, when it is not done anyway.
    const TRY_ONCE_IN: u32 = 512;
    /// The shortest and the longest look away: about 0.2 and 0.8 us.
    const SHORTEST: u32 = 8;
    const LONGEST: u32 = 32;
    /// What must come for each pause to be worth it: half of the slowest stream seen to gain.
    const WORTH_BYTES: u64 = 16;

    /// How long a record was on average since the last wait, for a side that has come so far.
    pub(crate) fn typical_record_bytes(&self, messages: u64, bytes: u64) -> u64 {
        let came_bytes = bytes.wrapping_sub(self.done_bytes);
        match messages.wrapping_sub(self.done_messages) {
            0 | 1 => came_bytes,
            many => came_bytes.checked_div(many).unwrap_or(0),
        }
    }

    /// A wait begins after so many messages and bytes in all: how many pauses to make first.
    pub(crate) fn begin(&mut self, messages: u64, bytes: u64) -> u32 {
        let came_messages = messages.wrapping_sub(self.done_messages);
        let came_bytes = bytes.wrapping_sub(self.done_bytes);
        (self.done_messages, self.done_bytes) = (messages, bytes);
        self.waits = self.waits.wrapping_add(1);
        if self.pauses == 0 {
            if self.waits % Self::TRY_ONCE_IN == 0 {
                self.pauses = Self::SHORTEST;
            }
        } else {
            let worth = u64::from(self.pauses).wrapping_mul(Self::WORTH_BYTES);
            if came_messages >= 2 && came_bytes >= worth {
                self.pauses = self.pauses.saturating_mul(2).min(Self::LONGEST);
            } else if self.pauses > Self::SHORTEST {
                self.pauses /= 2;
            } else {
                self.pauses = 0;
            }
        }
        self.pauses
    }
}

/// Lets time pass without a look.
pub(crate) fn look_away(pauses: u32) {
    for _ in 0..pauses {
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    /// Makes `waits` waits before each of which `messages` of 16 bytes came, plus `for_each_pause`
    /// for every pause made; returns the pauses of each.
    fn wait(pace: &mut Pace, done: &mut u64, waits: u32, came: impl Fn(u32) -> u64) -> Vec<u32> {
        let mut last = pace.pauses;
        let mut all = Vec::new();
        for _ in 0..waits {
            *done = done.wrapping_add(came(last));
            last = pace.begin(*done, done.wrapping_mul(16));
            all.push(last);
        }
        all
    }

    /// Goal: whoever waits for one answer at a time looks at once, but for the few tries. Method:
    /// one message before every wait, however long it looked away.
    #[test]
    fn answers_are_waited_for_with_open_eyes() {
        let mut pace = Pace::default();
        let pauses = wait(&mut pace, &mut 0, 5120, |_| 1);
        assert_eq!(pauses.iter().filter(|pauses| **pauses > 0).count(), 10);
        assert_eq!(pauses.iter().max(), Some(&Pace::SHORTEST));
        assert_eq!(pace.typical_record_bytes(5121, 5121 * 16), 16);
    }

    /// Goal: a stream is found, gets the longest look away, and loses it when it ends. Method: four
    /// messages for every pause, then one for every wait, then the stream again.
    #[test]
    fn a_stream_is_given_time() {
        let (mut pace, mut done) = (Pace::default(), 0);
        for _ in 0..2 {
            let pauses = wait(&mut pace, &mut done, 520, |last| 1 + 4 * u64::from(last));
            assert_eq!(pauses.last(), Some(&Pace::LONGEST));
            let pauses = wait(&mut pace, &mut done, 4, |_| 1);
            assert_eq!(pauses, [16, 8, 0, 0]);
        }
    }

    /// Goal: a stream too slow to gain is not delayed. Method: one message in eight pauses.
    #[test]
    fn a_slow_stream_is_left_alone() {
        let (mut pace, mut done) = (Pace::default(), 0);
        let pauses = wait(&mut pace, &mut done, 5120, |last| 1 + u64::from(last / 8));
        let delayed = pauses.iter().filter(|pauses| **pauses > 0).count();
        assert!(delayed <= 10, "{delayed} waits looked away");
    }
}
