//! Several messages at once, and one message written in place.

use std::io;
use std::os::fd::BorrowedFd;

use crate::error::TrySendError;
use crate::position;
use crate::producer::Producer;
use crate::ring::{Pending, Space};
use crate::trusted::{Trust, Trusted, Untrusted};

/// Messages that become visible all at once when committed: see [`Producer::batch`].
///
/// Dropping a batch abandons it; the consumer never sees any of it. After a kill either all of a
/// batch is there or none of it.
#[derive(Debug)]
#[must_use = "a batch that is dropped publishes nothing"]
pub struct Batch<'a, T: Trust = Untrusted> {
    producer: &'a mut Producer<T>,
    pending: Pending,
}

impl<'a, T: Trust> Batch<'a, T> {
    pub(crate) fn new(producer: &'a mut Producer<T>) -> Self {
        let pending = producer.end.core.begin();
        Self { producer, pending }
    }

    /// Adds a message at the end.
    ///
    /// # Errors
    ///
    /// As [`Producer::try_send`]; the batch stays as it was and can be committed.
    ///
    /// ```
    /// use ringduct::TrySendError;
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// let mut batch = tx.batch()?;
    /// batch.push(&[0; 4000])?;
    /// assert_eq!(batch.push(&[0; 4000]), Err(TrySendError::Full));
    /// assert_eq!(batch.commit(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn push(&mut self, message: &[u8]) -> Result<(), TrySendError> {
        self.producer.end.link.check()?;
        match self.producer.end.core.push(&mut self.pending, message) {
            Ok(()) => Ok(self.producer.end.link.check_intact()?),
            Err(error) => Err(self.producer.note(error)),
        }
    }

    /// Messages in the batch so far.
    ///
    /// ```
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// let mut batch = tx.batch()?;
    /// batch.push(b"a")?;
    /// assert_eq!(batch.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        usize::try_from(self.pending.messages()).unwrap_or(usize::MAX)
    }

    /// Whether nothing was added yet.
    ///
    /// ```
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// assert!(tx.batch()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.pending.messages() == 0
    }

    /// Publishes all messages of the batch at once and says how many.
    ///
    /// ```
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.batch()?.commit(), 0); // an empty batch changes nothing
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn commit(self) -> usize {
        let count = self.len();
        self.producer.publish(self.pending);
        if self.producer.end.link.check_intact().is_err() {
            return 0; // the next call says why
        }
        count
    }
}

/// Space for one message, to be written in place: see [`Producer::try_claim`].
///
/// Bytes that were not written hold whatever the ring held there before. In the safe form bytes
/// are copied in with [`Claim::write_at`] or through [`std::io::Write`]; with a trusted peer the
/// claim is a plain mutable slice, not to be used in a forked child, which has no mapping of the
/// ring.
#[derive(Debug)]
#[must_use = "a claim that is dropped publishes nothing"]
pub struct Claim<'a, T: Trust = Untrusted> {
    producer: &'a mut Producer<T>,
    pending: Pending,
    space: Space,
    written: u32,
}

impl<'a, T: Trust> Claim<'a, T> {
    #[inline]
    pub(crate) fn new(producer: &'a mut Producer<T>, pending: Pending, space: Space) -> Self {
        Self {
            producer,
            pending,
            space,
            written: 0,
        }
    }

    /// Bytes that were claimed.
    ///
    /// ```
    /// let (mut tx, _rx) = ringduct::pair(4096)?;
    /// assert_eq!(tx.try_claim(10)?.capacity_bytes(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capacity_bytes(&self) -> usize {
        self.space.message_bytes() as usize
    }

    /// Copies `bytes` to `offset` of the message.
    ///
    /// # Errors
    ///
    /// [`TrySendError::TooLong`] when they reach beyond what was claimed; nothing is written then.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// let mut claim = tx.try_claim(4)?;
    /// claim.write_at(1, b"bcd")?;
    /// claim.write_at(0, b"a")?;
    /// assert!(claim.write_at(2, b"too long").is_err());
    /// claim.commit();
    /// let mut out = Vec::new();
    /// rx.try_recv_vec(&mut out)?;
    /// assert_eq!(out, b"abcd");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<(), TrySendError> {
        let end = offset.saturating_add(bytes.len());
        let max = self.capacity_bytes();
        let (true, Ok(start)) = (end <= max, u32::try_from(offset)) else {
            let (message_bytes, max_bytes) = (end as u64, max as u64);
            return Err(TrySendError::TooLong {
                message_bytes,
                max_bytes,
            });
        };
        self.producer.end.link.check()?;
        self.producer.end.core.write_at(self.space, start, bytes);
        self.producer.end.link.check_intact()?;
        let end = u32::try_from(end).unwrap_or(self.space.message_bytes());
        self.written = self.written.max(end);
        Ok(())
    }

    /// See `descriptors`.
    pub(crate) fn read_from_fd(&mut self, source: BorrowedFd<'_>) -> io::Result<usize> {
        self.producer.end.link.check().map_err(TrySendError::from)?;
        let room = self.space.message_bytes().saturating_sub(self.written);
        let to = position::advance(self.space.payload(), u64::from(self.written));
        let memory = self.producer.end.core.memory();
        let outcome = memory.read_in(source, to, room as usize);
        let link = &mut self.producer.end.link;
        let count = outcome.map_err(|error| link.explain_fault(error))?;
        let count_short = u32::try_from(count).unwrap_or(room).min(room);
        self.written = self.written.saturating_add(count_short);
        Ok(count)
    }

    /// Publishes the message with the length that was claimed.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.try_claim(10)?.commit();
    /// assert_eq!(rx.peek_len()?, 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn commit(self) {
        let bytes = self.space.message_bytes();
        self.finish(bytes);
    }

    /// Publishes the message up to the last byte written so far. Once a trusted claim was used as
    /// a mutable slice, all of it counts as written.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// let mut claim = tx.try_claim(10)?;
    /// claim.write_at(0, b"short")?;
    /// claim.commit_written();
    /// assert_eq!(rx.peek_len()?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn commit_written(self) {
        let bytes = self.written;
        self.finish(bytes);
    }

    /// Publishes the first `bytes` bytes of the message.
    ///
    /// # Errors
    ///
    /// [`TrySendError::TooLong`] for more than was claimed; the claim is abandoned then.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.try_claim(10)?.commit_len(4)?;
    /// assert_eq!(rx.peek_len()?, 4);
    /// assert!(tx.try_claim(10)?.commit_len(11).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn commit_len(self, bytes: usize) -> Result<(), TrySendError> {
        let max = self.capacity_bytes();
        let (true, Ok(short)) = (bytes <= max, u32::try_from(bytes)) else {
            let (message_bytes, max_bytes) = (bytes as u64, max as u64);
            return Err(TrySendError::TooLong {
                message_bytes,
                max_bytes,
            });
        };
        self.finish(short);
        Ok(())
    }

    #[inline]
    fn finish(mut self, bytes: u32) {
        if !self.producer.end.link.is_owner() {
            return; // inherited by a fork: nothing is mapped here
        }
        self.producer
            .end
            .core
            .seal_in_place(&mut self.pending, self.space, bytes);
        self.producer.publish(self.pending);
    }
}

/// Appends to what was written so far.
impl<T: Trust> io::Write for Claim<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let start = self.written as usize;
        let room = self.capacity_bytes().saturating_sub(start);
        let (part, _) = bytes.split_at(bytes.len().min(room));
        self.write_at(start, part).map_err(io::Error::other)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Claim<'_, Trusted> {
    pub(crate) const fn space(&self) -> Space {
        self.space
    }

    pub(crate) const fn producer(&self) -> &Producer<Trusted> {
        self.producer
    }

    /// A mutable slice was handed out: all of the message may be written.
    pub(crate) const fn note_slice(&mut self) {
        self.written = self.space.message_bytes();
    }
}
