//! Checkpoints, as programs see them.

use core::fmt;

use crate::checkpoint::{CheckpointForm, Durable};
use crate::consumer::Consumer;
use crate::error::CheckpointError;
use crate::policy::CheckpointPolicy;
use crate::producer::Producer;
use crate::recovery::Recovery;
use crate::trusted::Trust;

/// What tells one message from every other one that a ring ever carried, and is the same when the
/// message is delivered again: the key to do everything exactly once by.
///
/// Keys grow along the stream, so a consumer that stores the key of the last message it has dealt
/// with, in the same transaction as what the message made it do, passes over every message whose
/// key is not greater. Where a message may be sent again after a power cut has taken it, the consumer
/// must also wait until it is on the medium ([`Consumer::set_durable_only`]): a message that was dealt
/// with and then lost comes again under another key.
///
/// ```
/// use ringduct::MessageKey;
/// let before = MessageKey { incarnation: 0, position: 4096 };
/// let after_a_power_cut = MessageKey { incarnation: 1, position: 1024 };
/// assert!(after_a_power_cut > before);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    /// The incarnation in which it was published: see [`Durable::incarnation`].
    pub incarnation: u64,
    /// Where it starts in the stream.
    pub position: u64,
}

impl fmt::Display for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.incarnation, self.position)
    }
}

impl<T: Trust> Producer<T> {
    /// Brings everything published so far to the medium and waits until it is there: after this a
    /// power cut leaves all of it that no checkpoint of the consumer has passed.
    ///
    /// One sync in a ring with checksums, two in another one; none if nothing is new. Only in rings
    /// made with [`Options::durable`](crate::Options::durable). Assumes a medium that keeps what it
    /// says it has, and whose writes damage nothing around them.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NotDurable`] where nothing outlives a power cut; [`CheckpointError::Sync`]
    /// when the medium refuses, which is final, and from then on [`CheckpointError::Poisoned`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir_in("/var/tmp")?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// use ringduct::{CheckpointError, OpenError, Options};
    /// let ring = match Options::new().durable(true).checksum(true).create(&place) {
    ///     Err(OpenError::NotDurable { .. }) => return Ok(()), // no disk here
    ///     made => made?,
    /// };
    /// let mut tx = ring.producer()?;
    /// tx.send(b"kept")?;
    /// assert_eq!(tx.checkpoint()?.messages, 1);
    ///
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// assert!(matches!(tx.checkpoint(), Err(CheckpointError::NotDurable { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint(&mut self) -> Result<Durable, CheckpointError> {
        self.checkpoint_with(None)
    }

    /// As [`Producer::checkpoint`], in a given form.
    ///
    /// # Errors
    ///
    /// As [`Producer::checkpoint`], and [`CheckpointError::NeedsChecksums`].
    ///
    /// ```
    /// use ringduct::{CheckpointError, CheckpointForm};
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// let error = tx.checkpoint_as(CheckpointForm::Full).unwrap_err();
    /// assert!(matches!(error, CheckpointError::NotDurable { .. }));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn checkpoint_as(&mut self, form: CheckpointForm) -> Result<Durable, CheckpointError> {
        self.checkpoint_with(Some(form))
    }

    fn checkpoint_with(
        &mut self,
        form: Option<CheckpointForm>,
    ) -> Result<Durable, CheckpointError> {
        self.end.link.check()?;
        let end = &mut self.end;
        let reached = *end.core.published();
        let outcome =
            end.durability
                .checkpoint(end.core.memory(), end.core.geometry(), reached, form);
        if outcome.is_err() {
            end.core.recall_room(); // the next message asks, and is refused
        }
        outcome.map_err(|error| end.link.explain(error))
    }

    /// How far everything is on the medium, as far as is known. Syncs nothing
    /// and waits for nobody.
    ///
    /// # Errors
    ///
    /// As [`Producer::checkpoint`]; an error of a checkpoint that was made unasked is told here.
    ///
    /// ```
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// assert!(tx.durable().unwrap_err().to_string().contains("memory file"));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn durable(&mut self) -> Result<Durable, CheckpointError> {
        self.end.link.check()?;
        let end = &mut self.end;
        end.durability
            .durable(end.core.memory(), end.core.geometry())
    }

    /// Makes checkpoints from now on when `policy` says so, in a thread of their own if it says
    /// that.
    ///
    /// A checkpoint that fails is told by [`Producer::checkpoint`] and [`Producer::durable`], and by
    /// [`Producer::send`] within half a kilobyte of messages. When the producer goes, no last checkpoint is made: make one first.
    ///
    /// # Errors
    ///
    /// As [`Producer::checkpoint`], and [`CheckpointError::NoThread`].
    ///
    /// ```
    /// use ringduct::{CheckpointError, CheckpointPolicy};
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// let policy = CheckpointPolicy::new().every_messages(100);
    /// let error = tx.set_checkpoints(policy).unwrap_err();
    /// assert!(matches!(error, CheckpointError::NotDurable { .. }));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn set_checkpoints(&mut self, policy: CheckpointPolicy) -> Result<(), CheckpointError> {
        self.end.link.check()?;
        let end = &mut self.end;
        let reached = *end.core.published();
        let passes_by =
            end.durability
                .set_policy(end.core.memory(), end.core.geometry(), reached, policy)?;
        end.core.go_long_way(passes_by);
        Ok(())
    }

    /// What was found when this end was attached.
    ///
    /// ```
    /// use ringduct::RecoveryState;
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.recovery().state, RecoveryState::New);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn recovery(&self) -> &Recovery {
        self.end.durability.recovery()
    }
}

impl<T: Trust> Consumer<T> {
    /// Makes sure that nothing released so far is delivered again after a power cut, and lets the
    /// producer use its space. One sync; none if nothing is new.
    ///
    /// Call it after the work on released messages is itself safe: then every message is dealt with
    /// at least once. **Beside a producer that has run out of space, a receive that has to wait makes a
    /// checkpoint by itself**, of everything that was released; one that does not wait never does. So finish the work on a message
    /// before the next one, or look with [`Consumer::peek`], work, and release with
    /// [`Consumer::skip`]. To deal with each exactly once, use [`Consumer::next_key`].
    ///
    /// # Errors
    ///
    /// As [`Producer::checkpoint`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir_in("/var/tmp")?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// use ringduct::{OpenError, Options};
    /// let ring = match Options::new().durable(true).create(&place) {
    ///     Err(OpenError::NotDurable { .. }) => return Ok(()), // no disk here
    ///     made => made?,
    /// };
    /// ring.producer()?.send(b"once")?;
    /// let mut rx = ring.consumer()?;
    /// rx.recv(&mut [0; 16])?;
    /// assert_eq!(rx.checkpoint()?.messages, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint(&mut self) -> Result<Durable, CheckpointError> {
        self.end.link.check()?;
        let end = &mut self.end;
        let reached = *end.core.released();
        let outcome =
            end.durability
                .checkpoint(end.core.memory(), end.core.geometry(), reached, None);
        outcome.map_err(|error| end.link.explain(error))
    }

    /// How far nothing is delivered again, as far as is known. Syncs nothing
    /// and waits for nobody.
    ///
    /// # Errors
    ///
    /// As [`Producer::durable`].
    ///
    /// ```
    /// let (_tx, mut rx) = ringduct::pair(4096)?;
    /// assert!(rx.durable().is_err());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn durable(&mut self) -> Result<Durable, CheckpointError> {
        self.end.link.check()?;
        let end = &mut self.end;
        end.durability
            .durable(end.core.memory(), end.core.geometry())
    }

    /// Makes checkpoints from now on when `policy` says so: see [`Producer::set_checkpoints`].
    ///
    /// A checkpoint made unasked covers every message that was released: with
    /// [`Consumer::recv`] that includes the message that is about to be returned. Where the work on
    /// a message is safe only later, use [`Consumer::peek`] and [`Consumer::skip`], or make the
    /// checkpoints yourself, and see [`Consumer::checkpoint`] for the one that is made in any case.
    ///
    /// # Errors
    ///
    /// As [`Producer::set_checkpoints`].
    ///
    /// ```
    /// use ringduct::CheckpointPolicy;
    /// let (_tx, mut rx) = ringduct::pair(4096)?;
    /// assert!(rx.set_checkpoints(CheckpointPolicy::new().every_messages(100)).is_err());
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn set_checkpoints(&mut self, policy: CheckpointPolicy) -> Result<(), CheckpointError> {
        self.end.link.check()?;
        let end = &mut self.end;
        let reached = *end.core.released();
        let passes_by =
            end.durability
                .set_policy(end.core.memory(), end.core.geometry(), reached, policy)?;
        end.core.go_long_way(passes_by);
        Ok(())
    }

    /// Delivers only messages that a checkpoint of the producer covers, so that nothing is dealt
    /// with that a power cut could take back; off by default.
    ///
    /// Messages without one wait, even after their producer has closed, which is then told although
    /// they are still there: the next producer's first checkpoint covers them. A producer that waits
    /// for room beside a consumer that sleeps for a checkpoint makes one; beside one that only polls
    /// it does not, so give it a policy. Once a sync has failed nothing more becomes durable: look
    /// at [`Consumer::durable`] now and then, or receive with a deadline.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NotDurable`] in a ring that is not durable; [`CheckpointError::Forked`]
    /// and [`CheckpointError::Corrupt`] from an end that does no work.
    ///
    /// ```
    /// # let dir = tempfile::tempdir_in("/var/tmp")?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// use ringduct::{OpenError, Options, TryRecvError};
    /// let ring = match Options::new().durable(true).create(&place) {
    ///     Err(OpenError::NotDurable { .. }) => return Ok(()), // no disk here
    ///     made => made?,
    /// };
    /// let (mut tx, mut rx) = (ring.producer()?, ring.consumer()?);
    /// rx.set_durable_only(true)?;
    /// tx.send(b"safe")?;
    /// assert_eq!(rx.try_recv(&mut [0; 8]), Err(TryRecvError::Empty));
    /// tx.checkpoint()?;
    /// assert_eq!(rx.try_recv(&mut [0; 8]), Ok(4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_durable_only(&mut self, durable_only: bool) -> Result<(), CheckpointError> {
        self.end.link.check()?;
        let end = &mut self.end;
        end.durability
            .durable(end.core.memory(), end.core.geometry())
            .map(|_| ())
            .or_else(|error| match error {
                CheckpointError::Poisoned | CheckpointError::Sync { .. } => Ok(()),
                other => Err(other),
            })?;
        end.core.take_durable_only(durable_only);
        end.link.wait_for_durable(durable_only);
        Ok(())
    }

    /// The key of the message that is received next. It needs not be there yet.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"abc")?;
    /// let first = rx.next_key();
    /// rx.recv(&mut [0; 16])?;
    /// assert!(rx.next_key() > first);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_key(&self) -> MessageKey {
        let position = self.end.core.released().position;
        MessageKey {
            incarnation: self.end.durability.incarnation_of(position),
            position,
        }
    }

    /// What was found when this end was attached.
    ///
    /// ```
    /// use ringduct::RecoveryState;
    /// let ring = ringduct::Options::new().create_anonymous()?;
    /// ring.producer()?.send(b"kept")?;
    /// let rx = ring.consumer()?;
    /// assert_eq!(rx.recovery().state, RecoveryState::SameBoot);
    /// assert_eq!(rx.recovery().kept_messages, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn recovery(&self) -> &Recovery {
        self.end.durability.recovery()
    }
}
