//! Every error the library returns: what happened, to what, expected and found, what to do next.
//!
//! The hot path returns small `Copy` enums; opening, creating and attaching return [`OpenError`].

use core::fmt;
use std::error::Error;
use std::io;

use crate::layout::Role;
use crate::peer::Holder;

/// Something in shared memory that no correct peer can have written.
///
/// After one of these the end refuses further work: nothing in the ring can be trusted any more.
/// Salvage what you need through an [`Observer`](crate::Observer), remove the ring and make a new
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// Which word or record was wrong.
    pub what: Damage,
    /// The position in the stream at which it was found.
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
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Damage::RecordLength => "record length",
            Damage::RecordReserved => "reserved bits of a commit word",
            Damage::RecordChecksum => "record checksum",
            Damage::RecordBeyondEnd => "end of a record",
            Damage::Tail => "producer's tail",
            Damage::Head => "consumer's head",
        };
        let Self {
            position,
            expected,
            found,
            ..
        } = self;
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

from_corruption!(TrySendError, SendError, TryRecvError, RecvError);

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

from_refused!(TrySendError, SendError, TryRecvError, RecvError);

impl SendError {
    /// The same reason in the blocking form, where "full" can only mean that time ran out.
    pub(crate) const fn from_try(error: TrySendError) -> Self {
        match error {
            TrySendError::Full => Self::TimedOut,
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

plain_errors!(TrySendError, SendError, TryRecvError, RecvError);

/// Why a ring could not be created, opened or attached to.
///
/// Nothing was written to a file that was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// No ring has this name. Create it, or wait for whoever does.
    NotFound {
        /// The location, as it was given.
        name: String,
    },
    /// Something already has this name. Open it, remove it, or choose another.
    AlreadyExists {
        /// The location, as it was given.
        name: String,
    },
    /// What is there is not a ring. It was left untouched.
    NotARing {
        /// The location, as it was given.
        name: String,
        /// What a ring has there.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The ring has a format this version of the library does not read.
    Unsupported {
        /// The location, as it was given.
        name: String,
        /// Which property: `format version`, `features`, `page size`.
        property: &'static str,
        /// What this version and machine understand.
        expected: u64,
        /// What the ring has.
        found: u64,
    },
    /// It was a ring, and its header or its shared words are damaged.
    Damaged {
        /// The location, as it was given.
        name: String,
        /// Which field.
        field: &'static str,
        /// The value it had to have, or the bound it had to keep.
        expected: u64,
        /// What was found.
        found: u64,
    },
    /// A record or a position in the ring is damaged.
    Corrupt {
        /// The location, as it was given.
        name: String,
        /// What was found, and where.
        corruption: Corruption,
    },
    /// The ring belongs to another user than was asked for.
    WrongOwner {
        /// The location, as it was given.
        name: String,
        /// User id that was asked for: the caller's own unless another was named.
        expected: u32,
        /// User id that owns it.
        found: u32,
    },
    /// The memory file can still shrink under the mapping: it is not sealed.
    Unsealed {
        /// The location, as it was given.
        name: String,
        /// Names of the missing seals.
        missing: &'static str,
    },
    /// An option was given explicitly and the existing ring has another value.
    Mismatch {
        /// The location, as it was given.
        name: String,
        /// Which option.
        option: &'static str,
        /// What was asked for.
        expected: String,
        /// What the ring has.
        found: String,
    },
    /// An option has a value that no ring, or no ring on this backing, can have.
    InvalidOption {
        /// Which option.
        option: &'static str,
        /// The value that was given.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// There is no room for the ring. Nothing was left behind.
    NoSpace {
        /// The location, as it was given.
        name: String,
        /// Bytes the ring needs.
        needed_bytes: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another process holds the role.
    RoleTaken {
        /// The location, as it was given.
        name: String,
        /// Which role.
        role: Role,
        /// Who says it holds it: a hint from the holder's own page, not verified.
        holder: Box<Holder>,
    },
    /// Another process is attaching or recovering and did not finish in time.
    Busy {
        /// The location, as it was given.
        name: String,
        /// How long this call waited.
        waited_ms: u64,
    },
    /// A System V segment whose creator has not finished the ring, or died before it had.
    Unfinished {
        /// The location, as it was given.
        name: String,
    },
    /// The ring was last used under another boot, or is a copy: what it holds is not proved.
    Cold {
        /// The location, as it was given.
        name: String,
        /// Why: the boot id, or the file's identity, is not the recorded one.
        why: &'static str,
    },
    /// The kernel refused a step.
    Os {
        /// The location, as it was given.
        name: String,
        /// What was being done.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl OpenError {
    /// Wraps a refusal of the kernel.
    pub(crate) fn os(name: &str, action: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Os {
            name: name.to_owned(),
            action,
            source: source.into(),
        }
    }

    /// Names the ring a corruption was found in.
    pub(crate) fn corrupt(name: &str, corruption: Corruption) -> Self {
        Self::Corrupt {
            name: name.to_owned(),
            corruption,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidOption {
                option,
                found,
                expected,
            } => {
                write!(f, "option {option} is {found}, allowed is {expected}")
            }
            Self::NotFound { name }
            | Self::AlreadyExists { name }
            | Self::NotARing { name, .. }
            | Self::Unsupported { name, .. }
            | Self::Damaged { name, .. }
            | Self::Corrupt { name, .. }
            | Self::WrongOwner { name, .. }
            | Self::Unsealed { name, .. }
            | Self::Mismatch { name, .. }
            | Self::NoSpace { name, .. }
            | Self::RoleTaken { name, .. }
            | Self::Busy { name, .. }
            | Self::Unfinished { name }
            | Self::Cold { name, .. }
            | Self::Os { name, .. } => {
                write!(f, "{name}: ")?;
                self.finding(f)?;
                self.advice(f)
            }
        }
    }
}

impl OpenError {
    /// What is so, expected and found.
    fn finding(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { .. } => f.write_str("there is no such ring"),
            Self::AlreadyExists { .. } => f.write_str("already exists"),
            Self::NotARing {
                expected, found, ..
            } => {
                write!(f, "not a ring: expected {expected}, found {found}")
            }
            Self::Unsupported {
                property,
                expected,
                found,
                ..
            } => write!(
                f,
                "unsupported {property}: this build understands {expected:#x}, the ring has \
                 {found:#x}"
            ),
            Self::Damaged {
                field,
                expected,
                found,
                ..
            } => {
                write!(
                    f,
                    "damaged: {field} should be {expected:#x} and is {found:#x}"
                )
            }
            Self::Corrupt { corruption, .. } => fmt::Display::fmt(corruption, f),
            Self::WrongOwner {
                expected, found, ..
            } => {
                write!(f, "belongs to user {found}, expected user {expected}")
            }
            Self::Unsealed { missing, .. } => {
                write!(f, "the memory file lacks the seals {missing}")
            }
            Self::Mismatch {
                option,
                expected,
                found,
                ..
            } => {
                write!(f, "exists with {option} {found}, asked for {expected}")
            }
            Self::InvalidOption { .. } => Ok(()),
            Self::NoSpace {
                needed_bytes,
                source,
                ..
            } => {
                write!(f, "no room for {needed_bytes} bytes ({source})")
            }
            Self::RoleTaken { role, holder, .. } => write!(f, "already has a {role}: {holder}"),
            Self::Busy { waited_ms, .. } => {
                write!(
                    f,
                    "another process has been attaching to it for {waited_ms} ms"
                )
            }
            Self::Unfinished { .. } => f.write_str("its creator has not finished it"),
            Self::Cold { why, .. } => write!(
                f,
                "{why}: what it holds is not proved, and this version does not recover it"
            ),
            Self::Os { action, source, .. } => write!(f, "cannot {action}: {source}"),
        }
    }

    /// What to do next, where it is not plain.
    fn advice(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound { .. } => "; create it first, or wait for its creator",
            Self::AlreadyExists { .. } => "; open it, remove it, or choose another name",
            Self::NotARing { .. } => "; it was left untouched: choose another name",
            Self::Unsupported { .. } => "; use the version that made it, or make a new ring",
            Self::Damaged { .. } => "; it was left untouched: restore it, or make a new ring",
            Self::WrongOwner { .. } => "; name the owner in the options if that is who you trust",
            Self::Unsealed { .. } => "; its sender must seal it before handing it over",
            Self::Mismatch { .. } => {
                "; leave the option out to accept the ring as it is, or remove it first"
            }
            Self::NoSpace { .. } => {
                "; free some, choose a smaller capacity, or in a container raise its limit on \
                 shared memory"
            }
            Self::RoleTaken { .. } => "; wait until it has left, or end it",
            Self::Busy { .. } => "; try again; if that process is stopped, continue or end it",
            Self::Unfinished { .. } => {
                "; try again; if its creator died, remove the segment with ipcrm and its file \
                 /dev/shm/ringduct-sysv-ID"
            }
            Self::Cold { .. } => {
                "; it was left untouched: copy what you need, remove it, make a new one"
            }
            Self::Corrupt { .. } | Self::InvalidOption { .. } | Self::Os { .. } => "",
        })
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoSpace { source, .. } | Self::Os { source, .. } => Some(source),
            Self::Corrupt { corruption, .. } => Some(corruption),
            _ => None,
        }
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        let kind = match &error {
            OpenError::NotFound { .. } => io::ErrorKind::NotFound,
            OpenError::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
            OpenError::InvalidOption { .. } | OpenError::Mismatch { .. } => {
                io::ErrorKind::InvalidInput
            }
            OpenError::RoleTaken { .. } | OpenError::Busy { .. } | OpenError::Unfinished { .. } => {
                io::ErrorKind::ResourceBusy
            }
            OpenError::WrongOwner { .. } | OpenError::Unsealed { .. } => {
                io::ErrorKind::PermissionDenied
            }
            OpenError::NoSpace { .. } => io::ErrorKind::StorageFull,
            OpenError::Os { source, .. } => source.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

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
             sysv:0xKEY, sysv:id:N or fd:N"
        )
    }
}

impl Error for ParseLocationError {}
