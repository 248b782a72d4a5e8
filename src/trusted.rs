//! Plain slices into the ring, for those who trust whoever can write it.
//!
//! Trust is a type parameter of the ends, so that an end that was never vouched for can not be
//! swapped in behind one that was.
#![expect(
    unsafe_code,
    reason = "makes slices of mapped memory whose writers were vouched for"
)]

use core::ops::{Deref, DerefMut};
use core::slice;

use crate::batch::Claim;
use crate::consumer::Consumer;
use crate::error::{RecvError, TryRecvError};
use crate::ring::{Record, Taken};
use std::time::Instant;

/// How far an end trusts the other processes that can write its ring.
///
/// Sealed: [`Untrusted`] and [`Trusted`] are all there is.
pub trait Trust: sealed::Sealed {}

/// Messages are copied in and out; whatever the peer writes, nothing worse than a typed error
/// happens. The default.
#[derive(Clone, Copy, Debug)]
pub struct Untrusted;

/// The peer was vouched for by an `unsafe` call, or is in this program: messages can be read and
/// written where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Trusted;

impl Trust for Untrusted {}
impl Trust for Trusted {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Untrusted {}
    impl Sealed for super::Trusted {}
}

/// A claimed message as a slice. What it holds before it is written is left over from earlier
/// messages.
impl Deref for Claim<'_, Trusted> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let space = self.space();
        let start = self.producer().end.core.memory().data(space.payload());
        // SAFETY: the space check left `message_bytes` bytes from here on, inside one capacity of
        // a mirrored mapping that the producer keeps alive; all bytes are initialised. Space
        // between tail and head belongs to the producer, whom the claim borrows, and the trusted
        // peer stores at most to what is published: nobody changes the bytes while the slice lives. In a forked child
        // nothing is mapped here; whoever forks answers for not using what was begun before.
        unsafe { slice::from_raw_parts(start, space.message_bytes() as usize) }
    }
}

impl DerefMut for Claim<'_, Trusted> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.note_slice();
        let space = self.space();
        let start = self.producer().end.core.memory().data(space.payload());
        // SAFETY: as in `deref`; and the claim is borrowed mutably, so this is the only slice. The
        // trusted peer reads published records only, and this space is not published.
        unsafe { slice::from_raw_parts_mut(start, space.message_bytes() as usize) }
    }
}

/// A message where it lies in the ring. Dropping the view releases the message.
///
/// Not to be read in a forked child, which has no mapping of the ring; dropping it there does
/// nothing.
///
/// ```
/// let (mut tx, mut rx) = ringduct::pair(4096)?;
/// tx.send(b"look, no copy")?;
/// let view = rx.try_view()?;
/// assert_eq!(&*view, b"look, no copy");
/// drop(view);
/// assert_eq!(tx.backlog_bytes(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct View<'a> {
    consumer: &'a mut Consumer<Trusted>,
    record: Record,
    keep: bool,
}

impl View<'_> {
    /// Leaves the message in the ring: the next receive finds it again.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"not yet")?;
    /// rx.try_view()?.leave();
    /// assert_eq!(&*rx.try_view()?, b"not yet");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn leave(mut self) {
        self.keep = true;
    }
}

impl Deref for View<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        slice_of(self.consumer, self.record)
    }
}

impl Drop for View<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.keep {
            let mut taken = self.consumer.end.core.begin();
            taken.add(self.record);
            self.consumer.release(taken);
        }
    }
}

/// The payload of an unreleased record of a trusted ring.
#[inline]
fn slice_of(consumer: &Consumer<Trusted>, record: Record) -> &[u8] {
    let start = consumer.end.core.memory().data(record.payload());
    // SAFETY: the record's length was bounded by the ring's longest message, so its payload lies
    // inside one capacity of a mirrored mapping that the consumer keeps alive. A published record
    // is not written again before it is released, and releasing needs the consumer, which the
    // slice borrows; the trusted producer keeps to that. Forks: as for a claim, above.
    unsafe { slice::from_raw_parts(start, record.message_bytes() as usize) }
}

impl Consumer<Trusted> {
    /// The next message where it lies, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Consumer::try_recv`], which see; there is no buffer to be too small.
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// assert!(rx.try_view().is_err());
    /// tx.send(b"here")?;
    /// assert_eq!(rx.try_view()?.len(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_view(&mut self) -> Result<View<'_>, TryRecvError> {
        let record = self.front()?;
        self.verify_slice(record)?;
        Ok(View {
            consumer: self,
            record,
            keep: false,
        })
    }

    /// The next message where it lies, waiting for one until `deadline` if there is one.
    ///
    /// # Errors
    ///
    /// As [`Consumer::recv_deadline`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.send(b"here")?;
    /// assert_eq!(&*rx.view(None)?, b"here");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn view(&mut self, deadline: Option<Instant>) -> Result<View<'_>, RecvError> {
        let record = self.front_until(deadline)?;
        self.verify_slice(record).map_err(RecvError::from_try)?;
        Ok(View {
            consumer: self,
            record,
            keep: false,
        })
    }

    /// Shows up to `max` messages where they lie and releases them together: one update of the
    /// ring. Returns their number, 0 when nothing is there.
    ///
    /// Should `each` panic, the messages before that one are released and that one is not.
    ///
    /// # Errors
    ///
    /// As [`Consumer::drain`].
    ///
    /// ```
    /// let (mut tx, mut rx) = ringduct::pair(4096)?;
    /// tx.try_send_all(["a", "bc"])?;
    /// let mut bytes = 0;
    /// assert_eq!(rx.drain_views(100, |message| bytes += message.len())?, 2);
    /// assert_eq!(bytes, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain_views(
        &mut self,
        max: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Result<usize, TryRecvError> {
        self.take_many(max, |consumer, record| {
            consumer.verify_slice(record)?;
            each(slice_of(consumer, record));
            Ok(consumer.end.link.check_intact()?)
        })
    }

    #[inline]
    fn verify_slice(&mut self, record: Record) -> Result<(), TryRecvError> {
        let verdict = self
            .end
            .core
            .geometry()
            .verify(record, slice_of(self, record));
        verdict.map_err(|corruption| self.note(corruption).into())
    }
}

/// Releases what was taken when a batch ends, be it by a panic.
pub(crate) struct ReleaseOnDrop<'a, T: Trust> {
    pub(crate) consumer: &'a mut Consumer<T>,
    pub(crate) taken: Taken,
}

impl<T: Trust> Drop for ReleaseOnDrop<'_, T> {
    fn drop(&mut self) {
        self.consumer.release(self.taken);
    }
}
