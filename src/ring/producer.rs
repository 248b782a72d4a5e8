//! Publishing: claim space, write payloads, make them visible with one store, say how far it goes.

use super::Geometry;
use super::account::{Account, Progress, STRIDE_BYTES};
use super::order::{COMMIT_STORE, DURABLE_LOAD, HEAD_LOAD, LAP_RELEASE, TAIL_LOAD, TAIL_STORE};
use super::parking::{Waker, ticket_without_fence};
use crate::error::{Corruption, Damage, TrySendError};
use crate::layout::{COMMIT_BYTES, Commit, EMPTY, Role, padding_bytes, record_bytes, word};
use crate::memory::{LINE_BYTES, Memory, Order, Place};
use crate::position::{self, ALIGN_BYTES};

/// What lies in the ring when it is used for a stream rather than for questions and answers.
const STREAM_BYTES: u64 = 256;

/// After a message of at least so many bytes the lines of a next one like it are made this core's
/// own; for shorter ones, several of which lie in a line, that is done once in a stride.
const OWNED_EACH_BYTES: u64 = 16;

/// How much further that goes in a stream.
const STREAM_AHEAD_BYTES: u64 = 1024;

/// What the messages are. It decides which cache lines are worth taking ahead, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Each is waited for: the consumer is never far behind.
    Answers,
    /// The consumer is behind.
    Stream,
    /// The same, and it gives back the lines of long messages.
    ReturningStream,
}

/// The producer's half of the protocol.
#[derive(Debug)]
pub(crate) struct ProducerCore<M> {
    memory: M,
    geometry: Geometry,
    published: Progress,
    account: Account,
    /// The consumer's head as last seen: a bound, never ahead of the real one.
    head: u64,
    /// Room for a stride, or for the longest message of whole words if that is shorter: so too long
    /// a message never fits in it.
    stride_bytes: u64,
    /// Bytes that messages may still take the short way before [`Self::grant`] is asked again.
    room: u64,
    /// The same in a ring with checksums, for [`Self::send_checked`].
    checked_room: u64,
    /// What this is, as the head said when it was looked at last.
    flow: Flow,
    /// How far cache lines were made this core's own.
    owned: u64,
    /// Durable rings: as far as records may have been written and not published.
    reach: u64,
    /// Whether the consumer was asked for a checkpoint.
    short: bool,
    /// Whether every message passes by what makes checkpoints.
    always_long: bool,
    waker: Waker,
}

/// Records that are written and not yet visible: a run that starts at the producer's tail.
///
/// Dropping one abandons the records: nothing in shared memory says that they were there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    /// Position after the last record of the run.
    end: u64,
    /// Commit word of the first record, held back until all is written; [`EMPTY`] without records.
    first: u64,
    messages: u64,
    padding: u64,
}

impl Pending {
    /// Records in the run.
    pub(crate) const fn messages(&self) -> u64 {
        self.messages
    }
}

/// Space for one record at the end of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    position: u64,
    message_bytes: u32,
}

impl Space {
    /// Where the payload goes.
    pub(crate) const fn payload(self) -> u64 {
        position::advance(self.position, COMMIT_BYTES)
    }

    /// Bytes of payload that fit.
    pub(crate) const fn message_bytes(self) -> u32 {
        self.message_bytes
    }
}

impl<M: Memory> ProducerCore<M> {
    /// Continues at `published`, which recovery has checked against `head`: everything before that
    /// may be overwritten.
    pub(crate) fn new(
        memory: M,
        geometry: Geometry,
        published: Progress,
        head: u64,
        fences: bool,
    ) -> Self {
        // "lap": the head was loaded before; see `refresh_head`.
        memory.fence(LAP_RELEASE);
        let longest = record_bytes(geometry.max_message_bytes & !(ALIGN_BYTES - 1));
        Self {
            stride_bytes: STRIDE_BYTES.min(position::advance(longest, COMMIT_BYTES)),
            account: Account::resume(&memory, Role::Producer),
            memory,
            geometry,
            published,
            head,
            room: 0,
            checked_room: 0,
            flow: Flow::Answers,
            owned: published.position,
            reach: published.position,
            short: false,
            always_long: false,
            waker: Waker::new(Role::Producer, fences),
        }
    }

    /// The carrier.
    pub(crate) const fn memory(&self) -> &M {
        &self.memory
    }

    /// Sizes and rules of this ring.
    pub(crate) const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Position and counters after the last published record.
    pub(crate) const fn published(&self) -> &Progress {
        &self.published
    }

    /// Publishes one message the short way: room is known, no checksum, no fence. `true`: the
    /// consumer sleeps and must be woken. `None`: nothing was done.
    ///
    /// The stores are those of [`Self::push`] and [`Self::publish`], in that order.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most of it vanishes for a known length"
    )]
    pub(crate) fn send_short(&mut self, message: &[u8]) -> Option<bool> {
        let message_bytes = message.len() as u64;
        let record = record_bytes(message_bytes); // the length of a slice: nothing wraps
        let needed = position::advance(record, COMMIT_BYTES);
        if needed > self.room && !self.grant(message_bytes) {
            return None;
        }
        let start = self.published.position;
        let commit = Commit::plain(message_bytes);
        if !self
            .memory
            .place(start)
            .write(message, commit, COMMIT_STORE)
        {
            return None;
        }
        self.room = self.room.wrapping_sub(record); // at least a word is left
        let end = position::advance(start, record);
        self.reach(end, 1, padding_bytes(message_bytes));
        let ticket = ticket_without_fence(&self.memory, Role::Consumer);
        let wake = self.wake_due(ticket);
        if message_bytes >= OWNED_EACH_BYTES && !self.comes_back(message_bytes) {
            self.own_ahead(needed);
        }
        Some(wake)
    }

    /// The same in a ring with checksums.
    #[inline]
    pub(crate) fn send_checked(&mut self, message: &[u8]) -> Option<bool> {
        let message_bytes = message.len() as u64;
        let record = record_bytes(message_bytes);
        let needed = position::advance(record, COMMIT_BYTES);
        if needed > self.checked_room {
            self.checked_room = self.stride_for(message_bytes, true)?;
        }
        let start = self.published.position;
        let checksum = self.geometry.checksum_of(start, message);
        let commit = Commit::plain(message_bytes) | u64::from(checksum) << 32; // the room bounds it
        if !self
            .memory
            .place(start)
            .write(message, commit, COMMIT_STORE)
        {
            return None;
        }
        self.checked_room = self.checked_room.wrapping_sub(record);
        let end = position::advance(start, record);
        self.reach(end, 1, padding_bytes(message_bytes));
        let ticket = ticket_without_fence(&self.memory, Role::Consumer);
        let wake = self.wake_due(ticket);
        if message_bytes >= OWNED_EACH_BYTES && !self.comes_back(message_bytes) {
            self.own_ahead(needed);
        }
        Some(wake)
    }

    /// Publishes one message, a short way if one is open. `true`: the consumer sleeps and must be
    /// woken.
    #[cfg(test)]
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<bool, TrySendError> {
        let short = self.send_short(message);
        match short.or_else(|| self.send_checked(message)) {
            Some(wake) => Ok(wake),
            None => self.send_long(message),
        }
    }

    /// Publishes one message the general way. `true`: the consumer sleeps and must be woken.
    pub(crate) fn send_long(&mut self, message: &[u8]) -> Result<bool, TrySendError> {
        let mut pending = self.begin();
        self.push(&mut pending, message)?;
        Ok(self.publish(pending))
    }

    /// Lets messages take the short way for another stride, the next of which has `message_bytes`.
    #[inline(never)]
    fn grant(&mut self, message_bytes: u64) -> bool {
        let room = self.stride_for(message_bytes, false);
        self.room = room.unwrap_or(self.room);
        room.is_some()
    }

    /// Room for a stride, the next message of which has `message_bytes`, in a ring with checksums
    /// or one without. `None`: it is too long, there is no room as far as is known, the ring is not
    /// such a one, or a publish needs a fence.
    ///
    /// A message that is too long must not fit the room that others have left: see
    /// [`Self::stride_bytes`]. A message that needs more room than a stride leaves none for others.
    #[inline]
    fn stride_for(&mut self, message_bytes: u64, checked: bool) -> Option<u64> {
        let longest = self.geometry.max_message_bytes;
        let short_way = !self.waker.fences() && self.geometry.is_checksummed() == checked;
        if !short_way || message_bytes > longest || self.is_barred() {
            return None;
        }
        let start = self.published.position;
        let free = self
            .geometry
            .capacity_bytes
            .saturating_sub(position::distance(self.head, start));
        let needed = position::advance(record_bytes(message_bytes), COMMIT_BYTES);
        if needed > free {
            return None;
        }
        self.settle(); // before anything is written there
        if message_bytes < OWNED_EACH_BYTES {
            self.own_ahead(STRIDE_BYTES);
        }
        Some(free.min(needed.max(self.stride_bytes)))
    }

    /// Whether the consumer gives back the lines of a message of so many bytes: a wide copy takes such
    /// lines at once, and has nothing from single stores before it.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "vanishes for a short message of known length"
    )]
    fn comes_back(&self, message_bytes: u64) -> bool {
        M::RETURNED_BYTES.contains(&message_bytes) && self.flow == Flow::ReturningStream
    }

    /// Makes the cache lines of the next `bytes` behind the tail this core's own, as far as they are
    /// free, unless they are known to be.
    ///
    /// A line that the consumer has read is in its cache too, or there alone, and a store to it waits
    /// until that core has given it up. On this processor stores become visible in order: a message
    /// whose payload or whose next commit word lies in such a line is seen that much later. Stores
    /// of one word to each line, made when nobody waits for them, have all lines on the way at once;
    /// `prefetchw` does nothing for a line that is in this core's cache already. The line of the
    /// tail is left alone: the consumer is looking at it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a few instructions of the hot path")]
    fn own_ahead(&mut self, bytes: u64) {
        let until = position::advance(self.published.position, bytes);
        if !position::at_or_after(self.owned, until) {
            self.own_lines(bytes);
        }
    }

    /// The words that are stored are zeros, which are never a record, in space that is free: behind
    /// the tail, the empty word there excepted, and before a lap after the head as last seen. The
    /// account, from which on commit words are still counted, is not before that head: whoever looks
    /// at the head recalls the room, and the next grant of room settles.
    #[inline(never)]
    fn own_lines(&mut self, bytes: u64) {
        let tail = self.published.position;
        if self.geometry.durable {
            // What is durable is written once.
            self.owned = position::advance(tail, STRIDE_BYTES);
            return;
        }
        let ahead = match self.flow {
            Flow::Answers => 0,
            Flow::Stream | Flow::ReturningStream => STREAM_AHEAD_BYTES,
        };
        let wanted = position::advance(tail, position::advance(bytes, ahead));
        let free = position::advance(self.head, self.geometry.capacity_bytes);
        let until = position::earlier(wanted, free);
        let first = position::later(self.owned, position::advance(tail, COMMIT_BYTES));
        let mut line = position::advance(first, LINE_BYTES - 1) & !(LINE_BYTES - 1);
        while !position::at_or_after(line, until) {
            self.memory.store_data(line, EMPTY, Order::RELAXED);
            line = position::advance(line, LINE_BYTES);
        }
        self.owned = position::later(line, until);
    }

    /// Settles the account: the counters are brought up to the tail.
    #[inline]
    pub(crate) fn settle(&mut self) {
        self.account
            .settle(&self.memory, Role::Producer, &self.published);
    }

    /// The next message asks for room anew.
    pub(crate) const fn recall_room(&mut self) {
        (self.room, self.checked_room) = (0, 0);
    }

    /// Starts a run at the tail.
    #[inline]
    pub(crate) const fn begin(&self) -> Pending {
        Pending {
            end: self.published.position,
            first: EMPTY,
            messages: 0,
            padding: 0,
        }
    }

    /// Writes one message at the end of a run.
    #[inline]
    pub(crate) fn push(
        &mut self,
        pending: &mut Pending,
        message: &[u8],
    ) -> Result<(), TrySendError> {
        let space = self.claim(pending, message.len() as u64)?;
        self.memory.copy_in(space.payload(), message);
        let checksum = self.geometry.checksum_of(space.position, message);
        self.seal(pending, space, Commit::new(space.message_bytes, checksum));
        Ok(())
    }

    /// Finds room for a message of `message_bytes` at the end of a run. Stores nothing.
    #[inline]
    pub(crate) fn claim(
        &mut self,
        pending: &Pending,
        message_bytes: u64,
    ) -> Result<Space, TrySendError> {
        let max_bytes = self.geometry.max_message_bytes;
        let (true, Ok(short)) = (message_bytes <= max_bytes, u32::try_from(message_bytes)) else {
            return Err(TrySendError::TooLong {
                message_bytes,
                max_bytes,
            });
        };
        // At most 2^32 + 8, so neither sum wraps beyond what a ring can hold.
        let needed = record_bytes(message_bytes).wrapping_add(COMMIT_BYTES);
        let end = position::advance(pending.end, needed);
        if position::distance(self.head, end) > self.geometry.capacity_bytes {
            self.refresh_head(end)?;
        }
        if self.account.is_exceeded_by(end, &self.geometry) {
            self.settle(); // before anything is written there
        }
        Ok(Space {
            position: pending.end,
            message_bytes: short,
        })
    }

    /// Completes a record whose payload is written. Its commit word is held back when it is the
    /// first of the run; later ones may be stored now, since nobody looks beyond an empty word.
    #[inline]
    pub(crate) fn seal(&mut self, pending: &mut Pending, space: Space, commit: Commit) {
        if pending.first == EMPTY {
            pending.first = commit.encode();
        } else {
            if self.geometry.durable {
                self.note_reach(position::advance(space.position, commit.record_bytes()));
            }
            self.memory
                .store_data(space.position, commit.encode(), Order::RELAXED);
        }
        pending.end = position::advance(space.position, commit.record_bytes());
        pending.messages = pending.messages.wrapping_add(1);
        let padding = padding_bytes(u64::from(commit.message_bytes()));
        pending.padding = pending.padding.wrapping_add(padding);
    }

    /// Makes a whole run visible. `true`: the consumer sleeps and must be woken.
    ///
    /// A kill between any two of these stores leaves all of the run published or none of it:
    /// before the release store the word at the tail is empty; after it the commit words say it
    /// all, and a successor brings the tail along.
    #[inline]
    pub(crate) fn publish(&mut self, pending: Pending) -> bool {
        if pending.first == EMPTY {
            return false;
        }
        self.memory.store_data(pending.end, EMPTY, Order::RELAXED);
        if !self.memory.is_intact() {
            return false; // what was written did not get into the ring; nothing is published
        }
        self.memory
            .store_data(self.published.position, pending.first, COMMIT_STORE);
        self.reach(pending.end, pending.messages, pending.padding);
        self.recall_room();
        if self.account.is_exceeded_by(pending.end, &self.geometry) {
            self.settle(); // an observer need not count a long batch
        }
        let ticket = self.waker.ticket(&self.memory);
        self.wake_due(ticket)
    }

    /// Says how far what was made visible goes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a part of the hot path")]
    fn reach(&mut self, end: u64, messages: u64, padding: u64) {
        self.published.advance(end, messages, padding);
        self.memory
            .store(word::POSITION.of(Role::Producer), end, TAIL_STORE);
    }

    /// Whether the consumer, whose ticket was loaded after a publish, must be woken for it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one instruction of the hot path")]
    fn wake_due(&mut self, ticket: u64) -> bool {
        ticket != 0 && self.answer(ticket)
    }

    #[cold]
    #[inline(never)]
    fn answer(&mut self, ticket: u64) -> bool {
        let reached = self.published.position;
        let wake = self.waker.answer(&self.memory, ticket, reached);
        if self.waker.fences() {
            self.recall_room(); // the sleeper may just have asked for them
        }
        wake
    }

    /// Whether a message of `message_bytes` fits now, as far as the consumer has published its
    /// head. Too long a message never does; corruption counts as ready, so that the next attempt
    /// reports it.
    pub(crate) fn has_room(&mut self, pending: &Pending, message_bytes: u64) -> bool {
        !matches!(
            self.claim(pending, message_bytes),
            Err(TrySendError::Full | TrySendError::WaitingForCheckpoint)
        )
    }

    /// The head at which a message of `message_bytes` fits after this run.
    pub(crate) fn wanted_head(&self, pending: &Pending, message_bytes: u64) -> u64 {
        let needed = record_bytes(message_bytes).wrapping_add(COMMIT_BYTES);
        let end = position::advance(pending.end, needed);
        end.wrapping_sub(self.geometry.capacity_bytes)
    }

    /// Bytes between the consumer's head and the tail, commit words and padding included.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        let head = super::read_position(&self.memory, Role::Consumer, HEAD_LOAD);
        let used = position::distance(head, self.published.position);
        used.min(self.geometry.capacity_bytes)
    }

    /// Loads the consumer's head, bounds it, and sees whether `end` now fits.
    ///
    /// In a durable ring the space before the head is free only as far as the consumer's checkpoint
    /// is on the medium. That word is loaded first: it is never ahead of a head loaded later.
    #[cold]
    #[inline(never)]
    fn refresh_head(&mut self, end: u64) -> Result<(), TrySendError> {
        let durable = word::DURABLE.of(Role::Consumer);
        let durable = self
            .geometry
            .durable
            .then(|| self.memory.load(durable, DURABLE_LOAD));
        let head = super::read_position(&self.memory, Role::Consumer, HEAD_LOAD);
        self.bound(Damage::Head, head, self.published.position)?;
        let free = durable.unwrap_or(head);
        self.bound(Damage::DurableHead, free, head)?;
        self.head = free;
        let behind = position::distance(head, self.published.position);
        self.flow = self.flow_of(behind);
        self.recall_room();
        // "lap": an observer that copies what is written from here on sees a head beyond it.
        self.memory.fence(LAP_RELEASE);
        let capacity = self.geometry.capacity_bytes;
        if position::distance(free, end) <= capacity {
            self.short_of_checkpoint(false);
            Ok(())
        } else if position::distance(head, end) <= capacity {
            Err(TrySendError::WaitingForCheckpoint)
        } else {
            Err(TrySendError::Full)
        }
    }

    /// What messages are, when the consumer is so many bytes behind.
    fn flow_of(&self, behind_bytes: u64) -> Flow {
        let returns = word::RETURNS.of(Role::Consumer);
        if behind_bytes < STREAM_BYTES {
            Flow::Answers
        } else if self.memory.load(returns, Order::RELAXED) == 0 {
            Flow::Stream
        } else {
            Flow::ReturningStream
        }
    }

    /// A position that the consumer wrote: at or after what was seen before, at most `last`.
    fn bound(&self, what: Damage, found: u64, last: u64) -> Result<(), TrySendError> {
        if position::is_between(self.head, found, last) && position::is_aligned(found) {
            return Ok(());
        }
        Err(TrySendError::Corrupt(Corruption {
            what,
            position: self.head,
            expected: last,
            found,
        }))
    }

    /// Says in this side's page whether it waits for a checkpoint. `true`: that is news.
    fn short_of_checkpoint(&mut self, short: bool) -> bool {
        if self.short == short {
            return false;
        }
        self.short = short;
        let word = word::SHORT.of(Role::Producer);
        self.memory.store(word, u64::from(short), Order::RELAXED);
        true
    }

    /// Asks the consumer for a checkpoint, once until it has made one. `true`: the consumer sleeps
    /// and must be woken.
    pub(crate) fn ask_for_checkpoint(&mut self) -> bool {
        self.short_of_checkpoint(true) && self.waker.rouse(&self.memory)
    }
}

/// What was written and not published, in durable rings.
///
/// All but the first record of a batch carry their commit words before the batch is published. A
/// batch that is abandoned, or whose producer dies, leaves them behind, whole and with checksums
/// that are right: a power cut could bring them back behind a later record that happens to end
/// where one of them starts, since zeros stored over them need not have reached the medium. So the
/// producer says how far such words may go before it stores them, and whoever goes on at the tail
/// overwrites them with zeros and syncs that before anything else is published there.
impl<M: Memory> ProducerCore<M> {
    fn note_reach(&mut self, end: u64) {
        self.reach = end;
        self.memory
            .store(word::REACH.of(Role::Producer), end, Order::RELAXED);
        self.recall_room();
    }

    /// Sends every message the long way from now on, or no longer.
    pub(crate) const fn go_long_way(&mut self, always: bool) {
        self.always_long = always;
        self.recall_room();
    }

    /// Whether the short way is closed: there is something to do that it does not do.
    fn is_barred(&self) -> bool {
        self.always_long
            || self.has_abandoned()
            || (self.geometry.durable && crate::state::is_any_poisoned(&self.memory))
    }

    /// Whether records may lie behind the tail that were never published.
    pub(crate) const fn has_abandoned(&self) -> bool {
        self.geometry.durable && !position::at_or_after(self.published.position, self.reach)
    }

    /// Whether the consumer sleeps for a checkpoint of this side.
    pub(crate) fn consumer_waits_for_durable(&self) -> bool {
        super::parking::sleeps_for_durable(&self.memory, Role::Consumer)
    }

    /// Takes over what a predecessor says of its reach; a word that cannot be right counts as all
    /// the free space.
    pub(crate) fn inherit_reach(&mut self) {
        let found = self
            .memory
            .load(word::REACH.of(Role::Producer), Order::RELAXED);
        let tail = self.published.position;
        let last = position::advance(self.head, self.geometry.capacity_bytes);
        let oldest = tail.wrapping_sub(self.geometry.capacity_bytes);
        let sound = position::is_between(oldest, found, last) && position::is_aligned(found);
        self.reach = if sound { found } else { last };
    }

    /// Overwrites what was written and not published; what lies between the two positions must
    /// then be synced before [`Self::forget_abandoned`].
    pub(crate) fn erase_abandoned(&self) -> (u64, u64) {
        let tail = self.published.position;
        let last = position::advance(self.head, self.geometry.capacity_bytes);
        let room = position::distance(tail, last);
        let length = position::distance(tail, self.reach)
            .saturating_add(COMMIT_BYTES)
            .min(room);
        let end = position::advance(tail, length);
        let mut at = tail;
        while !position::at_or_after(at, end) {
            self.memory.store_data(at, EMPTY, Order::RELAXED);
            at = position::advance(at, ALIGN_BYTES);
        }
        (tail, end)
    }

    /// What was erased is on the medium.
    pub(crate) fn forget_abandoned(&mut self) {
        self.reach = self.published.position;
        let word = word::REACH.of(Role::Producer);
        self.memory.store(word, self.reach, Order::RELAXED);
    }
}

/// In-place writing of a claimed payload in the safe form: bytes at any offset.
impl<M: Memory> ProducerCore<M> {
    /// Copies `bytes` to `offset` of a claimed payload. The caller has checked that they fit.
    pub(crate) fn write_at(&self, space: Space, offset: u32, bytes: &[u8]) {
        let mut at = position::advance(space.payload(), u64::from(offset));
        let lead = at.wrapping_neg() & (ALIGN_BYTES - 1); // bytes up to the next whole word
        let (first, rest) = bytes.split_at(bytes.len().min(small(lead)));
        self.merge(at, first);
        at = position::advance(at, first.len() as u64);
        let (whole, last) = rest.split_at(rest.len() & !7);
        if !whole.is_empty() {
            self.memory.copy_in(at, whole);
        }
        self.merge(position::advance(at, whole.len() as u64), last);
    }

    /// Replaces at most seven bytes inside one word of this producer's own unpublished space.
    fn merge(&self, at: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = at & !(ALIGN_BYTES - 1);
        let mut word = self.memory.load_data(start, Order::RELAXED).to_le_bytes();
        let skip = small(at & (ALIGN_BYTES - 1));
        for (out, byte) in word.iter_mut().skip(skip).zip(bytes) {
            *out = *byte;
        }
        self.memory
            .store_data(start, u64::from_le_bytes(word), Order::RELAXED);
    }

    /// Completes a record whose payload was written in place.
    #[inline]
    pub(crate) fn seal_in_place(&mut self, pending: &mut Pending, space: Space, bytes: u32) {
        let bytes = bytes.min(space.message_bytes);
        let checksum = self
            .geometry
            .checksum_in_place(&self.memory, space.position, bytes);
        self.seal(pending, space, Commit::new(bytes, checksum));
    }

    /// Brings the tail along to where a successor continues, and then the account.
    pub(crate) fn store_progress(&mut self) {
        let (tail, reached) = (word::POSITION.of(Role::Producer), self.published.position);
        if self.memory.load(tail, TAIL_LOAD) != reached {
            self.memory.store(tail, reached, TAIL_STORE);
        }
        self.settle();
    }

    /// Leaves the closed mark of `session`. `true`: the peer sleeps and must be woken.
    pub(crate) fn close(&mut self, session: u64) -> bool {
        self.settle();
        super::leave_mark(
            &self.memory,
            Role::Producer,
            session,
            self.published.position,
        );
        self.waker.rouse(&self.memory)
    }
}

/// A number that is at most seven, as an index.
fn small(number: u64) -> usize {
    usize::from(number.to_le_bytes()[0])
}
