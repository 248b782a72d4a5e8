//! So many messages a second and no more.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::signals;

/// How far a stream that stood still may run to catch up.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Says when the next message may pass.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Between two messages; `None` if they may pass as they like.
    interval: Option<Duration>,
    next: Instant,
}

/// Reads a rate: `1000`, `0.5`, `1000/s`.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    match number.parse::<f64>() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err(format!(
            "{text:?} is not a number of messages a second, 0.001 to 1e9"
        )),
    }
}

impl Pacer {
    /// At most `rate` messages a second.
    pub(crate) fn new(rate: Option<f64>) -> Self {
        Self {
            interval: rate.map(|rate| Duration::from_secs_f64(rate.recip())),
            next: Instant::now(),
        }
    }

    /// Waits until a message may pass, and says how many may.
    pub(crate) fn wait(&self, mut idle: impl FnMut()) -> Result<u64, Failure> {
        let Some(interval) = self.interval else {
            return Ok(u64::MAX);
        };
        loop {
            let now = Instant::now();
            if now >= self.next {
                return Ok(due(now.saturating_duration_since(self.next), interval));
            }
            signals::check()?;
            idle();
            std::thread::sleep(
                self.next
                    .saturating_duration_since(now)
                    .min(signals::MOMENT),
            );
        }
    }

    /// So many have passed.
    pub(crate) fn passed(&mut self, messages: u64) {
        let Some(interval) = self.interval else {
            return;
        };
        let count = u32::try_from(messages).unwrap_or(u32::MAX);
        self.next = self
            .next
            .checked_add(interval.saturating_mul(count))
            .unwrap_or(self.next);
        if let Some(earliest) = Instant::now().checked_sub(CATCH_UP) {
            self.next = self.next.max(earliest);
        }
    }
}

/// How many are due when the first of them is late by so much.
fn due(late: Duration, interval: Duration) -> u64 {
    let more = late
        .as_nanos()
        .checked_div(interval.as_nanos())
        .unwrap_or(0);
    u64::try_from(more).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_due_at_once_and_the_next_after_an_interval() {
        let second = Duration::from_secs(1);
        assert_eq!(due(Duration::ZERO, second), 1);
        assert_eq!(due(Duration::from_millis(999), second), 1);
        assert_eq!(due(second, second), 2);
        assert_eq!(
            due(Duration::from_millis(100), Duration::from_micros(10)),
            10_001
        );
    }

    #[test]
    fn what_has_passed_is_paid_for() {
        let mut pacer = Pacer::new(Some(10.0));
        let began = pacer.next;
        pacer.passed(3);
        assert_eq!(pacer.next, began + Duration::from_millis(300));
        let mut free = Pacer::new(None);
        free.passed(3);
        assert_eq!(free.wait(|| ()).ok(), Some(u64::MAX));
    }

    #[test]
    fn rates_are_positive() {
        assert_eq!(rate("1000/s"), Ok(1000.0));
        assert_eq!(rate("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "inf", "", "1k", "1e10"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
