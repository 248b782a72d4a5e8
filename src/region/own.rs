//! Fresh descriptions of a ring's file: for locks, for syncs, for other processes.
//!
//! Locks that are set through one description never exclude each other, so each needs one of its
//! own. They are opened anew; where the file's mode does not let this user in, they are those that
//! came with the ring, as far as they go.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::mirror::{self, Source};
use super::passing::Parked;
use super::{Access, Mapping, Object, names};
use crate::error::OpenError;
use crate::layout::Shape;
use crate::options::MapExtras;

/// Where descriptions of a ring's file come from.
#[derive(Debug)]
pub(super) enum Fresh {
    /// From opening the file anew.
    Reopened,
    /// From those that were handed over with the ring, if any were.
    HandedOver(Option<Arc<Parked>>),
}

/// A description that no other lock of this process is set through.
#[derive(Debug)]
pub(crate) struct OwnDescription {
    file: OwnedFd,
    /// Where it came from, unless it was opened here.
    home: Option<Arc<Parked>>,
}

impl OwnDescription {
    /// Whether another process opened it, and may have kept it.
    pub(crate) fn was_handed_over(&self) -> bool {
        self.home.is_some()
    }

    /// Leaves it to whoever needs one next. No lock may be set through it any more.
    pub(crate) fn give_back(self) {
        if let Some(home) = self.home {
            // If the kernel will not have it, the next one is told that there is none.
            let _parked = home.put_back(self.file.as_fd());
        }
    }
}

impl AsFd for OwnDescription {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Object {
    /// A fresh description of the file whose bytes are locked, for one lock.
    pub(crate) fn own_description(&self) -> Result<OwnDescription, OpenError> {
        let taken = match &self.fresh {
            Fresh::Reopened => {
                let flags = OFlags::RDWR | OFlags::NONBLOCK;
                let file = names::reopen(self.file.as_fd(), flags).map_err(|errno| {
                    OpenError::os(&self.name, "reopen it to take a lock", errno)
                })?;
                return Ok(OwnDescription { file, home: None });
            }
            Fresh::HandedOver(None) => None,
            Fresh::HandedOver(Some(parked)) => parked
                .take()
                .map_err(|errno| OpenError::os(&self.name, "take out what came with it", errno))?
                .map(|file| OwnDescription {
                    file,
                    home: Some(Arc::clone(parked)),
                }),
        };
        taken.ok_or_else(|| OpenError::NeedsHandOver {
            name: self.name.clone(),
        })
    }

    /// Opens a fresh description for handing over to another process.
    pub(crate) fn fresh_description(&self, read_only: bool) -> Result<OwnedFd, OpenError> {
        if self.segment.is_some() {
            return Err(OpenError::InvalidOption {
                option: "location",
                found: self.name.clone(),
                expected: "a ring with a descriptor; hand over the key or id of this one"
                    .to_owned(),
            });
        }
        let flags = if read_only {
            OFlags::RDONLY
        } else {
            OFlags::RDWR
        };
        names::reopen(self.file.as_fd(), flags)
            .map_err(|errno| OpenError::os(&self.name, "reopen it to hand it over", errno))
    }

    /// Maps the whole ring through a description of its own, for an end that makes checkpoints.
    pub(crate) fn map_durably(
        &self,
        shape: Shape,
        access: Access,
        extras: MapExtras,
    ) -> Result<Mapping, OpenError> {
        self.check_size(shape)?;
        let own = self.own_description()?.file;
        let mapping = mirror::map(&self.name, Source::File(own.as_fd()), shape, access, extras)?;
        Ok(mapping.with_medium(own))
    }

    /// Refuses a durable ring to a user whom its mode keeps out: recovery and checkpoints need more
    /// descriptions than come with a ring.
    pub(crate) fn check_durable_use(&self) -> Result<(), OpenError> {
        match self.fresh {
            Fresh::HandedOver(_) if !self.read_only => Err(OpenError::os(
                &self.name,
                "open it anew, as the ends of a durable ring must (its mode has to admit this \
                 user)",
                Errno::ACCESS,
            )),
            _ => Ok(()),
        }
    }
}
