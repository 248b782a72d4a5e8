//! Every error the library returns: what happened, to what, expected and found, what to do next.
//!
//! The hot path returns small `Copy` enums; opening, creating and attaching return [`OpenError`].

mod checkpoint;
mod open;

use core::fmt;
use std::error::Error;

pub use checkpoint::CheckpointError;
pub use open::OpenError;

/// Something in shared memory that no correct peer can have written, or memory that is not there any
/// more.
///
/// After one of these the end refuses further work: nothing in the ring can be trusted any more.
/// Salvage what you need through an [`Observer`](crate::Observer), remove the ring and make a new
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// Which word or record was wrong.
    pub what: Damage,
    /// The position in the stream at which it was found; for [`Damage::FileTruncated`] and
    /// [`Damage::PageLost`], the offset in the file.
    pub position: u64,
    /// The bound it had to keep, or the value it had to have.
    pub expected: u64,
    /// What was found.
    pub found: u64,
}

/// The kinds of damage that a [`Corruption`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// A record's length is zero or longer than the ring takes.
    RecordLength,
    /// Bits of a commit word that must be zero are not.
    RecordReserved,
    /// A record's checksum does not match its bytes.
    RecordChecksum,
    /// A record reaches beyond the end of what can be in the ring.
    RecordBeyondEnd,
    /// The producer's tail is not where a record can start, moved back, or ran too far ahead.
    Tail,
    /// The consumer's head is not where a record can start, moved back, or ran too far ahead.
    Head,
    /// The consumer's durable position is not where a record can start, moved back, or is beyond
    /// its head.
    DurableHead,
    /// A role has no whole checkpoint slot.
    Checkpoint,
    /// The number of a role's sessions went back: its page was taken out of the file, or
    /// overwritten.
    Session,
    /// The file is shorter than the ring: somebody has cut it off. Expected are the bytes of the
    /// ring, found those of the file. Without a [guard](crate#features) only found by calls that
    /// wait; others are ended by the signal SIGBUS.
    FileTruncated,
    /// A page of the file was not to be had though the file is long enough: it could not be read,
    /// there was no room for it, or it was cut off and is there again. Expected and found as above.
    PageLost,
}

impl Damage {
    /// What is damaged, in words.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RecordLength => "record length",
            Self::RecordReserved => "reserved bits of a commit word",
            Self::RecordChecksum => "record checksum",
            Self::RecordBeyondEnd => "end of a record",
            Self::Tail => "producer's tail",
            Self::Head => "consumer's head",
            Self::DurableHead => "consumer's durable position",
            Self::Checkpoint => "checkpoint slot",
            Self::Session => "session of a role",
            Self::FileTruncated => "end of the file",
            Self::PageLost => "page of the file",
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            position,
            expected,
            found,
            ..
        } = self;
        match self.what {
            Damage::FileTruncated => {
                return write!(
                    f,
                    "the ring's file was truncated: it has {found} of {expected} bytes (found at \
                     offset {position}); make a new ring, in a place where nobody else may write"
                );
            }
            Damage::PageLost => {
                return write!(
                    f,
                    "the ring's file can not be read or written at offset {position} of {expected}: \
                     see what the kernel's log says of the disk, and whether there is room; copy \
                     what can be read with salvage"
                );
            }
            _ => {}
        }
        let what = self.what.name();
        write!(
            f,
            "the ring is damaged: {what} at position {position} is {found:#x}, expected (at most) \
             {expected:#x}; the other side or something else wrote it; make a new ring"
        )
    }
}

impl Error for Corruption {}

macro_rules! from_corruption {
    ($($error:ident),*) => {$(
        impl From<Corruption> for $error {
            fn from(corruption: Corruption) -> Self {
                Self::Corrupt(corruption)
            }
        }
    )*};
}

/// Why a non-blocking send put nothing into the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError {
    /// There is no room now; try again once the consumer has released some.
    Full,
    /// Durable rings: the consumer has released enough, but no checkpoint of its covers that yet.
    /// Try again once it has made one; a consumer that waits for messages makes one by itself.
    WaitingForCheckpoint,
    /// Durable rings: a sync has failed, on this side or the other; nothing that is sent from now
    /// on could be made durable. Copy what the ring holds with [`Ring::salvage`](crate::Ring::salvage).
    Poisoned,
    /// The message can never fit, however empty the ring is.
    TooLong {
        /// Bytes of the message.
        message_bytes: u64,
        /// The longest message this ring takes.
        max_bytes: u64,
    },
    /// The consumer's page says what cannot be.
    Corrupt(Corruption),
    /// This handle was inherited by `fork`; attach anew in the child.
    Forked,
}

/// Why a blocking send put nothing into the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The deadline passed while the ring was full.
    TimedOut,
    /// Durable rings: the deadline passed while the consumer had released enough and had not yet
    /// made a checkpoint of it.
    WaitingForCheckpoint,
    /// Durable rings: a sync has failed, on this side or the other; nothing that is sent from now
    /// on could be made durable. Copy what the ring holds with [`Ring::salvage`](crate::Ring::salvage).
    Poisoned,
    /// The ring is full and the consumer closed it; said once, then the call waits for the next.
    Closed,
    /// The ring is full and the consumer died; said once, then the call waits for the next.
    PeerGone,
    /// The message can never fit, however empty the ring is.
    TooLong {
        /// Bytes of the message.
        message_bytes: u64,
        /// The longest message this ring takes.
        max_bytes: u64,
    },
    /// The consumer's page says what cannot be.
    Corrupt(Corruption),
    /// This handle was inherited by `fork`; attach anew in the child.
    Forked,
}

/// Why a non-blocking receive returned no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// Nothing is there now.
    Empty,
    /// Everything was taken and the producer closed the ring; said once for each producer.
    Closed,
    /// The caller's buffer is too small; the message stays where it is.
    BufferTooSmall {
        /// Bytes of the waiting message.
        message_bytes: u64,
        /// Bytes of the caller's buffer.
        buffer_bytes: u64,
    },
    /// A record or the producer's page says what cannot be.
    Corrupt(Corruption),
    /// This handle was inherited by `fork`; attach anew in the child.
    Forked,
}

/// Why a blocking receive returned no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The deadline passed while the ring was empty.
    TimedOut,
    /// Everything was taken and the producer closed the ring; the next call waits for another.
    Closed,
    /// Everything was taken and the producer died; the next call waits for another.
    PeerGone,
    /// The caller's buffer is too small; the message stays where it is.
    BufferTooSmall {
        /// Bytes of the waiting message.
        message_bytes: u64,
        /// Bytes of the caller's buffer.
        buffer_bytes: u64,
    },
    /// A record or the producer's page says what cannot be.
    Corrupt(Corruption),
    /// This handle was inherited by `fork`; attach anew in the child.
    Forked,
}

from_corruption!(
    TrySendError,
    SendError,
    TryRecvError,
    RecvError,
    CheckpointError
);

/// Why an end does no work at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Forked,
    Corrupt(Corruption),
}

macro_rules! from_refused {
    ($($error:ident),*) => {$(
        impl From<Refused> for $error {
            fn from(refused: Refused) -> Self {
                match refused {
                    Refused::Forked => Self::Forked,
                    Refused::Corrupt(corruption) => Self::Corrupt(corruption),
                }
            }
        }
    )*};
}

from_refused!(
    TrySendError,
    SendError,
    TryRecvError,
    RecvError,
    CheckpointError
);

impl SendError {
    /// The same reason in the blocking form, where "full" can only mean that time ran out.
    pub(crate) const fn from_try(error: TrySendError) -> Self {
        match error {
            TrySendError::Full => Self::TimedOut,
            TrySendError::WaitingForCheckpoint => Self::WaitingForCheckpoint,
            TrySendError::Poisoned => Self::Poisoned,
            TrySendError::TooLong {
                message_bytes,
                max_bytes,
            } => Self::TooLong {
                message_bytes,
                max_bytes,
            },
            TrySendError::Corrupt(corruption) => Self::Corrupt(corruption),
            TrySendError::Forked => Self::Forked,
        }
    }
}

impl RecvError {
    /// The same reason in the blocking form, where "empty" can only mean that time ran out.
    pub(crate) const fn from_try(error: TryRecvError) -> Self {
        match error {
            TryRecvError::Empty => Self::TimedOut,
            TryRecvError::Closed => Self::Closed,
            TryRecvError::BufferTooSmall {
                message_bytes,
                buffer_bytes,
            } => Self::BufferTooSmall {
                message_bytes,
                buffer_bytes,
            },
            TryRecvError::Corrupt(corruption) => Self::Corrupt(corruption),
            TryRecvError::Forked => Self::Forked,
        }
    }
}

const FULL: &str = "the ring is full: wait, or let the consumer release some";
const WAITING: &str = "the ring is full: its consumer has released enough and no checkpoint covers it \
                       yet; let the consumer make one";
const POISONED: &str = "a sync of this durable ring has failed: nothing can be made durable any more; \
                        copy what it holds with salvage";
const FORKED: &str = "this handle was made before a fork and is inert in the child: attach anew";
const TIMED_OUT: &str = "the deadline passed";

fn too_long(f: &mut fmt::Formatter<'_>, message_bytes: u64, max_bytes: u64) -> fmt::Result {
    write!(
        f,
        "the message has {message_bytes} bytes and this ring takes at most {max_bytes}: split it, \
         or make a ring with more capacity"
    )
}

fn too_small(f: &mut fmt::Formatter<'_>, message_bytes: u64, buffer_bytes: u64) -> fmt::Result {
    write!(
        f,
        "the message has {message_bytes} bytes and the buffer only {buffer_bytes}: it is still \
         there, receive it with a larger buffer"
    )
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Full => f.write_str(FULL),
            Self::WaitingForCheckpoint => f.write_str(WAITING),
            Self::Poisoned => f.write_str(POISONED),
            Self::TooLong {
                message_bytes,
                max_bytes,
            } => too_long(f, message_bytes, max_bytes),
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::Forked => f.write_str(FORKED),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TimedOut => write!(f, "{TIMED_OUT} while the ring was full"),
            Self::WaitingForCheckpoint => write!(f, "{TIMED_OUT}; {WAITING}"),
            Self::Poisoned => f.write_str(POISONED),
            Self::Closed => f.write_str("the ring is full and its consumer has closed"),
            Self::PeerGone => f.write_str("the ring is full and its consumer has died"),
            Self::TooLong {
                message_bytes,
                max_bytes,
            } => too_long(f, message_bytes, max_bytes),
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::Forked => f.write_str(FORKED),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("the ring is empty"),
            Self::Closed => f.write_str("the ring is drained and its producer has closed"),
            Self::BufferTooSmall {
                message_bytes,
                buffer_bytes,
            } => too_small(f, message_bytes, buffer_bytes),
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::Forked => f.write_str(FORKED),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TimedOut => write!(f, "{TIMED_OUT} while the ring was empty"),
            Self::Closed => f.write_str("the ring is drained and its producer has closed"),
            Self::PeerGone => f.write_str("the ring is drained and its producer has died"),
            Self::BufferTooSmall {
                message_bytes,
                buffer_bytes,
            } => too_small(f, message_bytes, buffer_bytes),
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::Forked => f.write_str(FORKED),
        }
    }
}

macro_rules! plain_errors {
    ($($error:ident),*) => {$(
        impl Error for $error {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                match self {
                    Self::Corrupt(corruption) => Some(corruption),
                    _ => None,
                }
            }
        }
    )*};
}

plain_errors!(
    TrySendError,
    SendError,
    TryRecvError,
    RecvError,
    CheckpointError
);

/// Text that does not name a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseLocationError {
    /// The text that was given.
    pub(crate) text: String,
    /// What is wrong with it.
    pub(crate) why: &'static str,
}

impl fmt::Display for ParseLocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, why } = self;
        write!(
            f,
            "{text:?} does not name a ring: {why}; write a path (orders.ring), shm:NAME, \
             sysv:0xKEY, sysv:id:N, fd:N or unix:PATH"
        )
    }
}

impl Error for ParseLocationError {}
