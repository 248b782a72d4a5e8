//! Taking: look at the next commit word, bound it, copy or view, give the space back.

use super::Geometry;
use super::account::{Account, Progress, STRIDE_BYTES};
use super::order::{COMMIT_LOAD, DURABLE_LOAD, HEAD_STORE, TAIL_LOAD};
use super::parking::{Waker, ticket_without_fence};
use crate::error::{Corruption, Damage};
use crate::layout::{COMMIT_BYTES, Commit, EMPTY, Role, halves, padding_bytes, record_bytes, word};
use crate::memory::{Memory, Order, Place};
use crate::position;

/// The largest ring in which lines are given back: the lines of larger ones are in no cache any more
/// when the producer comes round.
const MOST_RETURNING_BYTES: u64 = 8 << 20;

/// After a message that had others behind it, so many more are taken for parts of a stream.
const STREAM_MESSAGES: u32 = 16;

/// What a consumer does with the lines of long messages in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// Nothing.
    Kept,
    /// It will give them back; there was no such message yet.
    ToReturn,
    /// It gives them back, and the producer knows.
    Returned,
}

/// The consumer's half of the protocol.
#[derive(Debug)]
pub(crate) struct ConsumerCore<M> {
    memory: M,
    geometry: Geometry,
    released: Progress,
    account: Account,
    /// Bytes of records to release before the account is settled.
    unsettled: u64,
    /// Messages shorter than this may go the short way; zero sends all of them the long way, as a
    /// ring with checksums and a release with fences need it.
    short_below_bytes: u64,
    /// The same for [`Self::take_checked`], in a ring with checksums.
    checked_below_bytes: u64,
    /// Whether every message passes by what makes checkpoints.
    always_long: bool,
    /// Whether only what is durable is delivered.
    durable_only: bool,
    /// What becomes of the lines of long messages: see [`Self::return_lines`].
    lines: Lines,
    /// For how many messages more that is done, though nothing lies behind them.
    returns_left: u32,
    /// What the short way of a ring with checksums has found to be wrong.
    mismatch: Option<Corruption>,
    waker: Waker,
}

/// A published record whose commit word was read once and bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    position: u64,
    commit: Commit,
}

impl Record {
    /// A record whose commit word was bounded by [`Geometry`].
    pub(super) const fn new(position: u64, commit: Commit) -> Self {
        Self { position, commit }
    }

    /// Where the record starts.
    pub(crate) const fn position(self) -> u64 {
        self.position
    }

    /// Where its payload starts.
    pub(crate) const fn payload(self) -> u64 {
        position::advance(self.position, COMMIT_BYTES)
    }

    /// Bytes of its payload.
    pub(crate) const fn message_bytes(self) -> u32 {
        self.commit.message_bytes()
    }

    /// Bytes behind the payload that belong to the record.
    pub(crate) const fn padding_bytes(self) -> u64 {
        padding_bytes(self.commit.message_bytes() as u64)
    }

    /// The bounded commit word.
    pub(crate) const fn commit(self) -> Commit {
        self.commit
    }

    /// Where the next record starts.
    pub(crate) const fn end(self) -> u64 {
        position::advance(self.position, self.commit.record_bytes())
    }
}

/// Records that are taken and not yet released: a run that starts at the head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    end: u64,
    messages: u64,
    padding: u64,
}

impl Taken {
    /// Adds a record that starts where the run ends.
    #[inline]
    pub(crate) fn add(&mut self, record: Record) {
        self.end = record.end();
        self.messages = self.messages.wrapping_add(1);
        self.padding = self.padding.wrapping_add(record.padding_bytes());
    }

    /// Records in the run.
    pub(crate) const fn messages(&self) -> u64 {
        self.messages
    }
}

impl<M: Memory> ConsumerCore<M> {
    /// Continues at `released`, which recovery has checked.
    pub(crate) fn new(memory: M, geometry: Geometry, released: Progress, fences: bool) -> Self {
        let mut core = Self {
            account: Account::resume(&memory, Role::Consumer),
            unsettled: STRIDE_BYTES,
            memory,
            geometry,
            released,
            short_below_bytes: 0,
            checked_below_bytes: 0,
            always_long: false,
            durable_only: false,
            lines: Lines::Kept,
            returns_left: 0,
            mismatch: None,
            waker: Waker::new(Role::Consumer, fences),
        };
        core.choose_way();
        core
    }

    fn choose_way(&mut self) {
        let below = self.geometry.max_message_bytes.wrapping_add(1);
        let long = self.waker.fences() || self.always_long || self.durable_only;
        (self.short_below_bytes, self.checked_below_bytes) =
            match (long, self.geometry.is_checksummed()) {
                (true, _) => (0, 0),
                (false, false) => (below, 0),
                (false, true) => (0, below),
            };
    }

    /// Copies the next message to the start of `buffer` and releases it, the short way: no
    /// checksum, no fence. `None`: nothing was done; the long way tells why.
    ///
    /// The loads and stores are those of [`Self::next`], [`Self::copy`] and [`Self::release`], in
    /// that order. A record that starts at the head and is no longer than the longest message
    /// ends inside the ring. A message that fills the buffer goes a way of its own, on which all
    /// lengths are known where the buffer's is.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most of it vanishes for a known length"
    )]
    pub(crate) fn take_short(&mut self, buffer: &mut [u8]) -> Option<(usize, bool)> {
        let start = self.released.position;
        let place = self.memory.place(start);
        let word = place.load(COMMIT_LOAD);
        let most = buffer.len() as u64;
        if word == Commit::plain(most) {
            if most >= self.short_below_bytes {
                return None;
            }
            place.read(buffer);
            self.return_lines(start, buffer);
            return self.finish_short(start, buffer.len());
        }
        // An empty word becomes the largest number; one with a checksum is beyond every length.
        let message_bytes = word.wrapping_sub(1);
        if message_bytes >= self.short_below_bytes {
            return None;
        }
        let length = usize::try_from(message_bytes).ok()?;
        let out = buffer.get_mut(..length)?;
        place.read(out);
        self.return_lines(start, out);
        self.finish_short(start, length)
    }

    /// The same in a ring with checksums. `None` also when the copy does not match its checksum;
    /// [`Self::mismatch`] says so then. Such a record is not looked at once more: it may be another
    /// one by then, and part of this one is in the buffer.
    #[inline]
    pub(crate) fn take_checked(&mut self, buffer: &mut [u8]) -> Option<(usize, bool)> {
        let start = self.released.position;
        let place = self.memory.place(start);
        let [stored, checksum] = halves(place.load(COMMIT_LOAD));
        let message_bytes = stored.wrapping_sub(1); // an empty word becomes the largest number
        if u64::from(message_bytes) >= self.checked_below_bytes {
            return None;
        }
        let out = buffer.get_mut(..message_bytes as usize)?;
        place.read(out);
        let sum = self.geometry.checksum_of(start, out);
        if sum != checksum {
            self.note_mismatch(start, sum, checksum);
            return None;
        }
        self.return_lines(start, out);
        self.finish_short(start, message_bytes as usize)
    }

    #[cold]
    #[inline(never)]
    fn note_mismatch(&mut self, position: u64, sum: u32, found: u32) {
        // What was not there at all is another error, which the long way reports.
        self.mismatch = self.memory.is_intact().then_some(Corruption {
            what: Damage::RecordChecksum,
            position,
            expected: u64::from(sum),
            found: u64::from(found),
        });
    }

    /// What [`Self::take_checked`] has found to be wrong.
    pub(crate) const fn mismatch(&self) -> Option<Corruption> {
        self.mismatch
    }

    /// Gives the producer back the lines of a message at `start` that was copied to `payload` and is
    /// not released yet, if it is a long one.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "vanishes for a short message of known length"
    )]
    pub(crate) fn return_lines(&mut self, start: u64, payload: &[u8]) {
        if M::RETURNED_BYTES.contains(&(payload.len() as u64)) && self.lines != Lines::Kept {
            self.return_long(start, payload);
        }
    }

    /// Stores to the payload what was read there. No byte changes, whenever this side dies, and until
    /// the head is stored the space is this side's alone: a correct producer stores there only after
    /// it has seen a head beyond it ("head"), and with it these stores.
    ///
    /// For what it does to caches: where both have a copy of a line, the producer's next store to it
    /// waits for this side's; where this side has it alone, changed, a wide copy of the producer takes
    /// it at once. That costs time here, so it is done in streams only: while the next message is
    /// there already, and for some messages after.
    ///
    /// What was not really read must not be stored: the two mappings of a place may differ once a page
    /// is lost.
    #[inline(never)]
    fn return_long(&mut self, start: u64, payload: &[u8]) {
        if !self.memory.is_intact() {
            return;
        }
        let end = position::advance(start, record_bytes(payload.len() as u64));
        if self.memory.load_data(end, Order::RELAXED) != EMPTY {
            self.returns_left = STREAM_MESSAGES;
        } else if self.returns_left == 0 {
            return;
        } else {
            self.returns_left = self.returns_left.wrapping_sub(1); // it is not zero
        }
        if self.lines == Lines::ToReturn {
            self.say_of_lines(Lines::Returned);
        }
        let first = position::advance(start, COMMIT_BYTES);
        self.memory.copy_back(first, payload);
    }

    /// Sets what becomes of lines, and tells the producer whether they come back.
    fn say_of_lines(&mut self, lines: Lines) {
        self.lines = lines;
        let word = word::RETURNS.of(Role::Consumer);
        let returned = u64::from(lines == Lines::Returned);
        self.memory.store(word, returned, Order::RELAXED);
    }

    /// Lets this side give back the lines of long messages, or not.
    ///
    /// Without a right to write the data it must not. Durable rings do without: it would make pages
    /// dirty that need no sync.
    pub(crate) fn choose_lines(&mut self, may_write: bool) {
        let is_small = self.geometry.capacity_bytes <= MOST_RETURNING_BYTES;
        self.say_of_lines(if may_write && is_small && !self.geometry.durable {
            Lines::ToReturn
        } else {
            Lines::Kept
        });
    }

    /// Releases the message of this length at the head, which was copied. `None`: it was not there.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "half of the hot path")]
    fn finish_short(&mut self, start: u64, length: usize) -> Option<(usize, bool)> {
        if !self.memory.is_intact() {
            return None;
        }
        let message_bytes = length as u64;
        let record = record_bytes(message_bytes);
        let end = position::advance(start, record);
        self.give_back(end, 1, padding_bytes(message_bytes));
        self.note_released(record);
        let ticket = ticket_without_fence(&self.memory, Role::Producer);
        Some((length, self.wake_due(ticket)))
    }

    /// The carrier.
    pub(crate) const fn memory(&self) -> &M {
        &self.memory
    }

    /// Sizes and rules of this ring.
    pub(crate) const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Position and counters after the last released record.
    pub(crate) const fn released(&self) -> &Progress {
        &self.released
    }

    /// Starts a run at the head.
    #[inline]
    pub(crate) const fn begin(&self) -> Taken {
        Taken {
            end: self.released.position,
            messages: 0,
            padding: 0,
        }
    }

    /// The record after a run, if it is published. Loads its commit word once.
    #[inline]
    pub(crate) fn next(&self, taken: &Taken) -> Result<Option<Record>, Corruption> {
        let word = self.memory.load_data(taken.end, COMMIT_LOAD);
        if word == EMPTY || !self.is_due(taken.end) {
            return Ok(None);
        }
        let record = self.geometry.record(taken.end, word)?;
        // A correct producer always leaves an empty word behind the last record, so a run cannot
        // reach round the ring.
        let reach = position::advance(record.end(), COMMIT_BYTES);
        let used = position::distance(self.released.position, reach);
        if used > self.geometry.capacity_bytes {
            return Err(Corruption {
                what: Damage::RecordBeyondEnd,
                position: taken.end,
                expected: self.geometry.capacity_bytes,
                found: used,
            });
        }
        Ok(Some(record))
    }

    /// Whether a message is there, or something that the next attempt will report.
    #[inline]
    pub(crate) fn has_message(&self, taken: &Taken) -> bool {
        self.memory.load_data(taken.end, COMMIT_LOAD) != EMPTY && self.is_due(taken.end)
    }

    /// Whether a published record at `at` may be delivered: always, unless only durable ones are
    /// wanted.
    #[inline]
    fn is_due(&self, at: u64) -> bool {
        !self.durable_only || {
            let durable = word::DURABLE.of(Role::Producer);
            !position::at_or_after(at, self.memory.load(durable, DURABLE_LOAD))
        }
    }

    /// Delivers only what a checkpoint of the producer covers, or everything.
    pub(crate) fn take_durable_only(&mut self, durable_only: bool) {
        self.durable_only = durable_only;
        self.choose_way();
    }

    /// The session of a producer that closed and left nothing to take, unless it is `reported`.
    pub(crate) fn drained(&self, reported: u64) -> Option<u64> {
        let (session, closed) = super::read_session(&self.memory, Role::Producer);
        if !closed || session == reported {
            return None;
        }
        // "closed": everything published comes before the mark, so look once more.
        let word = self.memory.load_data(self.released.position, COMMIT_LOAD);
        (word == EMPTY).then_some(session)
    }

    /// What is wrong when nothing is at the head although the producer has passed it: the record
    /// was taken out of the file, or overwritten.
    pub(crate) fn missing(&self) -> Option<Corruption> {
        // "tail": every record in front of it is visible.
        let tail = super::read_position(&self.memory, Role::Producer, TAIL_LOAD);
        let start = self.released.position;
        let passed = tail != start && position::at_or_after(tail, start);
        let word = self.memory.load_data(start, COMMIT_LOAD);
        (passed && word == EMPTY).then_some(Corruption {
            what: Damage::RecordLength,
            position: start,
            expected: self.geometry.max_message_bytes,
            found: 0,
        })
    }

    /// Copies a record's payload to `out`, exactly as long as the message, and checks the copy.
    #[inline]
    pub(crate) fn copy(&self, record: Record, out: &mut [u8]) -> Result<(), Corruption> {
        self.memory.place(record.position).read(out);
        self.geometry.verify(record, out)
    }

    /// Gives the space of a run back. `true`: the producer sleeps and must be woken.
    ///
    /// A kill before the store leaves the run to be delivered again, after it the run is gone.
    #[inline]
    pub(crate) fn release(&mut self, taken: Taken) -> bool {
        if taken.messages == 0 {
            return false;
        }
        let length = position::distance(self.released.position, taken.end);
        self.give_back(taken.end, taken.messages, taken.padding);
        self.note_released(length);
        self.wake_due(self.waker.ticket(&self.memory))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "half of the hot path")]
    fn give_back(&mut self, end: u64, messages: u64, padding: u64) {
        self.released.advance(end, messages, padding);
        self.memory
            .store(word::POSITION.of(Role::Consumer), end, HEAD_STORE);
    }

    /// Settles the account about once in a stride.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "two instructions of the hot path")]
    fn note_released(&mut self, record_bytes: u64) {
        let (left, exceeded) = self.unsettled.overflowing_sub(record_bytes);
        self.unsettled = left;
        if exceeded {
            self.settle_stride();
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_stride(&mut self) {
        self.unsettled = STRIDE_BYTES;
        self.settle();
    }

    /// Settles the account: the counters are brought up to the head. Only observers need it.
    #[inline]
    pub(crate) fn settle(&mut self) {
        self.account
            .settle(&self.memory, Role::Consumer, &self.released);
    }

    /// Whether the producer, whose ticket was loaded after a release, must be woken for it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one instruction of the hot path")]
    fn wake_due(&mut self, ticket: u64) -> bool {
        ticket != 0 && self.answer(ticket)
    }

    #[cold]
    #[inline(never)]
    fn answer(&mut self, ticket: u64) -> bool {
        let reached = self.released.position;
        let wake = self.waker.answer(&self.memory, ticket, reached);
        self.choose_way(); // the sleeper may have asked for fences
        wake
    }

    /// Durable rings: whether the producer has run out of space that a checkpoint covers.
    pub(crate) fn producer_is_short(&self) -> bool {
        self.memory
            .load(word::SHORT.of(Role::Producer), Order::RELAXED)
            != 0
    }

    /// Sends every message the long way from now on, or no longer.
    pub(crate) fn go_long_way(&mut self, always: bool) {
        self.always_long = always;
        self.choose_way();
    }

    /// Bytes between the head and the producer's tail, commit words and padding included.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        let tail = super::read_position(&self.memory, Role::Producer, TAIL_LOAD);
        // The tail may be one publish behind the records, and so behind the head.
        if position::at_or_after(tail, self.released.position) {
            position::distance(self.released.position, tail).min(self.geometry.capacity_bytes)
        } else {
            0
        }
    }

    /// Refuses a head that is farther beyond the tail than one publish reaches: the records there
    /// lead round the ring, and nobody publishes them.
    pub(crate) fn check_tail(&self) -> Result<(), Corruption> {
        let tail = super::read_position(&self.memory, Role::Producer, TAIL_LOAD);
        let head = self.released.position;
        if position::at_or_after(tail, head)
            || position::distance(tail, head) <= self.geometry.capacity_bytes
        {
            return Ok(());
        }
        Err(Corruption {
            what: Damage::Tail,
            position: head,
            expected: head,
            found: tail,
        })
    }

    /// Leaves the closed mark of `session`. `true`: the peer sleeps and must be woken.
    pub(crate) fn close(&mut self, session: u64) -> bool {
        self.settle();
        super::leave_mark(
            &self.memory,
            Role::Consumer,
            session,
            self.released.position,
        );
        self.waker.rouse(&self.memory)
    }
}
