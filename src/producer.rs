//! The producer's end, as programs see it.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use std::time::Instant;

use crate::batch::{Batch, Claim};
use crate::durability::Durability;
use crate::error::{SendError, TrySendError};
use crate::link::{Ending, Goal, Link};
use crate::memory::Mapped;
use crate::ring::{Pending, ProducerCore};
use crate::state;
use crate::trusted::{Trust, Trusted, Untrusted};
use crate::wait::Patience;

/// The end that publishes messages. At most one exists for a ring at any time: the kernel sees to
/// it.
///
/// A producer can move to another thread but not be shared between two, nor cloned. Dropping it
/// closes the ring cleanly unless the thread is panicking; the consumer drains what is there and is
/// then told "closed". A producer that dies without a drop leaves everything it published, and the
/// next one continues after it.
///
/// ```
/// let (mut tx, mut rx) = ringduct::pair(4096)?;
/// tx.send(b"first")?;
/// tx.send(b"")?; // an empty message is a message
/// let mut buffer = [0; 16];
/// assert_eq!(rx.recv(&mut buffer)?, 5);
/// assert_eq!(&buffer[..5], b"first");
/// assert_eq!(rx.recv(&mut buffer)?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It is `Send`, but neither `Sync` nor `Clone`:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<ringduct::Producer>();
/// ```
///
/// ```compile_fail
/// fn cloned<T: Clone>() {}
/// cloned::<ringduct::Producer>();
/// ```
pub struct Producer<T: Trust = Untrusted> {
    pub(crate) end: End,
    trust: PhantomData<T>,
}

/// Protocol and tie, closed together.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) core: ProducerCore<Mapped>,
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

/// What durable rings need besides; nothing in others.
impl End {
    /// Before anything is published or claimed: no sync has failed, and nothing lies behind the
    /// tail that could come back.
    #[inline]
    pub(crate) fn make_ready(&mut self) -> Result<(), TrySendError> {
        if self.core.geometry().durable {
            self.make_durably_ready()
        } else {
            Ok(())
        }
    }

    #[cold]
    fn make_durably_ready(&mut self) -> Result<(), TrySendError> {
        if self.durability.is_poisoned(self.core.memory()) {
            return Err(TrySendError::Poisoned);
        }
        let erased = self.durability.erase_abandoned(&mut self.core);
        erased.map_err(|_| TrySendError::Poisoned)
    }

    /// After something was published: a checkpoint, if one is due.
    #[inline]
    pub(crate) fn tick(&mut self) {
        if self.core.geometry().durable {
            let Self {
                core, durability, ..
            } = self;
            durability.tick(core.memory(), core.geometry(), core.published());
        }
    }

    /// Says that this side is out of space, so that the consumer makes a checkpoint before it waits.
    fn say_short(&mut self) {
        if self.core.geometry().durable && self.core.ask_for_checkpoint() {
            self.link.wake_peer();
        }
    }

    /// Before this side waits for room, a checkpoint for a consumer that waits for one, or both
    /// would wait for ever.
    fn serve_durable_consumer(&mut self) {
        let done = *self.core.published();
        if self.durability.owes_checkpoint(&done) && self.core.consumer_waits_for_durable() {
            let Self {
                core, durability, ..
            } = self;
            // What failed is latched: the next step is refused.
            let _latched = durability.checkpoint(core.memory(), core.geometry(), done, None);
        }
    }

    /// Waits until there may be room for `bytes`, or something else to look at.
    fn wait_for_room(&mut self, bytes: u64, deadline: Option<Instant>) -> Result<(), SendError> {
        self.say_short();
        self.serve_durable_consumer();
        self.core.settle();
        let Self {
            core,
            link,
            durability,
        } = self;
        let pending = core.begin();
        let owes = durability.owes_checkpoint(core.published());
        let is_durable = core.geometry().durable;
        let wanted = core.wanted_head(&pending, bytes);
        let done = *core.published();
        let ready = || {
            core.has_room(&pending, bytes)
                || (owes && core.consumer_waits_for_durable())
                || (is_durable && state::is_any_poisoned(core.memory()))
        };
        let goal = Goal {
            done,
            wanted,
            deadline,
        };
        match link.wait(goal, ready, || None) {
            Ok(()) => Ok(()),
            Err(Ending::Refused(refused)) => Err(refused.into()),
            Err(Ending::TimedOut) => Err(self.why_no_room(bytes)),
            Err(Ending::Closed) => Err(SendError::Closed),
            Err(Ending::PeerGone) => Err(SendError::PeerGone),
        }
    }

    /// The deadline passed: why there is no room for `message_bytes`.
    fn why_no_room(&mut self, message_bytes: u64) -> SendError {
        let pending = self.core.begin();
        match self.core.claim(&pending, message_bytes) {
            Err(TrySendError::WaitingForCheckpoint) => SendError::WaitingForCheckpoint,
            Err(TrySendError::Corrupt(corruption)) => {
                self.link.refuse_from_now_on(corruption);
                SendError::Corrupt(corruption)
            }
            _ => SendError::TimedOut,
        }
    }
}

impl<T: Trust> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("ring", &self.name())
            .field("published", &self.totals())
            .finish_non_exhaustive()
    }
}

impl<T: Trust> Producer<T> {
    /// Joins the protocol to its tie to the ring.
    pub(crate) const fn from_parts(
        core: ProducerCore<Mapped>,
        link: Link,
        durability: Durability,
    ) -> Self {
        Self {
            end: End {
                core,
                link,
                durability,
            },
            trust: PhantomData,
        }
    }

    /// Publishes `message` if there is room now.
    ///
    /// The message is copied; nothing of it is visible to the consumer before all of it is. Costs
    /// no system call unless the consumer sleeps and must be woken.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] without room, [`TrySendError::TooLong`] when it can never fit,
    /// [`TrySendError::Corrupt`] when the consumer's page lies, [`TrySendError::Forked`] in a
    /// forked child. The ring is unchanged in each case.
    ///
    /// ```
    /// use ringduct::TrySendError;
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.try_send(&[7; 4080]), Ok(())); // the longest message there can be
    /// assert_eq!(tx.try_send(b"one more"), Err(TrySendError::Full));
    /// let too_long = TrySendError::TooLong { message_bytes: 4081, max_bytes: 4080 };
    /// assert_eq!(tx.try_send(&[7; 4081]), Err(too_long));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a known length makes most of it vanish"
    )]
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), TrySendError> {
        if self.send_short(message) {
            Ok(())
        } else {
            self.try_send_long(message)
        }
    }

    /// The usual case: there is room, and no need for a checksum or a fence.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the hot path")]
    fn send_short(&mut self, message: &[u8]) -> bool {
        if !self.end.link.is_usable() {
            return false;
        }
        let Some(wake) = self.end.core.send_short(message) else {
            return false;
        };
        if wake {
            self.end.link.wake_peer();
        }
        true
    }

    #[inline(never)]
    fn try_send_long(&mut self, message: &[u8]) -> Result<(), TrySendError> {
        self.end.link.check()?;
        let core = &mut self.end.core;
        if let Some(wake) = core.send_checked(message) {
            if wake {
                self.end.link.wake_peer();
            }
            return Ok(());
        }
        self.end.make_ready()?;
        match self.end.core.send_long(message) {
            Ok(wake) => {
                self.end.link.check_intact()?;
                if wake {
                    self.end.link.wake_peer();
                }
                self.end.tick();
                Ok(())
            }
            Err(error) => Err(self.note(error)),
        }
    }

    /// Publishes `message`, waiting for room as long as it takes.
    ///
    /// # Errors
    ///
    /// When the ring is full and the consumer has closed or died, [`SendError::Closed`] or
    /// [`SendError::PeerGone`], once for each consumer; a further call waits for the next one.
    /// Otherwise as [`Producer::try_send`]. The message was not published in any of these cases.
    ///
    /// ```
    /// use ringduct::SendError;
    /// let (mut tx, rx) = ringduct::pair(4096)?;
    /// tx.send(&[0; 4000])?;
    /// drop(rx);
    /// assert_eq!(tx.send(&[0; 4000]), Err(SendError::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a known length makes most of it vanish"
    )]
    pub fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.send_until(message, None)
    }

    /// Publishes `message`, waiting for room until `deadline`.
    ///
    /// A deadline that has passed still tries once. The clock is monotonic.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`] at the deadline; otherwise as [`Producer::send`].
    ///
    /// ```
    /// use std::time::Instant;
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// let now = Instant::now();
    /// assert_eq!(tx.send_deadline(&[0; 4000], now), Ok(()));
    /// let error = tx.send_deadline(&[0; 4000], now).unwrap_err();
    /// assert_eq!(error, ringduct::SendError::TimedOut);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn send_deadline(&mut self, message: &[u8], deadline: Instant) -> Result<(), SendError> {
        self.send_until(message, Some(deadline))
    }

    /// Publishes `message`, waiting for room for at most `timeout`.
    ///
    /// A timeout too long for the clock waits for ever.
    ///
    /// # Errors
    ///
    /// As [`Producer::send_deadline`].
    ///
    /// ```
    /// use std::time::Duration;
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.send_timeout(b"soon", Duration::from_millis(10)), Ok(()));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn send_timeout(&mut self, message: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.send_until(message, Instant::now().checked_add(timeout))
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a known length makes most of it vanish"
    )]
    fn send_until(&mut self, message: &[u8], deadline: Option<Instant>) -> Result<(), SendError> {
        if self.send_short(message) {
            Ok(())
        } else {
            self.send_long(message, deadline)
        }
    }

    #[inline(never)]
    fn send_long(&mut self, message: &[u8], deadline: Option<Instant>) -> Result<(), SendError> {
        let mut patience = Patience::until(deadline);
        loop {
            match self.try_send_long(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full | TrySendError::WaitingForCheckpoint)
                    if patience.lasts() =>
                {
                    self.wait_for_room(message.len(), deadline)?;
                }
                Err(error) => return Err(SendError::from_try(error)),
            }
        }
    }

    /// Waits until a message of `message_bytes` fits, at most until `deadline` if there is one.
    ///
    /// # Errors
    ///
    /// As [`Producer::send_deadline`].
    ///
    /// ```
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// tx.wait_for_room(1000, None)?; // there is plenty
    /// assert_eq!(tx.try_send(&[0; 1000]), Ok(()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cold]
    pub fn wait_for_room(
        &mut self,
        message_bytes: usize,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        let bytes = message_bytes as u64;
        let mut patience = Patience::until(deadline);
        loop {
            self.end.link.check()?;
            self.end.make_ready().map_err(SendError::from_try)?;
            let pending = self.end.core.begin();
            match self.end.core.claim(&pending, bytes) {
                Ok(_) => return Ok(()),
                Err(TrySendError::Full | TrySendError::WaitingForCheckpoint)
                    if patience.lasts() => {}
                Err(error) => return Err(SendError::from_try(self.note(error))),
            }
            self.end.wait_for_room(bytes, deadline)?;
        }
    }

    /// Starts a batch: messages that become visible all at once, for one update of the ring.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Forked`] and [`TrySendError::Corrupt`] as in [`Producer::try_send`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// let mut batch = tx.batch()?;
    /// batch.push(b"a")?;
    /// batch.push(b"b")?;
    /// assert_eq!(batch.commit(), 2);
    /// assert_eq!(rx.drain(10, |_| ())?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn batch(&mut self) -> Result<Batch<'_, T>, TrySendError> {
        self.end.link.check()?;
        self.end.make_ready()?;
        Ok(Batch::new(self))
    }

    /// Publishes as many of `messages` as fit now, in one batch, and says how many.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] when not even the first fits. [`TrySendError::TooLong`] for a message
    /// that can never fit; those before it are published then only if there were any, in which
    /// case their number is returned and the error comes with the next call. Otherwise as
    /// [`Producer::try_send`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.try_send_all(["a", "b", "c"])?, 3);
    /// assert_eq!(rx.skip(10)?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_send_all<I>(&mut self, messages: I) -> Result<usize, TrySendError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut batch = self.batch()?;
        for message in messages {
            if let Err(error) = batch.push(message.as_ref()) {
                if batch.is_empty() {
                    return Err(error);
                }
                break;
            }
        }
        let count = batch.commit();
        self.end.link.check_intact()?;
        Ok(count)
    }

    /// Reserves space for a message of at most `max_bytes`, to be written in place and committed
    /// with that length or a smaller one.
    ///
    /// Nothing in shared memory changes until the commit; dropping the claim abandons it.
    ///
    /// # Errors
    ///
    /// As [`Producer::try_send`], for a message of `max_bytes`.
    ///
    /// ```
    /// use std::io::Write;
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// let mut claim = tx.try_claim(100)?;
    /// write!(claim, "{} of {}", 1, 2)?;
    /// claim.commit_written();
    /// let mut buffer = [0; 100];
    /// let length = rx.try_recv(&mut buffer)?;
    /// assert_eq!(&buffer[..length], b"1 of 2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_claim(&mut self, max_bytes: usize) -> Result<Claim<'_, T>, TrySendError> {
        self.end.link.check()?;
        self.end.make_ready()?;
        let pending = self.end.core.begin();
        match self.end.core.claim(&pending, max_bytes as u64) {
            Ok(space) => Ok(Claim::new(self, pending, space)),
            Err(error) => Err(self.note(error)),
        }
    }

    /// Reserves space as [`Producer::try_claim`] does, waiting for room until `deadline`, or as
    /// long as it takes without one.
    ///
    /// # Errors
    ///
    /// As [`Producer::send_deadline`], for a message of `max_bytes`.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// let mut claim = tx.claim(3, None)?;
    /// claim.write_at(0, b"abc")?;
    /// claim.commit();
    /// assert_eq!(rx.peek_len()?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn claim(
        &mut self,
        max_bytes: usize,
        deadline: Option<Instant>,
    ) -> Result<Claim<'_, T>, SendError> {
        let mut patience = Patience::until(deadline);
        let space = loop {
            self.end.link.check()?;
            self.end.make_ready().map_err(SendError::from_try)?;
            let pending = self.end.core.begin();
            match self.end.core.claim(&pending, max_bytes as u64) {
                Ok(space) => break space,
                Err(TrySendError::Full | TrySendError::WaitingForCheckpoint)
                    if patience.lasts() =>
                {
                    self.wait_for_room(max_bytes, deadline)?;
                }
                Err(error) => return Err(SendError::from_try(self.note(error))),
            }
        };
        let pending = self.end.core.begin();
        Ok(Claim::new(self, pending, space))
    }

    /// Makes a finished run visible and wakes the consumer if it sleeps.
    #[inline]
    pub(crate) fn publish(&mut self, pending: Pending) {
        // A batch or claim from before a fork is inert in the child, as its producer is.
        if self.end.link.is_owner() {
            if self.end.core.publish(pending) {
                self.end.link.wake_peer();
            }
            self.end.tick();
        }
    }

    /// Remembers damage, so that this end refuses further work.
    pub(crate) fn note(&mut self, error: TrySendError) -> TrySendError {
        match error {
            TrySendError::Corrupt(corruption) => {
                return self.end.link.refuse_from_now_on(corruption).into();
            }
            TrySendError::Full | TrySendError::WaitingForCheckpoint => self.end.say_short(),
            _ => {}
        }
        match self.end.link.check_intact() {
            Ok(()) => error,
            Err(refused) => refused.into(),
        }
    }

    /// Closes the ring cleanly: the consumer drains it and is then told "closed". The same as
    /// dropping the producer, said in words.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"last")?;
    /// tx.close();
    /// let messages: Vec<Vec<u8>> = rx.messages().collect::<Result<_, _>>()?;
    /// assert_eq!(messages, [b"last".to_vec()]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(self) {
        drop(self);
    }
}

impl Producer<Untrusted> {
    /// Decides, once, to trust whoever can write this ring; the result offers in-place claims.
    ///
    /// # Safety
    ///
    /// For as long as the result lives, no process that can write this ring may write to space in
    /// the data area that is not published, and whoever reads it must read published records only.
    /// Processes that use this library keep to both; a hostile or broken process that holds a
    /// writable descriptor need not.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// let ring = ringduct::Options::new().create(&place)?;
    /// // SAFETY: both ends are this program, and the file is readable by this user only.
    /// let mut tx = unsafe { ring.producer()?.trust_peer() };
    /// let mut claim = tx.try_claim(3)?;
    /// claim.copy_from_slice(b"abc"); // a plain slice inside the ring
    /// claim.commit();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(
        unsafe_code,
        reason = "the caller vouches for every writer of the ring"
    )]
    pub unsafe fn trust_peer(self) -> Producer<Trusted> {
        self.into_trusted()
    }
}

impl<T: Trust> Producer<T> {
    /// Changes the marker alone. Only for ends whose peer is trusted: see
    /// [`Producer::trust_peer`] and [`pair`](crate::pair).
    pub(crate) fn into_trusted(self) -> Producer<Trusted> {
        Producer {
            end: self.end,
            trust: PhantomData,
        }
    }
}
