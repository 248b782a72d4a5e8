//! Standard input, cut into messages.

use crate::failure::{Code, Failure};
use crate::framing::{Cut, Found, Framing};
use crate::stdin::Stdin;

/// What one read asks for.
const READ_BYTES: usize = 128 << 10;

/// Messages read from standard input. What was read and not sent can be given back.
#[derive(Debug)]
pub(crate) struct Input {
    stdin: Stdin,
    framing: Framing,
    max_message_bytes: usize,
    /// Read so far and not sent: `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The message at `start`, once it was found.
    cut: Option<Cut>,
    /// Bytes from `start` on that are known not to end a message.
    scanned: usize,
    ended: bool,
    sent_bytes: u64,
    sent_messages: u64,
}

impl Input {
    /// Standard input, for a ring whose messages have at most `max_message_bytes`.
    pub(crate) fn stdin(framing: Framing, max_message_bytes: u64) -> Result<Self, Failure> {
        Ok(Self {
            stdin: Stdin::new()?,
            framing,
            max_message_bytes: usize::try_from(max_message_bytes).unwrap_or(usize::MAX),
            buffer: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            cut: None,
            scanned: 0,
            ended: false,
            sent_bytes: 0,
            sent_messages: 0,
        })
    }

    /// The next message, if all of it was read. Asking again gives the same one.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        let cut = match self.cut {
            Some(cut) => cut,
            None => match self.framing.find(rest, self.scanned) {
                Found::Message(cut) => cut,
                Found::Part { at_least_bytes } => match self.at_a_part(at_least_bytes)? {
                    Some(cut) => cut,
                    None => return Ok(None),
                },
            },
        };
        self.cut = Some(cut);
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        Ok(rest.get(cut.start..cut.end))
    }

    /// The message that [`Self::next`] gave was sent.
    #[inline]
    pub(crate) fn advance(&mut self) {
        if let Some(cut) = self.cut.take() {
            self.start = self.start.saturating_add(cut.next).min(self.end);
            self.scanned = 0;
            self.sent_bytes = self.sent_bytes.wrapping_add(cut.next as u64);
            self.sent_messages = self.sent_messages.wrapping_add(1);
        }
    }

    /// What was read ends within a message: it is the last one, or a mistake, or more must be read.
    fn at_a_part(&mut self, at_least_bytes: u64) -> Result<Option<Cut>, Failure> {
        if at_least_bytes > self.max_message_bytes as u64 {
            return Err(self.too_long(at_least_bytes));
        }
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        self.scanned = rest.len();
        if !self.ended || rest.is_empty() {
            return Ok(None);
        }
        match self.framing.last(rest) {
            Some(cut) => Ok(Some(cut)),
            None => Err(cut_short(self.sent_messages, self.sent_bytes, rest.len())),
        }
    }

    /// Reads more, waiting for it; `idle` is called now and then meanwhile. `false`: that was all.
    pub(crate) fn fill(&mut self, idle: impl FnMut()) -> Result<bool, Failure> {
        if self.ended {
            return Ok(false);
        }
        self.make_room();
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = |stdin: &Stdin| Ok(rustix::io::read(stdin, &mut *room)?);
        let count = self.stdin.read(read, idle)?;
        self.end = self.end.saturating_add(count);
        self.ended = count == 0;
        Ok(count > 0 || self.start < self.end)
    }

    /// Moves what is left to the front, and makes the buffer longer if that fills it.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        if self.end == self.buffer.len() {
            // At most twice the longest message: more is too long.
            let longer = self.buffer.len().saturating_mul(2);
            self.buffer.resize(longer, 0);
        }
    }

    /// Gives back what was read and not sent, so that whoever reads next begins there.
    pub(crate) fn give_back(&self) {
        self.stdin.give_back(self.end.saturating_sub(self.start));
    }

    /// The message at the front does not fit into the ring.
    pub(crate) fn too_long(&self, at_least_bytes: u64) -> Failure {
        let exactly = matches!(self.framing, Framing::Fixed(_) | Framing::Prefix);
        let size = match (exactly, self.cut) {
            (true, _) => format!("{at_least_bytes} bytes"),
            (false, Some(cut)) => format!("{} bytes", cut.end.saturating_sub(cut.start)),
            (false, None) => format!("more than {} bytes", self.max_message_bytes),
        };
        Failure::new(
            Code::Other,
            format!(
                "message {} of the input, which starts at byte {}, has {size}, and the ring takes \
                 at most {}; all before it were sent",
                self.sent_messages.saturating_add(1),
                self.sent_bytes,
                self.max_message_bytes
            ),
        )
        .next("make a ring with more --capacity, or send the stream with --framing raw")
    }
}

/// The input ended within a message.
pub(crate) fn cut_short(sent_messages: u64, sent_bytes: u64, found_bytes: usize) -> Failure {
    let number = sent_messages.saturating_add(1);
    Failure::new(
        Code::Other,
        format!(
            "the input ended within message {number}, which starts at byte {sent_bytes}: only \
             {found_bytes} bytes of it are there; all before it were sent"
        ),
    )
    .next("look whether --framing fits the input and whether all of it came")
}
