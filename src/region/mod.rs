//! Getting the bytes of a ring from the kernel, and giving them back.
//!
//! Five backings, one result: an [`Object`] that is open, and a [`Mapping`] of it in which the
//! data area lies twice back to back. What the bytes mean is decided elsewhere.

mod anon;
mod disk;
mod file;
mod memfd;
mod mirror;
mod names;
mod own;
pub(crate) mod passing;
mod path;
mod shm;
mod sysv;
#[cfg(test)]
mod tests;
mod unix;

use core::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Corruption, Damage, OpenError};
use crate::layout::{HEADER_READ_BYTES, Role, Shape, UncheckedHeader};
use crate::location::Location;
use crate::options::{CreatePlan, HugePages, MapExtras};

pub(crate) use mirror::Mapping;
pub(crate) use own::OwnDescription;
pub(crate) use unix::{await_server, connect};

use mirror::Source;
use names::Place;
use own::Fresh;
use sysv::Segment;

/// What a ring's bytes live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backing {
    /// A file with a name; the only backing that can outlive a power cut.
    File,
    /// A POSIX shared memory object: a file under `/dev/shm`.
    Shm,
    /// A sealed memory file without a name, handed over by descriptor.
    Memfd,
    /// A sealed memory file that only forked children share.
    Anonymous,
    /// A System V shared memory segment.
    SysV,
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Shm => "shared memory object",
            Self::Memfd => "memory file",
            Self::Anonymous => "anonymous memory",
            Self::SysV => "System V segment",
        })
    }
}

/// What a mapping is for, which decides what of it can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everything: the creator writes the identity page.
    Create,
    /// What this role writes; the rest is read-only, as a guard against accidents. The data is left
    /// writable to a consumer that asks for it.
    End(Role),
    /// Everything: both ends share the mapping.
    Pair,
    /// Nothing.
    Observe,
}

/// What tells one file from another on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl FileId {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// Where a new ring lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) id: FileId,
    /// See [`disk::mount_number`].
    pub(crate) mount: u64,
}

/// What writes the header of a new ring, while nobody else can see it yet.
pub(crate) type Fill<'a> = &'a mut dyn FnMut(&Arc<Mapping>, Origin) -> Result<(), OpenError>;

/// A backing that is open and not mapped.
#[derive(Debug)]
pub(crate) struct Object {
    name: String,
    backing: Backing,
    /// The file with the bytes; for System V the companion file. Its description holds no lock.
    file: OwnedFd,
    file_id: FileId,
    /// Bytes of one page of `file`: a huge page on hugetlbfs.
    page_bytes: usize,
    /// The name of `file`, where it has one that we know.
    place: Option<Place>,
    segment: Option<Segment>,
    fresh: Fresh,
    read_only: bool,
}

impl Object {
    /// The location, as it was given.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What kind of backing this is.
    pub(crate) fn backing(&self) -> Backing {
        self.backing
    }

    /// Device and inode of the file whose bytes are locked: for System V, of the companion.
    pub(crate) fn file_id(&self) -> FileId {
        self.file_id
    }

    /// The size as it is now, in bytes.
    pub(crate) fn total_bytes(&self) -> Result<u64, OpenError> {
        if let Some(segment) = &self.segment {
            return segment.total_bytes(&self.name);
        }
        let stat = rustix::fs::fstat(&self.file)
            .map_err(|errno| OpenError::os(&self.name, "read its size", errno))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Reads the first bytes, without mapping a file; what lies beyond its end reads as zero.
    pub(crate) fn read_header(&self) -> Result<UncheckedHeader, OpenError> {
        if let Some(segment) = &self.segment {
            return segment.read_header(&self.name);
        }
        let mut bytes = [0_u8; HEADER_READ_BYTES];
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let offset = u64::try_from(done).unwrap_or(u64::MAX);
            match rustix::io::pread(&self.file, rest, offset) {
                Ok(0) => break,
                Ok(count) => done = done.saturating_add(count),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(OpenError::os(&self.name, "read its header", errno)),
            }
        }
        Ok(UncheckedHeader::new(bytes))
    }

    /// Maps the whole ring, the data twice. The caller has checked `shape` against the header.
    pub(crate) fn map(
        &self,
        shape: Shape,
        access: Access,
        extras: MapExtras,
    ) -> Result<Mapping, OpenError> {
        self.check_size(shape)?;
        let source = match &self.segment {
            Some(segment) => Source::Segment(segment.id()),
            None => Source::File(self.file.as_fd()),
        };
        mirror::map(&self.name, source, shape, access, extras)
    }

    fn check_size(&self, shape: Shape) -> Result<(), OpenError> {
        let total_bytes = self.total_bytes()?;
        if total_bytes < shape.total_bytes() {
            // A page beyond the end would raise SIGBUS, so this is asked again, last of all.
            return Err(OpenError::Damaged {
                name: self.name.clone(),
                field: "size in bytes",
                expected: shape.total_bytes(),
                found: total_bytes,
            });
        }
        Ok(())
    }

    /// What became of the ring under a mapping of it: the file is shorter by now, or a page was not
    /// to be had. Touches nothing that is mapped.
    ///
    /// Memory files are sealed and segments never change their size, so they are not asked.
    pub(crate) fn loss(&self, mapping: &Mapping) -> Option<Corruption> {
        let expected = mapping.shape().total_bytes();
        let found = match self.backing {
            Backing::File | Backing::Shm => self.total_bytes().unwrap_or(expected),
            Backing::Memfd | Backing::Anonymous | Backing::SysV => expected,
        };
        let fault = mapping.fault();
        let what = if found < expected {
            Damage::FileTruncated
        } else {
            Damage::PageLost
        };
        let position = match what {
            Damage::FileTruncated => fault.unwrap_or(found),
            _ => fault?,
        };
        Some(Corruption {
            what,
            position,
            expected,
            found,
        })
    }

    /// Bytes of the pages that the locked file is mapped in.
    pub(crate) fn lock_page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// Why a checkpoint of this ring would prove nothing; `None` if it would.
    pub(crate) fn doubts(&self) -> Result<Option<&'static str>, OpenError> {
        match self.backing {
            Backing::File => disk::doubts(self.file.as_fd())
                .map_err(|errno| OpenError::os(&self.name, "ask for its filesystem", errno)),
            Backing::Shm => Ok(Some("shared memory")),
            Backing::Memfd | Backing::Anonymous => Ok(Some("a memory file")),
            Backing::SysV => Ok(Some("a System V segment")),
        }
    }

    /// The mount that the file lies on: see [`disk::mount_number`].
    pub(crate) fn mount_number(&self) -> u64 {
        disk::mount_number(self.file.as_fd())
    }

    /// This object's own description, to probe locks and to sync; it never holds a lock.
    pub(crate) fn lock_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Whether this object was opened for reading only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Refuses a ring whose name was removed since it was opened: its peer would go to another one.
    pub(crate) fn check_still_there(&self) -> Result<(), OpenError> {
        let named = matches!(self.backing, Backing::File | Backing::Shm | Backing::SysV);
        let stat = rustix::fs::fstat(&self.file).map_err(|errno| {
            OpenError::os(&self.name, "look whether it still has a name", errno)
        })?;
        if named && stat.st_nlink == 0 {
            return Err(OpenError::NotFound {
                name: self.name.clone(),
            });
        }
        Ok(())
    }

    /// Removes the name, if it still means this very object; whoever has it mapped keeps it.
    pub(crate) fn unlink(&self) -> Result<(), OpenError> {
        let Some(place) = &self.place else {
            return Err(OpenError::InvalidOption {
                option: "location",
                found: self.name.clone(),
                expected: "a ring with a name; this one goes away with its last user".to_owned(),
            });
        };
        let Some(segment) = &self.segment else {
            return place.unlink(&self.name, self.file_id);
        };
        let removed = segment.remove(&self.name);
        // The companion goes too, even after a segment that is gone already; if somebody else
        // removed the companion, what was asked for is still done.
        match (removed, place.unlink(&self.name, self.file_id)) {
            (Ok(()), Err(OpenError::NotFound { .. })) => Ok(()),
            (removed, unlinked) => removed.and(unlinked),
        }
    }
}

/// Makes a new ring at a location: complete before anybody can see it, or not at all.
pub(crate) fn create(
    location: &Location,
    plan: &CreatePlan,
    fill: Fill<'_>,
) -> Result<Object, OpenError> {
    let name = location.to_string();
    if plan.durable {
        check_can_be_durable(&name, location)?;
    }
    match location {
        Location::File(path) => {
            let place = Place::of_path(&name, path)?;
            file::create(name, Backing::File, place, plan, fill)
        }
        Location::Shm(object) => shm::create(name, object, plan, fill),
        Location::SysVKey(key) => sysv::create(&name, *key, plan, fill),
        Location::Unix(_) => Err(OpenError::InvalidOption {
            option: "location",
            found: name,
            expected: "a ring that exists: serve one there with `ringduct serve -u PATH`, or hand \
                       over your own with Ring::hand_over"
                .to_owned(),
        }),
        Location::SysVId(_) | Location::Fd(_) => Err(OpenError::InvalidOption {
            option: "location",
            found: name,
            expected: "a path, shm:NAME or sysv:KEY: the others exist or can only be opened"
                .to_owned(),
        }),
    }
}

/// Refuses a durable ring where nothing is.
fn check_can_be_durable(name: &str, location: &Location) -> Result<(), OpenError> {
    let why = match location {
        Location::File(path) => {
            let place = Place::of_path(name, path)?;
            disk::doubts(place.dir())
                .map_err(|errno| OpenError::os(name, "ask for its filesystem", errno))?
        }
        Location::Shm(_) => Some("shared memory"),
        Location::SysVKey(_) | Location::SysVId(_) => Some("a System V segment"),
        Location::Fd(_) | Location::Unix(_) => Some("a memory file"),
    };
    match why {
        Some(why) => Err(OpenError::NotDurable {
            name: name.to_owned(),
            why,
        }),
        None => Ok(()),
    }
}

/// The same for memory without a name.
fn refuse_durable_memory(name: &str, plan: &CreatePlan) -> Result<(), OpenError> {
    if plan.durable {
        return Err(OpenError::NotDurable {
            name: name.to_owned(),
            why: "a memory file",
        });
    }
    Ok(())
}

/// Opens what is at a location and checks everything but its contents.
pub(crate) fn open(
    location: &Location,
    trust: Trust,
    read_only: bool,
) -> Result<Object, OpenError> {
    let name = location.to_string();
    let how = How { trust, read_only };
    match location {
        Location::File(path) => {
            let place = Place::of_path(&name, path).map_err(|error| match error {
                OpenError::Os { name, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                    OpenError::NotFound { name }
                }
                other => other,
            })?;
            file::open(name, Backing::File, place, how)
        }
        Location::Shm(object) => shm::open(name, object, how),
        Location::SysVKey(key) => sysv::open_key(name, *key, how),
        Location::SysVId(id) => sysv::open_id(name, *id, how),
        Location::Fd(number) => memfd::open(name, *number, how),
        // What is at a socket is received and not opened: see `connect` and `open_received`.
        Location::Unix(_) => Err(OpenError::InvalidOption {
            option: "location",
            found: name,
            expected: "one that can be opened by its name".to_owned(),
        }),
    }
}

/// Opens the ring whose descriptors another process has sent. The first is the ring; the others
/// are further descriptions of it, for a user who cannot open any.
pub(crate) fn open_received(
    name: &str,
    descriptors: Vec<OwnedFd>,
    trust: Trust,
    read_only: bool,
) -> Result<Object, OpenError> {
    memfd::open_received(name.to_owned(), descriptors, How { trust, read_only })
}

/// Makes a ring in a sealed memory file; `name` is what people see in `/proc`.
pub(crate) fn memfd(name: &str, plan: &CreatePlan, fill: Fill<'_>) -> Result<Object, OpenError> {
    refuse_durable_memory(name, plan)?;
    memfd::create(name, Backing::Memfd, plan, fill)
}

/// Makes a ring that only this process and its forked children can reach.
pub(crate) fn anonymous(plan: &CreatePlan, fill: Fill<'_>) -> Result<Object, OpenError> {
    refuse_durable_memory("anonymous", plan)?;
    anon::create(plan, fill)
}

/// Where a ring is going to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// At a location.
    Location(&'a Location),
    /// In a memory file, anonymous or not.
    Memory,
}

/// Bytes of the pages that a new ring there is made of.
pub(crate) fn unit_bytes(target: Target<'_>, huge: HugePages) -> Result<u64, OpenError> {
    let always = huge == HugePages::Always;
    match target {
        Target::Location(location @ Location::File(path)) => {
            file::unit_bytes(&location.to_string(), path, always)
        }
        Target::Location(Location::Shm(_)) if always => Err(OpenError::InvalidOption {
            option: "huge_pages",
            found: huge.to_string(),
            expected:
                "never or try for shm: names; for huge pages use a file on a hugetlbfs mount \
                       or a memory file"
                    .to_owned(),
        }),
        _ if always => memfd::huge_unit_bytes(),
        _ => Ok(kernel_page_bytes()),
    }
}

/// Bytes of an ordinary page of this kernel.
pub(crate) fn kernel_page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(u64::MAX)
}

/// Whom an opener trusts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust {
    /// The user that must own the ring.
    pub(crate) owner: u32,
    /// Permission bits; nobody else may write to the ring but whom these let write.
    pub(crate) mode: u32,
}

/// What an opener insists on.
#[derive(Clone, Copy, Debug)]
struct How {
    trust: Trust,
    read_only: bool,
}

impl How {
    fn flags(self) -> OFlags {
        if self.read_only {
            OFlags::RDONLY
        } else {
            OFlags::RDWR
        }
    }
}

/// A number of bytes as the kernel's calls want it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "usize has 64 bits: lib.rs refuses every other target"
)]
const fn to_usize(bytes: u64) -> usize {
    bytes as usize
}

/// Tells "no room" from everything else that the kernel may say.
fn space_error(name: &str, needed_bytes: u64, action: &'static str, errno: Errno) -> OpenError {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::FBIG => OpenError::NoSpace {
            name: name.to_owned(),
            needed_bytes,
            source: errno.into(),
        },
        _ => OpenError::os(name, action, errno),
    }
}
