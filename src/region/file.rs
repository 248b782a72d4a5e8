//! Rings in files: made complete under no name or a temporary one, then named without replacing.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::mirror::{self, Source};
use super::names::{Medium, Place};
use super::own::Fresh;
use super::{
    Access, Backing, FileId, Fill, How, Object, Origin, kernel_page_bytes, space_error, to_usize,
};
use crate::error::OpenError;
use crate::layout::HEADER_PAGES;
use crate::options::{CreatePlan, MapExtras};

/// Allocation goes in steps: a signal makes tmpfs undo the whole step, and a large one might never
/// finish under a periodic timer.
const ALLOCATE_STEP_BYTES: u64 = 64 << 20;

/// The longest piece of zeros. A longer one makes small checkpoints slower, a shorter one large ones;
/// `TESTING.md` has the figures.
static ZEROS: [u8; 1 << 15] = [0; 1 << 15];

/// Opens the file at `place`.
pub(super) fn open(
    name: String,
    backing: Backing,
    place: Place,
    how: How,
) -> Result<Object, OpenError> {
    let (file, stat) = place.open(&name, how)?;
    let medium = Medium::of(file.as_fd())
        .map_err(|errno| OpenError::os(&name, "ask for its filesystem", errno))?;
    Ok(Object {
        name,
        backing,
        file_id: FileId::of(&stat),
        page_bytes: medium.page_bytes(),
        file,
        place: Some(place),
        segment: None,
        fresh: Fresh::Reopened,
        read_only: how.read_only,
    })
}

/// Makes a ring at `place`.
pub(super) fn create(
    name: String,
    backing: Backing,
    place: Place,
    plan: &CreatePlan,
    fill: Fill<'_>,
) -> Result<Object, OpenError> {
    let draft = Draft::new(&name, &place, plan.shape.total_bytes())?;
    let (ring, file_id, medium) = create_from(draft, plan, fill)?;
    Ok(Object {
        name,
        backing,
        file: ring,
        file_id,
        page_bytes: medium.page_bytes(),
        place: Some(place),
        segment: None,
        fresh: Fresh::Reopened,
        read_only: false,
    })
}

/// Allocates, fills and names a draft.
pub(super) fn create_from(
    draft: Draft<'_>,
    plan: &CreatePlan,
    fill: Fill<'_>,
) -> Result<(OwnedFd, FileId, Medium), OpenError> {
    let name = draft.name;
    let medium = draft.medium;
    draft.allocate()?;
    let file_id = draft.file_id()?;
    {
        let source = Source::File(draft.file.as_fd());
        let extras = MapExtras::default();
        let mapping = Arc::new(mirror::map(
            name,
            source,
            plan.shape,
            Access::Create,
            extras,
        )?);
        let origin = Origin {
            id: file_id,
            mount: super::disk::mount_number(draft.file.as_fd()),
        };
        fill(&mapping, origin)?;
    }
    Ok((draft.publish(plan.mode)?, file_id, medium))
}

/// Bytes of the pages that a ring at `path` is made of.
pub(super) fn unit_bytes(name: &str, path: &Path, huge: bool) -> Result<u64, OpenError> {
    let place = Place::of_path(name, path)?;
    let medium = Medium::of(place.dir())
        .map_err(|errno| OpenError::os(name, "ask for its filesystem", errno))?;
    match medium {
        // Such files have huge pages whether they were asked for or not.
        Medium::Hugetlbfs(bytes) => Ok(bytes),
        _ if huge => Err(OpenError::InvalidOption {
            option: "huge_pages",
            found: format!("always for the file {name}"),
            expected:
                "never or try on this filesystem; put the file on a hugetlbfs mount, such as \
                       /dev/hugepages"
                    .to_owned(),
        }),
        _ => Ok(kernel_page_bytes()),
    }
}

/// Gives a file its exact size, all of it really there and zero.
pub(super) fn allocate(
    name: &str,
    file: BorrowedFd<'_>,
    total_bytes: u64,
    medium: Medium,
) -> Result<(), OpenError> {
    let failed = |errno| space_error(name, total_bytes, "allocate its bytes", errno);
    retry_on_intr(|| rustix::fs::ftruncate(file, total_bytes)).map_err(failed)?;
    let step_bytes = match medium {
        Medium::Hugetlbfs(page_bytes) => ALLOCATE_STEP_BYTES.max(page_bytes),
        Medium::Tmpfs | Medium::Other => ALLOCATE_STEP_BYTES,
    };
    let mut done = 0;
    while done < total_bytes {
        let count = step_bytes.min(total_bytes.saturating_sub(done));
        let flags = FallocateFlags::empty();
        match retry_on_intr(|| rustix::fs::fallocate(file, flags, done, count)) {
            Ok(()) => done = done.saturating_add(count),
            // No such call here: real zeros are real allocation.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if medium == Medium::Other => break,
            Err(errno) => return Err(failed(errno)),
        }
    }
    match medium {
        // Preallocated extents are "unwritten" on disks and converted at the first write-back, which
        // can fail; zeros written now take that step here, where failing is an ordinary error.
        Medium::Other => write_zeros(file, total_bytes).map_err(failed),
        Medium::Tmpfs | Medium::Hugetlbfs(_) => Ok(()),
    }
}

fn write_zeros(file: BorrowedFd<'_>, total_bytes: u64) -> Result<(), Errno> {
    let page_bytes = kernel_page_bytes();
    let header_bytes = page_bytes.saturating_mul(HEADER_PAGES);
    let mut done = 0;
    while done < total_bytes {
        let left = total_bytes.saturating_sub(done);
        // The kernel keeps what is written at once together, and writes it back together: pages of
        // the header one by one, so that a checkpoint does not take its neighbours along; data in
        // long pieces, each on a multiple of its length, which cost less for each byte.
        let piece_bytes = if done < header_bytes {
            page_bytes
        } else {
            ZEROS.len() as u64
        };
        let behind = done & piece_bytes.wrapping_sub(1); // both are powers of two
        let at_once = piece_bytes.wrapping_sub(behind).min(left);
        let chunk = ZEROS.get(..to_usize(at_once)).unwrap_or(&ZEROS);
        match retry_on_intr(|| rustix::io::pwrite(file, chunk, done))? {
            0 => return Err(Errno::NOSPC),
            count => done = done.saturating_add(u64::try_from(count).unwrap_or(0)),
        }
    }
    Ok(())
}

/// An open file, and the name it has for the time being, if any.
type Opened<'a> = (OwnedFd, Option<TemporaryName<'a>>);

/// A way of making the file for a draft.
pub(super) type OpenDraft = for<'a> fn(&'a Place) -> Result<Opened<'a>, Errno>;

/// A file that nobody looks for yet. Dropped without being published, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    name: &'a str,
    place: &'a Place,
    file: OwnedFd,
    total_bytes: u64,
    medium: Medium,
    temporary: Option<TemporaryName<'a>>,
}

/// Removes its name when it goes away.
#[derive(Debug)]
pub(super) struct TemporaryName<'a> {
    place: &'a Place,
    file_name: OsString,
}

impl Drop for TemporaryName<'_> {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove, and no way to report it otherwise.
        let _outcome = rustix::fs::unlinkat(self.place.dir(), &self.file_name, AtFlags::empty());
    }
}

impl<'a> Draft<'a> {
    /// Makes an empty file beside `place`, which is going to have `total_bytes`.
    pub(super) fn new(
        name: &'a str,
        place: &'a Place,
        total_bytes: u64,
    ) -> Result<Self, OpenError> {
        Self::with(name, place, total_bytes, |place| Draft::unnamed(place))
    }

    /// The same, with a choice of how the file is made, for the tests.
    pub(super) fn with(
        name: &'a str,
        place: &'a Place,
        total_bytes: u64,
        open: OpenDraft,
    ) -> Result<Self, OpenError> {
        match place.stat() {
            // Linking would say so too, but only after the whole file was written.
            Ok(_) => return Err(already_exists(name)),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(OpenError::os(name, "look at its name", errno)),
        }
        let medium = Medium::of(place.dir())
            .map_err(|errno| OpenError::os(name, "ask for its filesystem", errno))?;
        let (file, temporary) = open(place).map_err(|errno| {
            space_error(name, total_bytes, "make a file in its directory", errno)
        })?;
        Ok(Self {
            name,
            place,
            file,
            total_bytes,
            medium,
            temporary,
        })
    }

    /// A file without a name, or a temporary one where the filesystem has no such files.
    pub(super) fn unnamed(place: &'a Place) -> Result<Opened<'a>, Errno> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(place.dir(), ".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok((file, None)),
            // Each of these is how some filesystem says that it has no unnamed files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                Self::temporary(place)
            }
            Err(errno) => Err(errno),
        }
    }

    /// A file with a name that nobody looks for.
    pub(super) fn temporary(place: &'a Place) -> Result<Opened<'a>, Errno> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
        let process = std::process::id();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let stamp = now.map_or(0, |elapsed| elapsed.as_nanos());
        for attempt in 0_u8..100 {
            let file_name = OsString::from(format!(".ringduct-{process}-{stamp:x}-{attempt}.tmp"));
            let name: &OsStr = &file_name;
            match rustix::fs::openat(place.dir(), name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => return Ok((file, Some(TemporaryName { place, file_name }))),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::EXIST)
    }

    /// Gives it its exact size, all of it really there and zero.
    pub(super) fn allocate(&self) -> Result<(), OpenError> {
        allocate(self.name, self.file.as_fd(), self.total_bytes, self.medium)
    }

    /// Device and inode, which naming does not change.
    pub(super) fn file_id(&self) -> Result<FileId, OpenError> {
        rustix::fs::fstat(&self.file)
            .map(|stat| FileId::of(&stat))
            .map_err(|errno| OpenError::os(self.name, "ask for its inode", errno))
    }

    /// Makes the contents durable, then the name visible, then the name durable.
    pub(super) fn publish(self, mode: u32) -> Result<OwnedFd, OpenError> {
        let Self {
            name,
            place,
            total_bytes,
            ..
        } = self;
        let os = |action| move |errno| OpenError::os(name, action, errno);
        let file_id = self.file_id()?;
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode)).map_err(os("set its mode"))?;
        rustix::fs::fsync(&self.file)
            .map_err(|errno| space_error(name, total_bytes, "write it to disk", errno))?;
        // Opened before the name exists: a directory that cannot be synced must leave no name.
        let dir = match self.medium {
            Medium::Other => Some(
                place
                    .dir_for_sync()
                    .map_err(os("open its directory to sync it"))?,
            ),
            Medium::Tmpfs | Medium::Hugetlbfs(_) => None,
        };
        let named = match &self.temporary {
            None => place.link(self.file.as_fd()),
            Some(temporary) => place.take_over(&temporary.file_name),
        };
        match named {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(already_exists(name)),
            Err(errno) => return Err(space_error(name, total_bytes, "give it its name", errno)),
        }
        drop(self.temporary);
        if let Some(Err(errno)) = dir.map(rustix::fs::fsync) {
            // The error to report is this one; if removing fails too, the name stays and works.
            let _removed = place.unlink(name, file_id);
            return Err(OpenError::os(name, "make its name durable", errno));
        }
        Ok(self.file)
    }
}

fn already_exists(name: &str) -> OpenError {
    OpenError::AlreadyExists {
        name: name.to_owned(),
    }
}
