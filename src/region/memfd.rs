//! Memory files: sealed, without a name, handed over by descriptor; and opening by descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

use super::mirror::{self, Source};
use super::names::{self, Medium};
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
    let stat = rustix::fs::fstat(&found)
        .map_err(|errno| OpenError::os(&name, "look at the descriptor", errno))?;
    names::check_regular(&name, &stat)?;
    names::check_owner(&name, &stat, how.expected_owner)?;
    let file = names::reopen(found.as_fd(), how.flags() | OFlags::NONBLOCK).map_err(|errno| {
        OpenError::os(
            &name,
            "open a description of its own (the owner of a memory file with mode 0600 must hand \
             another user a fresh description)",
            errno,
        )
    })?;
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
        file_id: FileId::of(&stat),
        page_bytes: medium.page_bytes(),
        place: None,
        segment: None,
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
