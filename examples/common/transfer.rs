//! What `send` and `recv` share: finding the ring, and showing how far they are.
#![expect(
    clippy::print_stderr,
    reason = "standard output is for the data, standard error for the user"
)]

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringduct::{Location, OpenError, Options, Ring};

/// Opens the ring at `location`, or makes one with the defaults and says so.
pub(crate) fn open_or_create(location: &Location) -> Result<Ring, OpenError> {
    let options = Options::new();
    match options.open(location) {
        Err(OpenError::NotFound { .. }) => {
            let ring = options.open_or_create(location)?;
            let capacity_bytes = ring.capacity_bytes();
            say(&format!(
                "{location}: made a ring of {capacity_bytes} bytes"
            ));
            Ok(ring)
        }
        outcome => outcome,
    }
}

/// How long to wait before looking whether the program was asked to end.
pub(crate) fn a_moment() -> Option<Instant> {
    Instant::now().checked_add(Duration::from_millis(200))
}

/// Says something to the user.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Bytes and rate on standard error, drawn twice a second, if that is a terminal.
pub(crate) fn progress() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(2));
    match ProgressStyle::with_template("{bytes} in {elapsed}, {binary_bytes_per_sec}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
