//! Memory files: sealed, without a name, handed over by descriptor; and opening by descriptor.
#![expect(
    unsafe_code,
    reason = "only libc copies a descriptor that is known by its number alone"
)]

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, Stat};
use rustix::io::Errno;

use super::mirror::{self, Source};
use super::names::{self, Medium};
use super::own::Fresh;
use super::passing::Parked;
use super::{Access, Backing, FileId, Fill, How, Object, Origin, file};
use crate::error::OpenError;
use crate::options::{CreatePlan, HugePages, MapExtras};

/// With these nobody can move the end of the file under a mapping, or take the seals off.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// Bits of a mode that mean running a program.
const RUN_BITS: u32 = 0o111;

/// Makes a ring in a memory file.
pub(super) fn create(
    label: &str,
    backing: Backing,
    plan: &CreatePlan,
    fill: Fill<'_>,
) -> Result<Object, OpenError> {
    let name = match backing {
        Backing::Anonymous => "anonymous".to_owned(),
        _ => format!("memfd:{label}"),
    };
    let os = |action| {
        let name = name.clone();
        move |errno: Errno| OpenError::os(&name, action, errno)
    };
    let memory = new_file(&name, label, plan.huge == HugePages::Always)?;
    let medium = Medium::of(memory.as_fd()).map_err(os("ask for its filesystem"))?;
    // A new memory file has mode 0777. The kernel refuses run bits once it is sealed without.
    rustix::fs::fchmod(&memory, Mode::from_raw_mode(plan.mode & !RUN_BITS))
        .map_err(os("set its mode"))?;
    file::allocate(&name, memory.as_fd(), plan.shape.total_bytes(), medium)?;
    let stat = rustix::fs::fstat(&memory).map_err(os("ask for its inode"))?;
    let file_id = FileId::of(&stat);
    {
        let source = Source::File(memory.as_fd());
        let extras = MapExtras::default();
        let mapping = Arc::new(mirror::map(
            &name,
            source,
            plan.shape,
            Access::Create,
            extras,
        )?);
        let origin = Origin {
            id: file_id,
            mount: 0,
        };
        fill(&mapping, origin)?;
    }
    rustix::fs::fcntl_add_seals(&memory, SEALS).map_err(os("seal it"))?;
    Ok(Object {
        name,
        backing,
        file: memory,
        file_id,
        page_bytes: medium.page_bytes(),
        place: None,
        segment: None,
        fresh: Fresh::Reopened,
        read_only: false,
    })
}

fn new_file(name: &str, label: &str, huge: bool) -> Result<OwnedFd, OpenError> {
    if label.len() > 200 || label.contains('\0') {
        return Err(OpenError::InvalidOption {
            option: "name",
            found: format!("{label:?}"),
            expected: "at most 200 bytes without NUL".to_owned(),
        });
    }
    let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    if huge {
        flags |= MemfdFlags::HUGETLB;
    }
    let made = match rustix::fs::memfd_create(label, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 there is no such flag.
        Err(Errno::INVAL) => rustix::fs::memfd_create(label, flags),
        made => made,
    };
    match made {
        Err(errno) if huge => Err(no_huge_pages(errno)),
        made => made.map_err(|errno| OpenError::os(name, "make a memory file", errno)),
    }
}

fn no_huge_pages(errno: Errno) -> OpenError {
    OpenError::InvalidOption {
        option: "huge_pages",
        found: HugePages::Always.to_string(),
        expected: format!("never or try: this kernel offers no huge pages ({errno})"),
    }
}

/// Bytes of the kernel's default huge page.
pub(super) fn huge_unit_bytes() -> Result<u64, OpenError> {
    let probe = new_file("huge page probe", "ringduct-probe", true)?;
    match Medium::of(probe.as_fd()) {
        Ok(Medium::Hugetlbfs(bytes)) if bytes.is_power_of_two() => Ok(bytes),
        Ok(_) => Err(no_huge_pages(Errno::NOTSUP)),
        Err(errno) => Err(no_huge_pages(errno)),
    }
}

/// Opens the ring behind one of the caller's descriptors, which stays the caller's.
pub(super) fn open(name: String, number: i32, how: How) -> Result<Object, OpenError> {
    let found = match names::look_at_number(number) {
        Ok(found) => found,
        Err(Errno::NOENT) => {
            return Err(OpenError::NotARing {
                name,
                expected: "an open descriptor".to_owned(),
                found: "no descriptor with this number, or no /proc".to_owned(),
            });
        }
        Err(errno) => return Err(OpenError::os(&name, "look at the descriptor", errno)),
    };
    let stat = judge(&name, found.as_fd(), how)?;
    let (file, fresh) = match names::reopen(found.as_fd(), how.flags() | OFlags::NONBLOCK) {
        Ok(file) => (file, Fresh::Reopened),
        // The mode keeps this user out, who has the ring open all the same.
        Err(Errno::ACCESS) => {
            let copy = duplicate(number)
                .map_err(|errno| OpenError::os(&name, "copy the descriptor", errno))?;
            check_same(&name, copy.as_fd(), &stat)?;
            check_rights(&name, copy.as_fd(), how)?;
            (copy, Fresh::HandedOver(None))
        }
        Err(errno) => return Err(OpenError::os(&name, "open a description of its own", errno)),
    };
    finish(name, file, fresh, &stat, how)
}

/// Opens the ring whose descriptors came over a socket: the ring first, then further descriptions
/// of it, for a user who cannot open any.
pub(super) fn open_received(
    name: String,
    descriptors: Vec<OwnedFd>,
    how: How,
) -> Result<Object, OpenError> {
    let mut descriptors = descriptors.into_iter();
    let Some(ring) = descriptors.next() else {
        return Err(OpenError::NotARing {
            name,
            expected: "a descriptor".to_owned(),
            found: "none".to_owned(),
        });
    };
    let stat = judge(&name, ring.as_fd(), how)?;
    let spares: Vec<OwnedFd> = descriptors.collect();
    for spare in &spares {
        check_same(&name, spare.as_fd(), &stat)?;
    }
    let (file, fresh) = match names::reopen(ring.as_fd(), how.flags() | OFlags::NONBLOCK) {
        Ok(file) => (file, Fresh::Reopened),
        Err(Errno::ACCESS) => {
            check_rights(&name, ring.as_fd(), how)?;
            let parked = if how.read_only || spares.is_empty() {
                None
            } else {
                let parked = Parked::new(spares)
                    .map_err(|errno| OpenError::os(&name, "keep what came with it", errno))?;
                Some(Arc::new(parked))
            };
            (ring, Fresh::HandedOver(parked))
        }
        Err(errno) => return Err(OpenError::os(&name, "open a description of its own", errno)),
    };
    finish(name, file, fresh, &stat, how)
}

/// Looks at what a descriptor means before anything is done with it.
fn judge(name: &str, found: BorrowedFd<'_>, how: How) -> Result<Stat, OpenError> {
    let stat = rustix::fs::fstat(found)
        .map_err(|errno| OpenError::os(name, "look at the descriptor", errno))?;
    names::check_regular(name, &stat)?;
    names::check_owner(name, &stat, how.trust.owner)?;
    names::check_mode(name, stat.st_mode, how.trust.mode)?;
    Ok(stat)
}

/// Refuses a descriptor of another file than the one that was looked at.
fn check_same(name: &str, other: BorrowedFd<'_>, stat: &Stat) -> Result<(), OpenError> {
    let found = rustix::fs::fstat(other)
        .map_err(|errno| OpenError::os(name, "look at the descriptor", errno))?;
    if FileId::of(&found) == FileId::of(stat) {
        return Ok(());
    }
    Err(OpenError::NotARing {
        name: name.to_owned(),
        expected: "descriptors of one file".to_owned(),
        found: "descriptors of several".to_owned(),
    })
}

/// Refuses to take a description for writing that was opened for less.
fn check_rights(name: &str, file: BorrowedFd<'_>, how: How) -> Result<(), OpenError> {
    let flags = rustix::fs::fcntl_getfl(file)
        .map_err(|errno| OpenError::os(name, "ask what its descriptor is for", errno))?;
    if how.read_only || flags & OFlags::RWMODE == OFlags::RDWR {
        return Ok(());
    }
    Err(OpenError::os(
        name,
        "open it for writing (it was handed over for looking on)",
        Errno::ACCESS,
    ))
}

/// Another descriptor of the same description.
fn duplicate(number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes numbers only, and fails for one that is not open.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    // SAFETY: the kernel has just made it for this call; nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Puts together what was opened by number or came over a socket.
fn finish(
    name: String,
    file: OwnedFd,
    fresh: Fresh,
    stat: &Stat,
    how: How,
) -> Result<Object, OpenError> {
    let medium = Medium::of(file.as_fd())
        .map_err(|errno| OpenError::os(&name, "ask for its filesystem", errno))?;
    let backing = match stat.st_nlink {
        0 => {
            check_seals(&name, &file)?;
            Backing::Memfd
        }
        1 => Backing::File,
        count => {
            return Err(OpenError::NotARing {
                name,
                expected: "a memory file, or a file with one name".to_owned(),
                found: format!("a file with {count} names"),
            });
        }
    };
    Ok(Object {
        name,
        backing,
        file,
        file_id: FileId::of(stat),
        page_bytes: medium.page_bytes(),
        place: None,
        segment: None,
        fresh,
        read_only: how.read_only,
    })
}

/// A file without a name is trusted only when nobody can move its end any more.
fn check_seals(name: &str, file: &OwnedFd) -> Result<(), OpenError> {
    // A deleted file on a disk cannot be sealed at all, which is the same as not being sealed.
    let found = rustix::fs::fcntl_get_seals(file).unwrap_or(SealFlags::empty());
    let has = |seal| found.contains(seal);
    let missing = match (
        has(SealFlags::SHRINK),
        has(SealFlags::GROW),
        has(SealFlags::SEAL),
    ) {
        (true, true, true) => return Ok(()),
        (false, true, true) => "shrink",
        (true, false, true) => "grow",
        (true, true, false) => "seal",
        (false, false, true) => "shrink, grow",
        (false, true, false) => "shrink, seal",
        (true, false, false) => "grow, seal",
        (false, false, false) => "shrink, grow, seal",
    };
    Err(OpenError::Unsealed {
        name: name.to_owned(),
        missing,
    })
}
