//! When checkpoints are made without being asked for.

use core::time::Duration;
use std::time::Instant;

use crate::ring::Progress;

/// How often an end that counts messages or bytes in the background looks.
const LOOK: Duration = Duration::from_millis(1);

/// When an end makes checkpoints by itself: whichever of the given limits is reached first. None
/// given: never.
///
/// ```
/// use std::time::Duration;
/// use ringduct::CheckpointPolicy;
/// let policy = CheckpointPolicy::new()
///     .every_messages(10_000)
///     .every(Duration::from_millis(50))
///     .in_background(true);
/// assert_ne!(policy, CheckpointPolicy::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a policy does nothing until an end is told of it"]
pub struct CheckpointPolicy {
    messages: Option<u64>,
    bytes: Option<u64>,
    interval: Option<Duration>,
    background: bool,
}

impl CheckpointPolicy {
    /// Never.
    pub const fn new() -> Self {
        Self {
            messages: None,
            bytes: None,
            interval: None,
            background: false,
        }
    }

    /// After so many messages; 0 means after each.
    pub const fn every_messages(mut self, messages: u64) -> Self {
        self.messages = Some(messages);
        self
    }

    /// After so many bytes of records, 8 for each message and padding included.
    pub const fn every_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// After so much time, if anything has moved. Without a background thread time is looked at
    /// only when a message is sent or received.
    pub const fn every(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Makes the checkpoints in a thread of their own, off the thread that sends or receives.
    /// Messages and bytes are then counted every millisecond. Without it a checkpoint is made
    /// inside the call that reaches a limit, and calls take the general way through the protocol.
    pub const fn in_background(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    pub(crate) const fn is_background(&self) -> bool {
        self.background
    }

    /// Whether any limit is given.
    pub(crate) const fn is_never(&self) -> bool {
        self.messages.is_none() && self.bytes.is_none() && self.interval.is_none()
    }

    /// How long a background thread may wait between two looks; `None`: until it is asked.
    pub(crate) fn look_every(&self) -> Option<Duration> {
        let counts = self.messages.is_some() || self.bytes.is_some();
        let interval = self.interval.map(|interval| interval.max(LOOK));
        if counts {
            Some(interval.map_or(LOOK, |interval| interval.min(LOOK)))
        } else {
            interval
        }
    }
}

/// What has happened since the last checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    policy: CheckpointPolicy,
    last: Progress,
    at: Instant,
}

impl Since {
    /// Starts counting at `now`.
    pub(crate) const fn new(policy: CheckpointPolicy, now: Progress, at: Instant) -> Self {
        Self {
            policy,
            last: now,
            at,
        }
    }

    /// Whether a limit is reached.
    pub(crate) fn is_due(&self, now: &Progress, clock: impl FnOnce() -> Instant) -> bool {
        if now.position == self.last.position {
            return false;
        }
        let reached = |limit: Option<u64>, count: u64| limit.is_some_and(|limit| count >= limit);
        let messages = now.messages.wrapping_sub(self.last.messages);
        let bytes = now.position.wrapping_sub(self.last.position);
        reached(self.policy.messages, messages)
            || reached(self.policy.bytes, bytes)
            || self
                .policy
                .interval
                .is_some_and(|limit| clock().saturating_duration_since(self.at) >= limit)
    }

    /// How far the end had come when the last one was tried.
    pub(crate) const fn last(&self) -> Progress {
        self.last
    }

    /// A checkpoint was tried.
    pub(crate) fn restart(&mut self, now: Progress, at: Instant) {
        self.last = now;
        self.at = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(messages: u64) -> Progress {
        let bytes = messages.wrapping_mul(8);
        Progress::new(bytes.wrapping_mul(2), messages, bytes)
    }

    /// Goal: each limit alone brings a checkpoint, exactly when it is reached, and only if
    /// something has moved.
    #[test]
    fn limits_are_kept_exactly() {
        let start = Instant::now();
        let new = CheckpointPolicy::new;
        let second = Duration::from_secs(1);
        let cases = [
            (new().every_messages(3), 2, Duration::ZERO, false),
            (new().every_messages(3), 3, Duration::ZERO, true),
            (new().every_bytes(48), 2, Duration::ZERO, false),
            (new().every_bytes(48), 3, Duration::ZERO, true),
            (new().every(second), 1, second / 2, false),
            (new().every(second), 1, second, true),
            (new().every(second), 0, second, false),
            (new(), 1000, second, false),
        ];
        for (policy, messages, later, due) in cases {
            let mut since = Since::new(policy, moved(0), start);
            let clock = || start + later;
            assert_eq!(since.is_due(&moved(messages), clock), due, "{policy:?}");
            since.restart(moved(messages), start + later);
            assert!(!since.is_due(&moved(messages), clock));
        }
    }

    /// Goal: a background thread looks as often as its limits need and no oftener.
    #[test]
    fn looks_are_as_often_as_needed() {
        let new = CheckpointPolicy::new;
        let minute = Duration::from_secs(60);
        assert_eq!(new().look_every(), None);
        assert_eq!(new().every(minute).look_every(), Some(minute));
        assert_eq!(new().every(Duration::ZERO).look_every(), Some(LOOK));
        assert_eq!(new().every_messages(5).look_every(), Some(LOOK));
        let both = new().every_bytes(5).every(minute);
        assert_eq!(both.look_every(), Some(LOOK));
    }
}
