//! What is counted, the bar while it goes on, and the figures at the end.
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::{CreationError, Histogram};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringduct::Observer;

/// The count and the latencies of one phase.
#[derive(Debug)]
pub(crate) struct Phase {
    name: &'static str,
    pub(crate) messages: u64,
    bytes: u64,
    latencies_ns: Histogram<u64>,
    started: Instant,
    took: Duration,
}

impl Phase {
    pub(crate) fn new(name: &'static str) -> Result<Self, CreationError> {
        Ok(Self {
            name,
            messages: 0,
            bytes: 0,
            latencies_ns: Histogram::new_with_bounds(1, 60_000_000_000, 3)?,
            started: Instant::now(),
            took: Duration::ZERO,
        })
    }

    pub(crate) fn start(&mut self) {
        self.started = Instant::now();
    }

    pub(crate) fn stop(&mut self) {
        self.took = self.started.elapsed();
    }

    pub(crate) fn count(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }

    pub(crate) fn record(&mut self, now: u64, sent_at: u64) {
        self.latencies_ns
            .saturating_record(now.saturating_sub(sent_at));
    }
}

/// Prints the figures.
pub(crate) fn print(stream: &Phase, calm: &Phase) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let seconds = stream.took.as_secs_f64();
    let (messages, megabytes) = (stream.messages as f64, stream.bytes as f64 / 1e6);
    writeln!(
        out,
        "{} messages, {megabytes:.0} MB, every byte checked, from one process to another in \
         {seconds:.2} s",
        stream.messages
    )?;
    writeln!(
        out,
        "rate: {:.2} million messages/s, {:.0} MB/s",
        messages / seconds / 1e6,
        megabytes / seconds
    )?;
    writeln!(out, "one-way latency in microseconds, percentiles:")?;
    writeln!(
        out,
        "{:<16}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "", "50", "90", "99", "99.9", "max"
    )?;
    for phase in [stream, calm] {
        write!(out, "{:<16}", phase.name)?;
        for percentile in [0.5, 0.9, 0.99, 0.999, 1.0] {
            let ns = phase.latencies_ns.value_at_quantile(percentile);
            write!(out, "{:>12.2}", ns as f64 / 1e3)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// A bar on a terminal, drawn twice a second by a thread that only looks on.
#[derive(Debug)]
pub(crate) struct Bar {
    drawing: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Bar {
    /// Draws until it is dropped; does nothing where standard error is no terminal.
    pub(crate) fn start(observer: Observer, messages: u64) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(2);
        if target.is_hidden() {
            return Self { drawing: None };
        }
        let bar = ProgressBar::with_draw_target(Some(messages), target);
        let template = "{wide_bar} {human_pos} of {human_len} messages";
        let style = ProgressStyle::with_template(template);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let pause = Duration::from_millis(500);
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                bar.set_position(observer.snapshot().consumer.totals.messages);
            }
            bar.finish_and_clear();
        });
        Self {
            drawing: Some((stop, thread)),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.drawing.take() {
            drop(stop);
            drop(thread.join());
        }
    }
}
