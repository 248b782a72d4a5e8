//! System V segments: no descriptor, no complete-then-name, and a companion file for the locks.
//!
//! The companion `/dev/shm/ringduct-sysv-<id>` is one page long. Its device and inode go into the
//! ring's identity, so an opener that is led to another companion notices.
#![expect(
    unsafe_code,
    reason = "System V calls exist only in libc, and take raw addresses"
)]

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::file::Draft;
use super::mirror::{self, Source};
use super::names::{self, Medium, Place};
use super::own::Fresh;
use super::{Access, Backing, FileId, Fill, How, Object, Origin, shm, space_error, to_usize};
use crate::error::OpenError;
use crate::layout::{HEADER_READ_BYTES, UncheckedHeader};
use crate::memory::FenceKind;
use crate::options::{CreatePlan, HugePages, MapExtras};
use crate::sync;

/// Set in a segment's mode once it has been removed and lives only for those who have it attached.
const DESTROYED: u32 = 0o1000;

/// How long an opener waits for a creator that is between its segment and its companion file.
const COMPANION_WAIT: Duration = Duration::from_secs(1);

/// New segments that are tried when a stale companion file bears the id that the kernel gave.
const ID_ATTEMPTS: u32 = 16;

/// A segment, by its id.
#[derive(Debug)]
pub(super) struct Segment {
    id: i32,
}

/// What the kernel says of a segment.
struct Status {
    total_bytes: u64,
    owner: u32,
    creator: u32,
    mode: u32,
}

impl Segment {
    pub(super) fn id(&self) -> i32 {
        self.id
    }

    pub(super) fn total_bytes(&self, name: &str) -> Result<u64, OpenError> {
        Ok(self.status(name)?.total_bytes)
    }

    fn status(&self, name: &str) -> Result<Status, OpenError> {
        let mut answer = MaybeUninit::<libc::shmid_ds>::zeroed();
        // SAFETY: `answer` is a valid place for what this command writes.
        let outcome = unsafe { libc::shmctl(self.id, libc::IPC_STAT, answer.as_mut_ptr()) };
        if outcome < 0 {
            return Err(match last_errno() {
                Errno::INVAL | Errno::IDRM => names::not_found(name),
                errno => OpenError::os(name, "ask for its owner and size", errno),
            });
        }
        // SAFETY: it was zeroed, which is valid for this struct of integers, and then filled.
        let answer = unsafe { answer.assume_init() };
        Ok(Status {
            total_bytes: u64::try_from(answer.shm_segsz).unwrap_or(u64::MAX),
            owner: answer.shm_perm.uid,
            creator: answer.shm_perm.cuid,
            mode: u32::from(answer.shm_perm.mode),
        })
    }

    /// Reads the first bytes through a short attach of its own.
    pub(super) fn read_header(&self, name: &str) -> Result<UncheckedHeader, OpenError> {
        // SAFETY: the kernel chooses a free place, so nothing that exists is touched.
        let address = unsafe { libc::shmat(self.id, ptr::null(), libc::SHM_RDONLY) };
        if address.addr() == usize::MAX {
            return Err(attach_error(name, last_errno()));
        }
        let words: *const u64 = address.cast_const().cast();
        // The creator stores the magic last. Whoever sees it must also see the rest, so the words
        // are read again behind a fence: whole words, so none is torn.
        // SAFETY: attached just above, readable, page-aligned, at least a page long.
        let _magic_first = unsafe { words.read_volatile() };
        sync::fence(FenceKind::Acquire);
        let mut bytes = [0_u8; HEADER_READ_BYTES];
        for (index, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            // SAFETY: as above; the header is 256 bytes, less than a page. Volatile, because the
            // creator may be writing: these bytes belong to no Rust object.
            let word = unsafe { words.wrapping_add(index).read_volatile() };
            for (to, from) in chunk.iter_mut().zip(word.to_le_bytes()) {
                *to = from;
            }
        }
        // SAFETY: detaches exactly what was attached above; nothing refers to it any more.
        unsafe { libc::shmdt(address) };
        Ok(UncheckedHeader::new(bytes))
    }

    /// Removes the segment: at once if nobody has it attached, else with its last user.
    pub(super) fn remove(&self, name: &str) -> Result<(), OpenError> {
        // SAFETY: this command takes no buffer.
        let outcome = unsafe { libc::shmctl(self.id, libc::IPC_RMID, ptr::null_mut()) };
        if outcome == 0 {
            return Ok(());
        }
        match last_errno() {
            Errno::INVAL | Errno::IDRM => Err(names::not_found(name)),
            errno => Err(OpenError::os(name, "remove the segment", errno)),
        }
    }
}

/// Attaches a segment at `address`, in place of whatever is mapped there.
///
/// # Safety
///
/// `address` must be the start of a range, as long as the segment and a multiple of the page size
/// (of the huge page size for a segment of those), in which nothing lives that is used again.
pub(super) unsafe fn attach_over(id: i32, address: *mut c_void, read_only: bool) -> io::Result<()> {
    let mode = if read_only { libc::SHM_RDONLY } else { 0 };
    // SAFETY: the caller's promise is what this call asks for.
    let attached = unsafe { libc::shmat(id, address, mode | libc::SHM_REMAP) };
    if attached == address {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes a ring in a new segment.
pub(super) fn create(
    name: &str,
    key: i32,
    plan: &CreatePlan,
    fill: Fill<'_>,
) -> Result<Object, OpenError> {
    for _ in 0..ID_ATTEMPTS {
        let new = NewSegment::make(name, key, plan)?;
        let object = shm_name(new.segment.id);
        let place = shm::place(name, &object)?;
        match companion(name, &place, plan.mode) {
            Ok(companion) => return finish(name, plan, fill, (new, place, companion)),
            // Left by a ring that was removed with other tools, or planted, or in use by another
            // IPC namespace that shares /dev/shm. Not ours to remove: ask for another id.
            Err(OpenError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(OpenError::NotARing {
        name: name.to_owned(),
        expected: "a segment id without a file in /dev/shm".to_owned(),
        found: "files ringduct-sysv-* for every id that was tried".to_owned(),
    })
}

fn finish(
    name: &str,
    plan: &CreatePlan,
    fill: Fill<'_>,
    (mut new, place, companion): (NewSegment, Place, (OwnedFd, FileId)),
) -> Result<Object, OpenError> {
    let (lock_file, file_id) = companion;
    new.companion = Some((place, file_id));
    {
        let source = Source::Segment(new.segment.id);
        let extras = MapExtras::default();
        let mapping = Arc::new(mirror::map(
            name,
            source,
            plan.shape,
            Access::Create,
            extras,
        )?);
        // A segment is only promised memory; touching all of it now is what allocates.
        mapping.populate(name)?;
        let origin = Origin {
            id: file_id,
            mount: 0,
        };
        fill(&mapping, origin)?;
    }
    let place = new.companion.take().map(|(place, _)| place);
    let segment = Segment { id: new.segment.id };
    new.keep = true;
    Ok(Object {
        name: name.to_owned(),
        backing: Backing::SysV,
        file: lock_file,
        file_id,
        page_bytes: Medium::Tmpfs.page_bytes(),
        place,
        segment: Some(segment),
        fresh: Fresh::Reopened,
        read_only: false,
    })
}

/// A segment that is not finished. Dropped like that, it and its companion go away.
struct NewSegment {
    segment: Segment,
    companion: Option<(Place, FileId)>,
    keep: bool,
}

impl NewSegment {
    fn make(name: &str, key: i32, plan: &CreatePlan) -> Result<Self, OpenError> {
        let total_bytes = plan.shape.total_bytes();
        // Nine bits, so the conversion cannot fail; run bits mean nothing here.
        let mode = i32::try_from(plan.mode & 0o666).unwrap_or(0o600);
        let huge = match plan.huge {
            HugePages::Always => libc::SHM_HUGETLB,
            HugePages::Never | HugePages::Try => 0,
        };
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | huge | mode;
        // SAFETY: the call takes numbers only.
        let id = unsafe { libc::shmget(key, to_usize(total_bytes), flags) };
        if id >= 0 {
            return Ok(Self {
                segment: Segment { id },
                companion: None,
                keep: false,
            });
        }
        Err(match last_errno() {
            Errno::EXIST => OpenError::AlreadyExists {
                name: name.to_owned(),
            },
            Errno::INVAL => OpenError::InvalidOption {
                option: "capacity_bytes",
                found: format!("{} for a System V segment", plan.shape.capacity_bytes()),
                expected: format!(
                    "less, so that {total_bytes} bytes are within /proc/sys/kernel/shmmax"
                ),
            },
            Errno::PERM if huge != 0 => OpenError::InvalidOption {
                option: "huge_pages",
                found: HugePages::Always.to_string(),
                expected:
                    "never or try, unless the caller may lock memory (CAP_IPC_LOCK) or is in \
                           the group /proc/sys/vm/hugetlb_shm_group"
                        .to_owned(),
            },
            errno => space_error(name, total_bytes, "make the segment", errno),
        })
    }
}

impl Drop for NewSegment {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // An error is being reported already; there is nobody to tell of a second one.
        let _removed = self.segment.remove("");
        if let Some((place, file_id)) = &self.companion {
            let _removed = place.unlink("", *file_id);
        }
    }
}

/// The name of the companion file of a segment.
fn shm_name(id: i32) -> String {
    format!("ringduct-sysv-{id}")
}

/// Makes the companion file, complete before it has its name.
fn companion(name: &str, place: &Place, mode: u32) -> Result<(OwnedFd, FileId), OpenError> {
    let draft = Draft::new(name, place, super::kernel_page_bytes())?;
    draft.allocate()?;
    let file_id = draft.file_id()?;
    Ok((draft.publish(mode & 0o666)?, file_id))
}

/// Opens the segment with this key.
pub(super) fn open_key(name: String, key: i32, how: How) -> Result<Object, OpenError> {
    // SAFETY: the call takes numbers only; without the create flag it makes nothing.
    let id = unsafe { libc::shmget(key, 0, 0) };
    if id < 0 {
        return Err(match last_errno() {
            Errno::NOENT | Errno::IDRM => names::not_found(&name),
            errno => OpenError::os(&name, "look up its key", errno),
        });
    }
    open_id(name, id, how)
}

/// Opens the segment with this id.
pub(super) fn open_id(name: String, id: i32, how: How) -> Result<Object, OpenError> {
    let segment = Segment { id };
    let started = Instant::now();
    let place = shm::place(&name, &shm_name(id))?;
    let (file, stat) = loop {
        check_segment(&name, &segment, how)?;
        match place.open(&name, how) {
            Err(OpenError::NotFound { .. }) if started.elapsed() < COMPANION_WAIT => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(OpenError::NotFound { .. }) => {
                return Err(OpenError::NotARing {
                    name,
                    expected: format!("its lock file /dev/shm/{}", shm_name(id)),
                    found: "no such file".to_owned(),
                });
            }
            outcome => break outcome?,
        }
    };
    let medium = Medium::of(file.as_fd())
        .map_err(|errno| OpenError::os(&name, "ask for its filesystem", errno))?;
    Ok(Object {
        name,
        backing: Backing::SysV,
        file_id: FileId::of(&stat),
        page_bytes: medium.page_bytes(),
        file,
        place: Some(place),
        segment: Some(segment),
        fresh: Fresh::Reopened,
        read_only: how.read_only,
    })
}

/// A segment counts when it is not being removed, belongs to the right user and lets nobody else
/// write. Its creator keeps the right to change its owner and mode, so it must be the same user.
fn check_segment(name: &str, segment: &Segment, how: How) -> Result<(), OpenError> {
    let expected = how.trust.owner;
    let status = segment.status(name)?;
    if status.mode & DESTROYED != 0 {
        return Err(names::not_found(name));
    }
    for found in [status.owner, status.creator] {
        if found != expected {
            return Err(OpenError::WrongOwner {
                name: name.to_owned(),
                expected,
                found,
            });
        }
    }
    names::check_mode(name, status.mode, how.trust.mode)
}

fn attach_error(name: &str, errno: Errno) -> OpenError {
    match errno {
        Errno::INVAL | Errno::IDRM => names::not_found(name),
        errno => OpenError::os(name, "attach it", errno),
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
