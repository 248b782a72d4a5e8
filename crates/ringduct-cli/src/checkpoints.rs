//! `--checkpoint`: when what passes is made safe from power cuts.

use std::time::Duration;

use ringduct::{CheckpointError, CheckpointPolicy, Consumer, Producer};

use crate::failure::Failure;
use crate::place::Place;
use crate::size;

/// When to make checkpoints. One is always made at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// After so many messages.
    Every(u64),
    /// After so much time.
    After(Duration),
    /// At the end only.
    End,
}

impl When {
    /// Reads `every:N`, a duration, or `end`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "end" {
            return Ok(Self::End);
        }
        let wrong = || format!("{text:?} is none of every:MESSAGES, a duration such as 50ms, end");
        match text.strip_prefix("every:") {
            Some(count) => match count.parse() {
                Ok(count) if count > 0 => Ok(Self::Every(count)),
                _ => Err(wrong()),
            },
            None => match size::duration(text) {
                Ok(interval) if !interval.is_zero() => Ok(Self::After(interval)),
                _ => Err(wrong()),
            },
        }
    }

    fn policy(self) -> CheckpointPolicy {
        match self {
            Self::Every(messages) => CheckpointPolicy::new().every_messages(messages),
            // By the clock even while nothing passes.
            Self::After(interval) => CheckpointPolicy::new().every(interval).in_background(true),
            Self::End => CheckpointPolicy::new(),
        }
    }
}

/// What both ends of a ring have.
pub(crate) trait Checkpointed {
    /// Makes checkpoints from now on.
    fn set(&mut self, policy: CheckpointPolicy) -> Result<(), CheckpointError>;
    /// Makes one now.
    fn make(&mut self) -> Result<(), CheckpointError>;
}

impl Checkpointed for Producer {
    fn set(&mut self, policy: CheckpointPolicy) -> Result<(), CheckpointError> {
        self.set_checkpoints(policy)
    }

    fn make(&mut self) -> Result<(), CheckpointError> {
        self.checkpoint().map(|_durable| ())
    }
}

impl Checkpointed for Consumer {
    fn set(&mut self, policy: CheckpointPolicy) -> Result<(), CheckpointError> {
        self.set_checkpoints(policy)
    }

    fn make(&mut self) -> Result<(), CheckpointError> {
        self.checkpoint().map(|_durable| ())
    }
}

/// Makes checkpoints from now on, if that was asked for.
pub(crate) fn begin(
    when: Option<When>,
    end: &mut impl Checkpointed,
    place: &Place,
) -> Result<(), Failure> {
    when.map_or(Ok(()), |when| end.set(when.policy()))
        .map_err(|error| Failure::checkpoint(place, error))
}

/// Makes the last one, if any were asked for.
pub(crate) fn finish(
    when: Option<When>,
    end: &mut impl Checkpointed,
    place: &Place,
) -> Result<(), Failure> {
    when.map_or(Ok(()), |_| end.make())
        .map_err(|error| Failure::checkpoint(place, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_say_when() {
        assert_eq!(When::parse("every:100"), Ok(When::Every(100)));
        assert_eq!(
            When::parse("50ms"),
            Ok(When::After(Duration::from_millis(50)))
        );
        assert_eq!(When::parse("end"), Ok(When::End));
        for text in [
            "", "every", "every:", "every:0", "every:x", "0", "ends", "100x",
        ] {
            assert!(When::parse(text).is_err(), "{text}");
        }
    }
}
