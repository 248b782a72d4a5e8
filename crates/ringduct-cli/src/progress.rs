//! How far a stream is, on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{size, talk};

/// Between two looks at the clock's answer.
const EVERY: Duration = Duration::from_millis(250);

/// One line on standard error: total, rates, and how full the ring is. Nothing where no people
/// look.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    bar: ProgressBar,
    capacity_bytes: u64,
    messages: u64,
    bytes: u64,
    before: (Instant, u64, u64),
}

impl Progress {
    /// Shows something if it was asked for and standard error is a terminal.
    pub(crate) fn new(asked: bool, capacity_bytes: u64) -> Self {
        let shown = (asked && talk::to_terminal()).then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(10);
            let bar = ProgressBar::with_draw_target(None, target);
            let style = ProgressStyle::with_template("{wide_msg}");
            Shown {
                bar: style.into_iter().fold(bar, ProgressBar::with_style),
                capacity_bytes,
                messages: 0,
                bytes: 0,
                before: (Instant::now(), 0, 0),
            }
        });
        Self { shown }
    }

    /// So much has passed since the last call; `backlog_bytes` is what waits in the ring.
    pub(crate) fn passed(
        &mut self,
        messages: u64,
        bytes: u64,
        backlog_bytes: impl FnOnce() -> u64,
    ) {
        if let Some(shown) = &mut self.shown {
            shown.messages = shown.messages.wrapping_add(messages);
            shown.bytes = shown.bytes.wrapping_add(bytes);
            shown.draw(backlog_bytes);
        }
    }

    /// Says something without tearing the line.
    pub(crate) fn say(&self, what: std::fmt::Arguments<'_>) {
        match &self.shown {
            Some(shown) => shown.bar.suspend(|| talk::say(what)),
            None => talk::say(what),
        }
    }

    /// The last word: what has passed in all, and it stays.
    pub(crate) fn finish(self) {
        if let Some(shown) = self.shown {
            let (messages, total) = (shown.messages, size::show_bytes(shown.bytes));
            let seconds = shown.bar.elapsed().as_secs_f64();
            shown
                .bar
                .finish_with_message(format!("{messages} messages, {total} in {seconds:.1} s"));
        }
    }
}

impl Shown {
    fn draw(&mut self, backlog_bytes: impl FnOnce() -> u64) {
        let now = Instant::now();
        let (then, messages, bytes) = self.before;
        let passed = now.saturating_duration_since(then);
        if passed < EVERY {
            return;
        }
        let rate = |count: u64| {
            let per_s = u128::from(count)
                .saturating_mul(1_000_000)
                .checked_div(passed.as_micros());
            u64::try_from(per_s.unwrap_or(0)).unwrap_or(u64::MAX)
        };
        let full = backlog_bytes()
            .saturating_mul(100)
            .checked_div(self.capacity_bytes);
        self.bar.set_message(format!(
            "{} messages, {}; {} messages/s, {}/s; ring {} % full",
            self.messages,
            size::show_bytes(self.bytes),
            rate(self.messages.wrapping_sub(messages)),
            size::show_bytes(rate(self.bytes.wrapping_sub(bytes))),
            full.unwrap_or(0)
        ));
        self.bar.tick();
        self.before = (now, self.messages, self.bytes);
    }
}
