//! Why a ring could not be created, opened or attached to.

use core::fmt;
use std::error::Error;
use std::io;

use super::Corruption;
use crate::layout::Role;
use crate::peer::Holder;

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
    /// Others than the ring's owner may write to it, and were not expected to.
    WrongMode {
        /// The location, as it was given.
        name: String,
        /// The mode that was asked for: `0o600` unless another was named.
        expected: u32,
        /// Its permission bits.
        found: u32,
    },
    /// The process at the other end of the socket runs under another user than the ring was meant
    /// for. Nothing was sent.
    WrongReceiver {
        /// The ring.
        name: String,
        /// User id that it was meant for: the caller's own unless another was named.
        expected: u32,
        /// User id of the process at the other end.
        found: u32,
    },
    /// This user may not open the ring, which was handed over, and each hand-over brings what one
    /// role takes, once.
    NeedsHandOver {
        /// The location, as it was given.
        name: String,
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
    /// The ring can not be durable where it is, or is not meant to be.
    NotDurable {
        /// The location, as it was given.
        name: String,
        /// What it lies on.
        why: &'static str,
    },
    /// A sync of this durable ring failed under this boot: what is in memory need not be on the
    /// medium, and no later sync could tell.
    Poisoned {
        /// The location, as it was given.
        name: String,
    },
    /// Records that a checkpoint had acknowledged are not there: the medium broke its word, or
    /// something else wrote to the file. Nothing was changed.
    DataLoss {
        /// The location, as it was given.
        name: String,
        /// The position up to which everything was acknowledged.
        acknowledged: u64,
        /// The position up to which records are whole.
        found: u64,
    },
    /// Nobody hands the ring over at its socket. Start its server, or look whether it is stopped.
    NotServed {
        /// The location, as it was given.
        name: String,
        /// How that shows.
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
            | Self::WrongMode { name, .. }
            | Self::WrongReceiver { name, .. }
            | Self::NeedsHandOver { name }
            | Self::Unsealed { name, .. }
            | Self::Mismatch { name, .. }
            | Self::NoSpace { name, .. }
            | Self::RoleTaken { name, .. }
            | Self::Busy { name, .. }
            | Self::Unfinished { name }
            | Self::Cold { name, .. }
            | Self::NotDurable { name, .. }
            | Self::Poisoned { name }
            | Self::DataLoss { name, .. }
            | Self::NotServed { name, .. }
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
            Self::WrongOwner { .. }
            | Self::WrongMode { .. }
            | Self::WrongReceiver { .. }
            | Self::NeedsHandOver { .. }
            | Self::Unsealed { .. } => self.trust_finding(f),
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
            Self::Cold { .. }
            | Self::NotDurable { .. }
            | Self::Poisoned { .. }
            | Self::DataLoss { .. } => self.durable_finding(f),
            Self::NotServed { why, .. } => f.write_str(why),
            Self::Os { action, source, .. } => write!(f, "cannot {action}: {source}"),
        }
    }

    /// The same for who may do what.
    fn trust_finding(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongOwner {
                expected, found, ..
            } => write!(f, "belongs to user {found}, expected user {expected}"),
            Self::WrongMode {
                expected, found, ..
            } => write!(
                f,
                "others than its owner may write to it: its mode is {found:#o}, expected \
                 {expected:#o}"
            ),
            Self::WrongReceiver {
                expected, found, ..
            } => write!(
                f,
                "not handed over: user {found} is at the other end of the socket, expected user \
                 {expected}"
            ),
            Self::NeedsHandOver { .. } => f.write_str(
                "this user may not open it, and nothing is left of what came with it for a role",
            ),
            Self::Unsealed { missing, .. } => {
                write!(f, "the memory file lacks the seals {missing}")
            }
            _ => Ok(()),
        }
    }

    /// The same for what power cuts leave.
    fn durable_finding(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cold { why, .. } => write!(
                f,
                "{why}: what it holds is not proved, since it was not made durable"
            ),
            Self::NotDurable { why, .. } => {
                write!(f, "nothing outlives a power cut there: it is {why}")
            }
            Self::Poisoned { .. } => f.write_str(
                "a sync of it has failed under this boot: what is in memory need not be on the medium",
            ),
            Self::DataLoss {
                acknowledged,
                found,
                ..
            } => write!(
                f,
                "data is lost: everything up to position {acknowledged} was acknowledged, records \
                 are whole up to {found}"
            ),
            _ => Ok(()),
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
            Self::WrongMode { .. } => {
                "; take those rights away, or name that mode in the options if they are meant"
            }
            Self::WrongReceiver { .. } => "; name that user if it is meant",
            Self::NeedsHandOver { .. } => {
                "; have it handed over once more, or made with a mode that lets this user in"
            }
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
            Self::NotDurable { .. } => {
                "; put a file on ext4, xfs, btrfs or f2fs, and make the ring with `durable`"
            }
            Self::Poisoned { .. } => {
                "; copy what it holds with salvage; after a reboot it is recovered from its medium"
            }
            Self::DataLoss { .. } => {
                "; it was left untouched: look at the disk, copy what is left with salvage"
            }
            Self::NotServed { .. } => {
                "; start its server (`ringduct serve`), or continue it if it is stopped"
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
            OpenError::WrongOwner { .. }
            | OpenError::WrongMode { .. }
            | OpenError::WrongReceiver { .. }
            | OpenError::NeedsHandOver { .. }
            | OpenError::Unsealed { .. } => io::ErrorKind::PermissionDenied,
            OpenError::NoSpace { .. } => io::ErrorKind::StorageFull,
            OpenError::NotServed { .. } => io::ErrorKind::ConnectionRefused,
            OpenError::NotDurable { .. } => io::ErrorKind::Unsupported,
            OpenError::Os { source, .. } => source.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
