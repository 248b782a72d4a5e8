//! Messages that are values of one type.

use core::fmt;
use core::marker::PhantomData;
use std::error::Error;
use std::time::Instant;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::consumer::Consumer;
use crate::error::{RecvError, SendError, TryRecvError, TrySendError};
use crate::producer::Producer;
use crate::trusted::{Trust, Untrusted};
use crate::wait::Patience;

/// A producer of values of one type `M`, each one message of exactly `size_of::<M>()` bytes.
///
/// The bytes go as they lie in memory, so both sides must mean the same type by them: use
/// `#[repr(C)]`, and say which type in the ring's
/// [application tag](crate::Options::application_tag).
///
/// ```
/// use ringduct::{TypedConsumer, TypedProducer};
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
/// #[repr(C)]
/// struct Trade {
///     order: u64,
///     price_ticks: i32,
///     lots: u32,
/// }
///
/// let (tx, rx) = ringduct::pair(4096)?;
/// let mut tx = TypedProducer::<Trade, _>::new(tx);
/// let mut rx = TypedConsumer::<Trade, _>::new(rx);
/// let trade = Trade { order: 7, price_ticks: -3, lots: 100 };
/// tx.send(&trade)?;
/// assert_eq!(rx.recv()?, trade);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TypedProducer<M, T: Trust = Untrusted> {
    producer: Producer<T>,
    message: PhantomData<fn(&M)>,
}

impl<M, T: Trust> fmt::Debug for TypedProducer<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedProducer")
            .field(&self.producer)
            .finish()
    }
}

impl<M: IntoBytes + Immutable, T: Trust> TypedProducer<M, T> {
    /// Wraps a producer.
    ///
    /// ```
    /// use ringduct::{TypedConsumer, TypedProducer};
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let mut tx = TypedProducer::<u64, _>::new(tx);
    /// assert_eq!(tx.try_send(&7), Ok(()));
    /// # drop(rx);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn new(producer: Producer<T>) -> Self {
        Self {
            producer,
            message: PhantomData,
        }
    }

    /// Publishes `message` if there is room now.
    ///
    /// # Errors
    ///
    /// As [`Producer::try_send`].
    ///
    /// ```
    /// use ringduct::{TrySendError, TypedProducer};
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// let mut tx = TypedProducer::<[u8; 4000], _>::new(tx);
    /// assert_eq!(tx.try_send(&[0; 4000]), Ok(()));
    /// assert_eq!(tx.try_send(&[0; 4000]), Err(TrySendError::Full));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    #[inline]
    pub fn try_send(&mut self, message: &M) -> Result<(), TrySendError> {
        self.producer.try_send(message.as_bytes())
    }

    /// Publishes `message`, waiting for room as long as it takes.
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    ///
    /// ```
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// let mut tx = ringduct::TypedProducer::<u64, _>::new(tx);
    /// assert_eq!(tx.send(&1), Ok(()));
    /// assert_eq!(tx.get_ref().totals().bytes, 8);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    #[inline]
    pub fn send(&mut self, message: &M) -> Result<(), SendError> {
        self.producer.send(message.as_bytes())
    }

    /// Publishes `message`, waiting for room until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`Producer::send_deadline`].
    ///
    /// ```
    /// use std::time::Instant;
    /// let (tx, _rx) = ringduct::pair(4096)?;
    /// let mut tx = ringduct::TypedProducer::<u64, _>::new(tx);
    /// assert_eq!(tx.send_deadline(&1, Instant::now()), Ok(()));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn send_deadline(&mut self, message: &M, deadline: Instant) -> Result<(), SendError> {
        self.producer.send_deadline(message.as_bytes(), deadline)
    }

    /// Publishes as many of `messages` as fit now, in one batch, and says how many: they become
    /// visible all at once, for one update of the ring.
    ///
    /// # Errors
    ///
    /// As [`Producer::try_send_all`].
    ///
    /// ```
    /// use ringduct::{TypedConsumer, TypedProducer};
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let mut tx = TypedProducer::<u32, _>::new(tx);
    /// assert_eq!(tx.try_send_all(&[1, 2, 3])?, 3);
    /// let mut rx = TypedConsumer::<u32, _>::new(rx);
    /// assert_eq!((rx.recv()?, rx.recv()?, rx.recv()?), (1, 2, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_send_all(&mut self, messages: &[M]) -> Result<usize, TrySendError> {
        self.producer
            .try_send_all(messages.iter().map(IntoBytes::as_bytes))
    }

    /// The producer inside.
    ///
    /// ```
    /// use ringduct::{TypedConsumer, TypedProducer};
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let tx = TypedProducer::<u64, _>::new(tx);
    /// assert_eq!(tx.get_ref().capacity_bytes(), 4096);
    /// # drop(rx);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn get_ref(&self) -> &Producer<T> {
        &self.producer
    }

    /// The producer inside, to set how it waits.
    ///
    /// ```
    /// use ringduct::{TypedConsumer, TypedProducer};
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let mut tx = TypedProducer::<u64, _>::new(tx);
    /// tx.get_mut().set_wait(ringduct::Wait::Spin);
    /// assert_eq!(tx.get_ref().capacity_bytes(), 4096);
    /// # drop(rx);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn get_mut(&mut self) -> &mut Producer<T> {
        &mut self.producer
    }

    /// Takes the producer out again.
    ///
    /// ```
    /// use ringduct::{TypedConsumer, TypedProducer};
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let tx = TypedProducer::<u64, _>::new(tx);
    /// assert_eq!(tx.into_inner().capacity_bytes(), 4096);
    /// # drop(rx);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn into_inner(self) -> Producer<T> {
        self.producer
    }
}

/// Why a typed receive returned no value: the ring's own reason `E`, or a message of another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypedError<E> {
    /// The ring had no message to give.
    Ring(E),
    /// The next message is no value of this type. It is still there: receive it as bytes, or pass
    /// over it with [`TypedConsumer::skip`].
    WrongSize {
        /// Bytes of a value.
        expected_bytes: u64,
        /// Bytes of the message.
        found_bytes: u64,
    },
}

impl<E: fmt::Display> fmt::Display for TypedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(error) => error.fmt(f),
            Self::WrongSize {
                expected_bytes,
                found_bytes,
            } => write!(
                f,
                "the next message has {found_bytes} bytes and a value has {expected_bytes}: the \
                 producer sends another type; the message is still there, skip it to go on"
            ),
        }
    }
}

impl<E: Error + 'static> Error for TypedError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Ring(error) => error.source(),
            Self::WrongSize { .. } => None,
        }
    }
}

impl<E> From<E> for TypedError<E> {
    fn from(error: E) -> Self {
        Self::Ring(error)
    }
}

/// A consumer of values of one type `M`: see [`TypedProducer`] for an example.
///
/// Each value is copied out, and any bytes make a value of a type that is
/// [`FromBytes`]: a wrong producer can send nonsense, and nothing worse than that.
pub struct TypedConsumer<M, T: Trust = Untrusted> {
    consumer: Consumer<T>,
    /// As long as one value.
    bytes: Vec<u8>,
    message: PhantomData<fn() -> M>,
}

impl<M, T: Trust> fmt::Debug for TypedConsumer<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedConsumer")
            .field(&self.consumer)
            .finish()
    }
}

impl<M: FromBytes, T: Trust> TypedConsumer<M, T> {
    /// Wraps a consumer.
    ///
    /// ```
    /// use ringduct::{TypedConsumer, TypedProducer};
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let mut rx = TypedConsumer::<u64, _>::new(rx);
    /// assert!(rx.try_recv().is_err()); // nothing there
    /// # drop(tx);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn new(consumer: Consumer<T>) -> Self {
        Self {
            consumer,
            bytes: vec![0; size_of::<M>()],
            message: PhantomData,
        }
    }

    /// Takes the next value if there is one.
    ///
    /// # Errors
    ///
    /// [`TypedError::WrongSize`] for a message of another size, which stays where it is; otherwise
    /// as [`Consumer::try_recv`].
    ///
    /// ```
    /// use ringduct::{TryRecvError, TypedConsumer, TypedError};
    /// let (mut tx, rx) = ringduct::pair(4096)?;
    /// let mut rx = TypedConsumer::<u32, _>::new(rx);
    /// assert_eq!(rx.try_recv(), Err(TypedError::Ring(TryRecvError::Empty)));
    /// tx.send(b"123")?;
    /// tx.send(&7_u32.to_le_bytes())?;
    /// let wrong = TypedError::WrongSize { expected_bytes: 4, found_bytes: 3 };
    /// assert_eq!(rx.try_recv(), Err(wrong));
    /// assert_eq!(rx.try_recv(), Err(wrong)); // still there
    /// assert_eq!(rx.skip(1), Ok(1));
    /// assert_eq!(rx.try_recv(), Ok(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_recv(&mut self) -> Result<M, TypedError<TryRecvError>> {
        // One look says how long the message is and takes it: a length that was looked at before
        // may be another one by the time of a receive.
        let record = self.consumer.front()?;
        if record.message_bytes() as usize == self.bytes.len() {
            self.consumer.copy_front(record, &mut self.bytes)?;
            if let Ok(message) = M::read_from_bytes(&self.bytes) {
                self.consumer.release_one(record);
                return Ok(message);
            }
        }
        Err(TypedError::WrongSize {
            expected_bytes: self.bytes.len() as u64,
            found_bytes: u64::from(record.message_bytes()),
        })
    }

    /// Takes the next value, waiting for one as long as it takes.
    ///
    /// # Errors
    ///
    /// [`TypedError::WrongSize`] for a message of another size, which stays where it is; otherwise
    /// as [`Consumer::recv`].
    ///
    /// ```
    /// use ringduct::{RecvError, TypedConsumer, TypedError};
    /// let (mut tx, rx) = ringduct::pair(4096)?;
    /// tx.send(&7_u32.to_le_bytes())?;
    /// drop(tx);
    /// let mut rx = TypedConsumer::<u32, _>::new(rx);
    /// assert_eq!(rx.recv(), Ok(7));
    /// assert_eq!(rx.recv(), Err(TypedError::Ring(RecvError::Closed)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn recv(&mut self) -> Result<M, TypedError<RecvError>> {
        self.recv_until(None)
    }

    /// Takes the next value, waiting for one until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`TypedConsumer::recv`]; [`RecvError::TimedOut`] at the deadline.
    ///
    /// ```
    /// use ringduct::{RecvError, TypedConsumer, TypedError};
    /// use std::time::Instant;
    /// let (_tx, rx) = ringduct::pair(4096)?;
    /// let mut rx = TypedConsumer::<u32, _>::new(rx);
    /// let late = rx.recv_deadline(Instant::now());
    /// assert_eq!(late, Err(TypedError::Ring(RecvError::TimedOut)));
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<M, TypedError<RecvError>> {
        self.recv_until(Some(deadline))
    }

    #[inline]
    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<M, TypedError<RecvError>> {
        let mut patience = Patience::until(deadline);
        loop {
            match self.try_recv() {
                Ok(message) => return Ok(message),
                Err(TypedError::Ring(TryRecvError::Empty)) if patience.lasts() => {
                    self.consumer.wait_for_message(deadline)?;
                }
                Err(TypedError::Ring(error)) => return Err(RecvError::from_try(error).into()),
                Err(TypedError::WrongSize {
                    expected_bytes,
                    found_bytes,
                }) => {
                    return Err(TypedError::WrongSize {
                        expected_bytes,
                        found_bytes,
                    });
                }
            }
        }
    }

    /// Releases up to `max` messages unread, whatever their size, and says how many.
    ///
    /// # Errors
    ///
    /// As [`Consumer::skip`].
    ///
    /// ```
    /// let (mut tx, rx) = ringduct::pair(4096)?;
    /// tx.try_send_all(["four", "not four"])?;
    /// let mut rx = ringduct::TypedConsumer::<u32, _>::new(rx);
    /// assert_eq!(rx.skip(9)?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn skip(&mut self, max: usize) -> Result<usize, TryRecvError> {
        self.consumer.skip(max)
    }

    /// The consumer inside.
    ///
    /// ```
    /// use ringduct::{TypedConsumer, TypedProducer};
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let rx = TypedConsumer::<u64, _>::new(rx);
    /// assert_eq!(rx.get_ref().capacity_bytes(), 4096);
    /// # drop(tx);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn get_ref(&self) -> &Consumer<T> {
        &self.consumer
    }

    /// The consumer inside, to set how it waits or to receive a message as bytes.
    ///
    /// ```
    /// use ringduct::{TypedConsumer, TypedProducer};
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let mut rx = TypedConsumer::<u64, _>::new(rx);
    /// assert_eq!(rx.get_mut().skip(1), Ok(0));
    /// # drop(tx);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub const fn get_mut(&mut self) -> &mut Consumer<T> {
        &mut self.consumer
    }

    /// Takes the consumer out again. Nothing is buffered, so nothing is lost.
    ///
    /// ```
    /// use ringduct::{TypedConsumer, TypedProducer};
    /// let (tx, rx) = ringduct::pair(4096)?;
    /// let rx = TypedConsumer::<u64, _>::new(rx);
    /// assert_eq!(rx.into_inner().capacity_bytes(), 4096);
    /// # drop(tx);
    /// # Ok::<(), ringduct::OpenError>(())
    /// ```
    pub fn into_inner(self) -> Consumer<T> {
        self.consumer
    }
}
