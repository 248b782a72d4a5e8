//! Names in directories: looked at without side effects, made without replacing, removed only
//! while they mean what was opened.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::{FileId, How, path, to_usize};
use crate::error::OpenError;

/// A name in a directory that stays the same directory, whatever happens to the path.
#[derive(Debug)]
pub(super) struct Place {
    dir: OwnedFd,
    file_name: OsString,
}

impl Place {
    /// Opens the directory of `path`; symbolic links on the way to it are followed unless anybody
    /// could have put them there.
    pub(super) fn of_path(name: &str, path: &Path) -> Result<Self, OpenError> {
        let file_name = match path.file_name() {
            Some(file_name) if !path.as_os_str().as_bytes().ends_with(b"/") => file_name,
            _ => return Err(not_a_ring(name, "a directory")),
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Self::in_dir(name, parent, file_name)
    }

    /// A name in the directory `dir`.
    pub(super) fn in_dir(name: &str, dir: &Path, file_name: &OsStr) -> Result<Self, OpenError> {
        Ok(Self {
            dir: path::open_dir(name, dir)?,
            file_name: file_name.to_owned(),
        })
    }

    /// The directory; open for finding names in it, nothing else.
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// What is at the name now; a symbolic link is looked at, not followed.
    pub(super) fn stat(&self) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.dir, &self.file_name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens what is at the name, once it is known to be a plain file of the right owner.
    ///
    /// The first look is through a descriptor that can only be looked at, so that opening a
    /// planted FIFO, device or link has no effect at all.
    pub(super) fn open(&self, name: &str, how: How) -> Result<(OwnedFd, Stat), OpenError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match rustix::fs::openat(&self.dir, &self.file_name, flags, Mode::empty()) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Err(not_found(name)),
            Err(errno) => return Err(OpenError::os(name, "look at it", errno)),
        };
        let stat =
            rustix::fs::fstat(&found).map_err(|errno| OpenError::os(name, "look at it", errno))?;
        check_regular(name, &stat)?;
        check_owner(name, &stat, how.trust.owner)?;
        check_mode(name, stat.st_mode, how.trust.mode)?;
        match stat.st_nlink {
            0 => return Err(not_found(name)),
            1 => {}
            _ => {
                return Err(OpenError::NotARing {
                    name: name.to_owned(),
                    expected: "a file with one name".to_owned(),
                    found: format!("a file with {} names", stat.st_nlink),
                });
            }
        }
        let file = reopen(found.as_fd(), how.flags() | OFlags::NONBLOCK)
            .map_err(|errno| OpenError::os(name, "open it", errno))?;
        Ok((file, stat))
    }

    /// Gives an unnamed file this name, unless the name is taken.
    pub(super) fn link(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        let path = descriptor_path(file);
        let flags = AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(CWD, path, &self.dir, &self.file_name, flags)
    }

    /// Gives the file with the name `from` in the same directory this name, unless it is taken.
    /// The old name may be left, for the caller to remove.
    pub(super) fn take_over(&self, from: &OsStr) -> Result<(), Errno> {
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.dir, from, &self.dir, &self.file_name, flags) {
            // A filesystem that cannot rename so can still link so.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let flags = AtFlags::empty();
                rustix::fs::linkat(&self.dir, from, &self.dir, &self.file_name, flags)
            }
            outcome => outcome,
        }
    }

    /// Opens the directory in the way that it can be synced.
    pub(super) fn dir_for_sync(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, ".", flags, Mode::empty())
    }

    /// Removes the name if it means `id`. Between the look and the removal somebody who may write
    /// to the directory can still swap the file: no call removes a name by inode.
    pub(super) fn unlink(&self, name: &str, id: FileId) -> Result<(), OpenError> {
        match self.stat() {
            Ok(stat) if FileId::of(&stat) == id => {}
            Ok(_) => {
                return Err(OpenError::NotARing {
                    name: name.to_owned(),
                    expected: "the ring that was opened".to_owned(),
                    found: "something else under its name".to_owned(),
                });
            }
            Err(Errno::NOENT) => return Err(not_found(name)),
            Err(errno) => return Err(OpenError::os(name, "look at its name", errno)),
        }
        match rustix::fs::unlinkat(&self.dir, &self.file_name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(not_found(name)),
            Err(errno) => Err(OpenError::os(name, "remove its name", errno)),
        }
    }
}

/// The link in `/proc` through which a descriptor is opened anew. Of the thread, not the process:
/// a thread may have descriptors of its own.
fn descriptor_path(file: BorrowedFd<'_>) -> String {
    format!("/proc/thread-self/fd/{}", file.as_raw_fd())
}

/// Opens a fresh description of an open file, with the rights its mode gives the caller.
pub(super) fn reopen(file: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    let fresh = rustix::fs::openat(CWD, descriptor_path(file), flags, Mode::empty())?;
    // Something else could be mounted over /proc: believe the inode, not the path.
    let (old, new) = (rustix::fs::fstat(file)?, rustix::fs::fstat(&fresh)?);
    if FileId::of(&old) == FileId::of(&new) {
        Ok(fresh)
    } else {
        Err(Errno::STALE)
    }
}

/// Looks at a descriptor of the caller's, by number, without taking it over.
pub(super) fn look_at_number(number: i32) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/thread-self/fd/{number}");
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// What a file lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    /// Memory, in ordinary pages.
    Tmpfs,
    /// Memory, in huge pages of this many bytes.
    Hugetlbfs(u64),
    /// A disk, for all we know.
    Other,
}

impl Medium {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    const HUGETLBFS_MAGIC: u64 = 0x9584_58F6;

    /// Asks the filesystem of an open file or directory.
    pub(super) fn of(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        let found = rustix::fs::fstatfs(file)?;
        Ok(match found.f_type.cast_unsigned_low() {
            Self::TMPFS_MAGIC => Self::Tmpfs,
            Self::HUGETLBFS_MAGIC => Self::Hugetlbfs(u64::try_from(found.f_bsize).unwrap_or(0)),
            _ => Self::Other,
        })
    }

    /// Bytes of the pages that files there are mapped in.
    pub(super) fn page_bytes(self) -> usize {
        match self {
            Self::Hugetlbfs(bytes) => to_usize(bytes),
            Self::Tmpfs | Self::Other => rustix::param::page_size(),
        }
    }
}

/// The number that the kernel gives the kind of file system that a file is on.
pub(super) fn fs_magic(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(rustix::fs::fstatfs(file)?.f_type.cast_unsigned_low())
}

/// Takes the low 32 bits of a signed kernel word: the number; the rest may be a sign.
trait LowHalf {
    fn cast_unsigned_low(self) -> u64;
}

impl LowHalf for rustix::fs::FsWord {
    fn cast_unsigned_low(self) -> u64 {
        u64::from_le_bytes(self.to_le_bytes()) & 0xFFFF_FFFF
    }
}

/// Only a plain file can be a ring.
pub(super) fn check_regular(name: &str, stat: &Stat) -> Result<(), OpenError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(not_a_ring(name, kind(stat))),
    }
}

/// Whether it is a socket.
pub(super) fn is_socket(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Socket
}

/// What kind of file something is, in words.
pub(super) fn kind(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "something else",
    }
}

/// Only the expected user's file is trusted.
pub(super) fn check_owner(name: &str, stat: &Stat, expected: u32) -> Result<(), OpenError> {
    if stat.st_uid == expected {
        Ok(())
    } else {
        Err(OpenError::WrongOwner {
            name: name.to_owned(),
            expected,
            found: stat.st_uid,
        })
    }
}

/// Bits of a mode that let somebody else than the owner write.
const OTHERS_WRITE: u32 = 0o022;

/// Nobody may write to the ring but its owner and whom the expected mode lets write.
pub(super) fn check_mode(name: &str, mode: u32, expected: u32) -> Result<(), OpenError> {
    if mode & OTHERS_WRITE & !expected == 0 {
        Ok(())
    } else {
        Err(OpenError::WrongMode {
            name: name.to_owned(),
            expected,
            found: mode & 0o777,
        })
    }
}

fn not_a_ring(name: &str, found: &str) -> OpenError {
    OpenError::NotARing {
        name: name.to_owned(),
        expected: "a regular file".to_owned(),
        found: found.to_owned(),
    }
}

pub(super) fn not_found(name: &str) -> OpenError {
    OpenError::NotFound {
        name: name.to_owned(),
    }
}
