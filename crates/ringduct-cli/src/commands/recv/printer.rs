//! Messages to standard output, many with one call.

use std::ops::ControlFlow;

use ringduct::Consumer;

use crate::failure::{Code, Failure};
use crate::format::Format;
use crate::framing::Framing;
use crate::output::Output;

/// The most that is written at once, so that the producer works meanwhile.
const PAGE_BYTES: usize = 64 << 10;

/// A message of this size is worth a call of its own, which copies nothing.
const LONG_BYTES: usize = 16 << 10;

/// Writes messages to standard output.
pub(super) struct Printer {
    output: Output,
    framing: Framing,
    format: Format,
    page: Vec<u8>,
    rendered: String,
    /// Since the last flush: bytes of messages, and bytes in the ring.
    taken_bytes: usize,
    record_bytes: usize,
    most_bytes: usize,
    failed: Option<Failure>,
}

impl Printer {
    /// For a ring of this capacity.
    pub(super) fn new(
        framing: Framing,
        format: Format,
        capacity_bytes: u64,
    ) -> Result<Self, Failure> {
        let eighth = usize::try_from(capacity_bytes / 8).unwrap_or(PAGE_BYTES);
        Ok(Self {
            output: Output::stdout()?,
            framing,
            format,
            page: Vec::with_capacity(PAGE_BYTES),
            rendered: String::new(),
            taken_bytes: 0,
            record_bytes: 0,
            most_bytes: eighth.min(PAGE_BYTES),
            failed: None,
        })
    }

    /// Takes a message; breaks when the page is full.
    #[inline]
    pub(super) fn take(&mut self, message: &[u8]) -> ControlFlow<()> {
        if let Err(failure) = self.put(message) {
            self.failed = Some(failure);
            return ControlFlow::Break(());
        }
        self.taken_bytes = self.taken_bytes.saturating_add(message.len());
        // Its commit word counts too: empty ones must not go on for ever.
        let record_bytes = message.len().saturating_add(8);
        self.record_bytes = self.record_bytes.saturating_add(record_bytes);
        if self.record_bytes < self.most_bytes {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    /// Whether the next message, of this length, can be written from where it lies.
    #[inline]
    pub(super) fn takes_in_place(&self, length: usize) -> bool {
        let as_it_is = match self.framing {
            Framing::Raw => true,
            Framing::Fixed(expected) => length == expected,
            Framing::Line | Framing::Nul | Framing::Prefix => false,
        };
        as_it_is && self.format == Format::Raw && length >= LONG_BYTES
    }

    /// Writes the next message, of this length, from where it lies.
    pub(super) fn take_in_place(&mut self, rx: &mut Consumer, length: usize) {
        let written = self
            .output
            .write_with(length, |file, start| rx.write_next(file, start));
        self.failed = written.err();
        self.taken_bytes = length;
    }

    #[inline]
    fn put(&mut self, message: &[u8]) -> Result<(), Failure> {
        if let Framing::Fixed(expected) = self.framing {
            if message.len() != expected {
                return Err(wrong_length(expected, message.len()));
            }
        }
        if self.format == Format::Raw {
            self.framing.append(message, &mut self.page);
        } else {
            self.format.render(message, &mut self.rendered);
            let rendered = self.rendered.as_bytes();
            self.framing.append(rendered, &mut self.page);
        }
        Ok(())
    }

    /// Writes what was taken.
    pub(super) fn flush(&mut self) -> Result<u64, Failure> {
        self.output.write_all(&self.page)?;
        self.page.clear();
        self.record_bytes = 0;
        let bytes = std::mem::take(&mut self.taken_bytes);
        match self.failed.take() {
            Some(failure) => Err(failure),
            None => Ok(bytes as u64),
        }
    }
}

fn wrong_length(expected: usize, found: usize) -> Failure {
    Failure::new(
        Code::Other,
        format!("a message of {found} bytes, and --framing fixed says {expected}; it stays there"),
    )
    .next("receive with --framing prefix, which says how long each message is")
}
