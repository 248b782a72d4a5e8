//! The consumer's end, as programs see it.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use std::time::Instant;

use crate::durability::Durability;
use crate::error::{Corruption, RecvError, TryRecvError};
use crate::link::{Ending, Goal, Link};
use crate::memory::Mapped;
use crate::messages::{Messages, TryMessages};
use crate::ring::{ConsumerCore, Record, Taken};
use crate::trusted::{ReleaseOnDrop, Trust, Trusted, Untrusted};
use crate::wait::Patience;

/// The end that takes messages. At most one exists for a ring at any time: the kernel sees to it.
///
/// A consumer can move to another thread but not be shared between two, nor cloned. A message that
/// was received is released, and its space is the producer's again. A consumer that dies between
/// the two gets the message once more when it is started again: every message is delivered, a
/// message taken and not yet released is delivered again.
///
/// ```
/// let (mut tx, mut rx) = ringduct::pair(4096)?;
/// tx.send(b"one")?;
/// tx.send(b"two")?;
/// drop(tx);
/// let mut seen = Vec::new();
/// for message in &mut rx {
///     seen.push(message?);
/// }
/// assert_eq!(seen, [b"one", b"two"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It is `Send`, but neither `Sync` nor `Clone`:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<ringduct::Consumer>();
/// ```
///
/// ```compile_fail
/// fn cloned<T: Clone>() {}
/// cloned::<ringduct::Consumer>();
/// ```
pub struct Consumer<T: Trust = Untrusted> {
    pub(crate) end: End,
    /// Where [`Consumer::drain`] copies messages to; allocated at its first use.
    scratch: Vec<u8>,
    trust: PhantomData<T>,
}

/// Protocol and tie, closed together.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) core: ConsumerCore<Mapped>,
    pub(crate) link: Link,
    pub(crate) durability: Durability,
}

impl Drop for End {
    fn drop(&mut self) {
        self.durability.stop(self.link.is_owner());
        if self.link.may_close() && !std::thread::panicking() {
            let session = self.link.session();
            if self.core.close(session) {
                self.link.wake_peer();
            }
        }
    }
}

impl End {
    /// Waits until a message is there, or a producer that needs a checkpoint.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<(), RecvError> {
        let Self {
            core,
            link,
            durability,
        } = self;
        let done = *core.released();
        let owes = durability.owes_checkpoint(&done);
        let next = core.begin();
        let ready = || core.has_message(&next) || (owes && core.producer_is_short());
        let goal = Goal {
            done,
            wanted: done.position,
            deadline,
        };
        match link.wait(goal, ready, || core.missing()) {
            Ok(()) => Ok(()),
            Err(Ending::Refused(refused)) => Err(refused.into()),
            Err(Ending::TimedOut) => Err(RecvError::TimedOut),
            Err(Ending::Closed) => Err(RecvError::Closed),
            Err(Ending::PeerGone) => Err(RecvError::PeerGone),
        }
    }

    /// Durable rings: before this side waits, a checkpoint for a producer that waits for one, or
    /// both would wait for ever. Calls that do not wait do not sync unasked either.
    #[inline]
    fn serve_short_producer(&mut self) {
        let done = *self.core.released();
        if self.durability.owes_checkpoint(&done) && self.core.producer_is_short() {
            let Self {
                core, durability, ..
            } = self;
            // What failed is latched, and nothing is owed any more.
            let _latched = durability.checkpoint(core.memory(), core.geometry(), done, None);
        }
    }

    /// After a release: a checkpoint, if one is due.
    #[inline]
    pub(crate) fn tick(&mut self) {
        if self.core.geometry().durable {
            let Self {
                core, durability, ..
            } = self;
            durability.tick(core.memory(), core.geometry(), core.released());
        }
    }
}

impl<T: Trust> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("ring", &self.name())
            .field("released", &self.totals())
            .finish_non_exhaustive()
    }
}

impl<T: Trust> Consumer<T> {
    /// Joins the protocol to its tie to the ring.
    pub(crate) const fn from_parts(
        core: ConsumerCore<Mapped>,
        link: Link,
        durability: Durability,
    ) -> Self {
        Self {
            end: End {
                core,
                link,
                durability,
            },
            scratch: Vec::new(),
            trust: PhantomData,
        }
    }

    /// Copies the next message to the start of `buffer`, releases it, and returns its length.
    ///
    /// Costs no system call unless the producer sleeps on a full ring and must be woken.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] when nothing is there; [`TryRecvError::Closed`] instead, once for
    /// each producer, when everything was taken and the producer closed.
    /// [`TryRecvError::BufferTooSmall`] leaves the message where it is.
    /// [`TryRecvError::Corrupt`] when the ring is damaged; what is in `buffer` then is not a
    /// message. [`TryRecvError::Forked`] in a forked child.
    ///
    /// ```
    /// use ringduct::TryRecvError;
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// let mut buffer = [0; 4];
    /// assert_eq!(rx.try_recv(&mut buffer), Err(TryRecvError::Empty));
    /// tx.send(b"12345")?;
    /// let small = TryRecvError::BufferTooSmall { message_bytes: 5, buffer_bytes: 4 };
    /// assert_eq!(rx.try_recv(&mut buffer), Err(small));
    /// assert_eq!(rx.try_recv(&mut [0; 5]), Ok(5));
    /// drop(tx);
    /// assert_eq!(rx.try_recv(&mut buffer), Err(TryRecvError::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a known length makes most of it vanish"
    )]
    pub fn try_recv(&mut self, buffer: &mut [u8]) -> Result<usize, TryRecvError> {
        match self.take_short(buffer) {
            Some(length) => Ok(length),
            None => self.try_recv_long(buffer),
        }
    }

    /// The next message in the usual case: it is there, fits, and needs no check but its length.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the hot path")]
    fn take_short(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if !self.end.link.is_usable() {
            return None;
        }
        let (length, wake) = self.end.core.take_short(buffer)?;
        if wake {
            self.end.link.wake_peer();
        }
        Some(length)
    }

    /// The same in a ring with checksums.
    #[inline]
    fn take_checked(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if !self.end.link.is_usable() {
            return None;
        }
        let (length, wake) = self.end.core.take_checked(buffer)?;
        if wake {
            self.end.link.wake_peer();
        }
        Some(length)
    }

    /// Whether the copy that was just made matches its checksum, in a ring that has them.
    fn check_mismatch(&mut self) -> Result<(), Corruption> {
        match self.end.core.mismatch() {
            Some(corruption) if self.end.link.is_owner() => Err(self.note(corruption)),
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn try_recv_long(&mut self, buffer: &mut [u8]) -> Result<usize, TryRecvError> {
        if let Some(length) = self.take_checked(buffer) {
            return Ok(length);
        }
        self.check_mismatch()?;
        let record = self.front()?;
        let length = self.copy_front(record, buffer)?;
        self.release_one(record);
        Ok(length)
    }

    /// Copies the next message to the start of `buffer`, waiting for one as long as it takes.
    ///
    /// # Errors
    ///
    /// When everything was taken and the producer has closed or died, [`RecvError::Closed`] or
    /// [`RecvError::PeerGone`], once for each producer; a further call waits for the next one. A
    /// consumer that finds an empty ring, whose last producer ended before it came, waits.
    /// Otherwise as [`Consumer::try_recv`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// let sender = std::thread::spawn(move || tx.send(b"hello"));
    /// let mut buffer = [0; 100];
    /// assert_eq!(rx.recv(&mut buffer)?, 5);
    /// assert_eq!(rx.recv(&mut buffer), Err(ringduct::RecvError::Closed));
    /// # sender.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a known length makes most of it vanish"
    )]
    pub fn recv(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_until(buffer, None)
    }

    /// Copies the next message to the start of `buffer`, waiting for one until `deadline`.
    ///
    /// A deadline that has passed still looks once. The clock is monotonic.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`] at the deadline; otherwise as [`Consumer::recv`].
    ///
    /// ```
    /// use std::time::Instant;
    /// let (_tx, mut rx) = ringduct::pair(4096)?;
    /// let error = rx.recv_deadline(&mut [0; 8], Instant::now()).unwrap_err();
    /// assert_eq!(error, ringduct::RecvError::TimedOut);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn recv_deadline(
        &mut self,
        buffer: &mut [u8],
        deadline: Instant,
    ) -> Result<usize, RecvError> {
        self.recv_until(buffer, Some(deadline))
    }

    /// Copies the next message to the start of `buffer`, waiting for one for at most `timeout`.
    ///
    /// A timeout too long for the clock waits for ever.
    ///
    /// # Errors
    ///
    /// As [`Consumer::recv_deadline`].
    ///
    /// ```
    /// use std::time::Duration;
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"x")?;
    /// assert_eq!(rx.recv_timeout(&mut [0; 8], Duration::ZERO), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(
        &mut self,
        buffer: &mut [u8],
        timeout: Duration,
    ) -> Result<usize, RecvError> {
        self.recv_until(buffer, Instant::now().checked_add(timeout))
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a known length makes most of it vanish"
    )]
    fn recv_until(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<usize, RecvError> {
        match self.take_short(buffer) {
            Some(length) => Ok(length),
            None => self.recv_long(buffer, deadline),
        }
    }

    #[inline(never)]
    fn recv_long(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<usize, RecvError> {
        let mut patience = Patience::until(deadline);
        loop {
            if let Some(length) = self.take_checked(buffer) {
                return Ok(length);
            }
            self.check_mismatch()?;
            self.end.link.check()?;
            match self.end.core.next(&self.end.core.begin()) {
                Ok(Some(record)) => {
                    let copied = self.copy_front(record, buffer);
                    let length = copied.map_err(RecvError::from_try)?;
                    self.release_one(record);
                    return Ok(length);
                }
                Ok(None) if !patience.lasts() => return Err(RecvError::TimedOut),
                Ok(None) => self.wait_for_message(deadline)?,
                Err(corruption) => return Err(self.note(corruption).into()),
            }
            if let Some(length) = self.take_short(buffer) {
                return Ok(length);
            }
        }
    }

    /// Replaces the contents of `out` with the next message, if there is one, and releases it.
    ///
    /// Allocates at most the ring's longest message.
    ///
    /// # Errors
    ///
    /// As [`Consumer::try_recv`], which see; there is no buffer to be too small.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"any length")?;
    /// let mut out = Vec::new();
    /// rx.try_recv_vec(&mut out)?;
    /// assert_eq!(out, b"any length");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_vec(&mut self, out: &mut Vec<u8>) -> Result<(), TryRecvError> {
        let record = self.front()?;
        out.resize(record.message_bytes() as usize, 0);
        self.copy_front(record, out)?;
        self.release_one(record);
        Ok(())
    }

    /// Replaces the contents of `out` with the next message, waiting for one until `deadline`, or
    /// as long as it takes without one.
    ///
    /// # Errors
    ///
    /// As [`Consumer::recv_deadline`]; there is no buffer to be too small.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"any length")?;
    /// let mut out = Vec::new();
    /// rx.recv_vec(&mut out, None)?;
    /// assert_eq!(out, b"any length");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_vec(
        &mut self,
        out: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<(), RecvError> {
        let record = self.front_until(deadline)?;
        out.resize(record.message_bytes() as usize, 0);
        self.copy_front(record, out).map_err(RecvError::from_try)?;
        self.release_one(record);
        Ok(())
    }

    /// Shows up to `max` messages, each copied out of the ring, and releases them together: one
    /// update of the ring. Returns their number, 0 when nothing is there.
    ///
    /// Should `each` panic, the messages before that one are released and that one is not. A
    /// consumer that dies in the middle gets the whole batch again.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Closed`] when nothing is left and the producer closed, once;
    /// [`TryRecvError::Corrupt`] and [`TryRecvError::Forked`] as in [`Consumer::try_recv`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.try_send_all(["a", "b", "c"])?;
    /// let mut seen = Vec::new();
    /// assert_eq!(rx.drain(2, |message| seen.push(message.to_vec()))?, 2);
    /// assert_eq!(rx.drain(2, |message| seen.push(message.to_vec()))?, 1);
    /// assert_eq!(rx.drain(2, |_| ())?, 0);
    /// assert_eq!(seen, [b"a", b"b", b"c"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(
        &mut self,
        max: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Result<usize, TryRecvError> {
        self.take_many(max, |consumer, record| consumer.show(record, &mut each))
    }

    /// Copies a message to memory of this end's own and shows it there.
    pub(crate) fn show<R>(
        &mut self,
        record: Record,
        each: &mut impl FnMut(&[u8]) -> R,
    ) -> Result<R, TryRecvError> {
        let mut scratch = core::mem::take(&mut self.scratch);
        let length = record.message_bytes() as usize;
        if scratch.len() < length {
            scratch.resize(length, 0);
        }
        let (message, _) = scratch.split_at_mut(length);
        self.copy_front(record, message)?;
        let answer = each(message);
        self.scratch = scratch;
        Ok(answer)
    }

    /// Takes up to `max` messages one after the other and releases them together.
    pub(crate) fn take_many(
        &mut self,
        max: usize,
        mut each: impl FnMut(&mut Self, Record) -> Result<(), TryRecvError>,
    ) -> Result<usize, TryRecvError> {
        self.end.link.check()?;
        let taken = self.end.core.begin();
        let mut guard = ReleaseOnDrop {
            consumer: self,
            taken,
        };
        let mut count = 0_usize;
        while count < max {
            guard.consumer.end.link.check()?;
            let next = guard.consumer.end.core.next(&guard.taken);
            let record = match next {
                Ok(Some(record)) => record,
                Ok(None) if count == 0 => return guard.consumer.nothing_there().map(|()| 0),
                Ok(None) => break,
                Err(corruption) => return Err(guard.consumer.note(corruption).into()),
            };
            each(guard.consumer, record)?;
            guard.taken.add(record);
            count = count.wrapping_add(1);
        }
        Ok(count)
    }

    /// Messages as they come, each in a `Vec` of its own, waiting for more until the producer
    /// closes.
    ///
    /// The iterator ends when everything was taken and the producer closed. A producer that died
    /// is an `Err` item; going on waits for the next one.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.try_send_all(["a", "b"])?;
    /// drop(tx);
    /// assert_eq!(rx.messages().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn messages(&mut self) -> Messages<&mut Self> {
        Messages::new(self)
    }

    /// The messages that are there now, each in a `Vec` of its own; never waits. Ends at the first
    /// look that finds nothing, so a producer that keeps up keeps it going.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.try_send_all(["a", "b"])?;
    /// assert_eq!(rx.try_messages().count(), 2);
    /// assert_eq!(rx.try_messages().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn try_messages(&mut self) -> TryMessages<'_, T> {
        TryMessages::new(self)
    }

    /// Waits until a message is there, at most until `deadline` if there is one.
    ///
    /// # Errors
    ///
    /// As [`Consumer::recv_deadline`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"x")?;
    /// rx.wait_for_message(None)?;
    /// assert_eq!(rx.peek_len()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cold]
    pub fn wait_for_message(&mut self, deadline: Option<Instant>) -> Result<(), RecvError> {
        self.end.link.check()?;
        self.end.core.settle();
        let mut patience = Patience::until(deadline);
        loop {
            let taken = self.end.core.begin();
            if self.end.core.has_message(&taken) {
                return Ok(());
            }
            if !patience.lasts() {
                return Err(RecvError::TimedOut);
            }
            self.end.serve_short_producer();
            self.end.wait(deadline)?;
        }
    }

    /// Whether a message, or damage, is there. Does not use up the report of a close.
    pub(crate) fn try_has_message(&self) -> Result<bool, TryRecvError> {
        self.end.link.check()?;
        let has_message = self.end.core.has_message(&self.end.core.begin());
        self.end.link.check_intact()?;
        Ok(has_message)
    }

    /// The next record, or why there is none.
    #[inline]
    pub(crate) fn front(&mut self) -> Result<Record, TryRecvError> {
        self.end.link.check()?;
        let taken = self.end.core.begin();
        match self.end.core.next(&taken) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(self.nothing_there().err().unwrap_or(TryRecvError::Empty)),
            Err(corruption) => Err(self.note(corruption).into()),
        }
    }

    /// The next record, waited for.
    #[inline]
    pub(crate) fn front_until(&mut self, deadline: Option<Instant>) -> Result<Record, RecvError> {
        let mut patience = Patience::until(deadline);
        loop {
            self.end.link.check()?;
            let taken = self.end.core.begin();
            match self.end.core.next(&taken) {
                Ok(Some(record)) => return Ok(record),
                Ok(None) if !patience.lasts() => return Err(RecvError::TimedOut),
                Ok(None) => self.wait_for_message(deadline)?,
                Err(corruption) => return Err(self.note(corruption).into()),
            }
        }
    }

    /// The ring is empty: `Ok`, or `Closed` once for each producer that closed.
    pub(crate) fn nothing_there(&mut self) -> Result<(), TryRecvError> {
        self.end.core.settle();
        self.end.tick(); // a policy may go by time
        let drained = self.end.core.drained(self.end.link.reported());
        self.end.link.check_intact()?; // or nothing of it was really read
        match drained {
            None => Ok(()),
            Some(session) => {
                self.end.link.report(session);
                Err(TryRecvError::Closed)
            }
        }
    }

    /// Copies a record's payload to the start of a caller's buffer.
    #[inline]
    pub(crate) fn copy_front(
        &mut self,
        record: Record,
        buffer: &mut [u8],
    ) -> Result<usize, TryRecvError> {
        let length = record.message_bytes() as usize;
        let buffer_bytes = buffer.len() as u64;
        let Some(out) = buffer.get_mut(..length) else {
            let message_bytes = u64::from(record.message_bytes());
            return Err(TryRecvError::BufferTooSmall {
                message_bytes,
                buffer_bytes,
            });
        };
        match self.end.core.copy(record, out) {
            Ok(()) => {
                self.end.link.check_intact()?;
                self.end.core.return_lines(record.position(), out);
                Ok(length)
            }
            Err(corruption) => Err(self.note(corruption).into()),
        }
    }

    #[inline]
    pub(crate) fn release_one(&mut self, record: Record) {
        let mut taken = self.end.core.begin();
        taken.add(record);
        self.release(taken);
    }

    /// Gives the space of a run back and wakes the producer if it sleeps.
    #[inline]
    pub(crate) fn release(&mut self, taken: Taken) {
        // A view or drain from before a fork is inert in the child, as its consumer is.
        if self.end.link.is_owner() {
            if self.end.core.release(taken) {
                self.end.link.wake_peer();
            }
            self.end.tick();
        }
    }

    /// Refuses records that go round and round though nobody publishes them.
    pub(crate) fn check_tail(&mut self) -> Result<(), TryRecvError> {
        let checked = self.end.core.check_tail();
        checked.map_err(|corruption| self.note(corruption).into())
    }

    /// Remembers damage, so that this end refuses further work.
    pub(crate) fn note(&mut self, corruption: Corruption) -> Corruption {
        self.end.link.refuse_from_now_on(corruption)
    }

    /// Closes this end: a producer that waits on a full ring is told "closed". The same as dropping
    /// the consumer, said in words.
    ///
    /// ```
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// rx.close();
    /// assert_eq!(tx.peer_state(), ringduct::PeerState::Closed);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn close(self) {
        drop(self);
    }

    /// Changes the marker alone. Only for ends whose peer is trusted: see
    /// [`Consumer::trust_peer`] and [`pair`](crate::pair).
    pub(crate) fn into_trusted(self) -> Consumer<Trusted> {
        Consumer {
            end: self.end,
            scratch: self.scratch,
            trust: PhantomData,
        }
    }
}

impl Consumer<Untrusted> {
    /// Decides, once, to trust whoever can write this ring; the result offers borrowed views.
    ///
    /// # Safety
    ///
    /// For as long as the result lives, no other process that can write this ring may write to a
    /// published record before it is released. Processes that use this library keep to that; a
    /// hostile or broken process that holds a writable descriptor need not.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// let ring = ringduct::Options::new().create(&place)?;
    /// let mut tx = ring.producer()?;
    /// // SAFETY: both ends are this program, and the file is readable by this user only.
    /// let mut rx = unsafe { ring.consumer()?.trust_peer() };
    /// tx.send(b"abc")?;
    /// assert_eq!(&*rx.try_view()?, b"abc");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(
        unsafe_code,
        reason = "the caller vouches for every writer of the ring"
    )]
    pub unsafe fn trust_peer(self) -> Consumer<Trusted> {
        self.into_trusted()
    }
}
