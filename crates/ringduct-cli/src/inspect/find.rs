//! Finding rings: files that begin as a ring does, in folders, in shared memory and among the System V
//! segments.
//!
//! A large tree costs one look at each name and, for files of a page or more, eight bytes read. Links
//! are not followed, and nothing but plain files is opened, without waiting: whoever puts a FIFO in
//! the way delays nobody. Folders of proc, sysfs and their like are passed by: to read a file there may
//! do something. What could not be read is counted.

use std::fs::{DirEntry, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ringduct::{Header, Location, OpenError, Options};
use rustix::fs::statfs;

use crate::failure::Failure;
use crate::signals;

/// Where POSIX shared memory is, and the companion files of System V rings.
pub(super) const SHM: &str = "/dev/shm";

/// What the companion file of a System V ring is called, before the segment's id.
const COMPANION: &str = "ringduct-sysv-";

/// What a ring begins with.
const MAGIC: &[u8; 8] = b"RINGDUCT";

/// No ring is shorter, nor what is left of one that is worth a name.
const LEAST_BYTES: u64 = 4096;

/// File systems whose files are questions to the kernel: `f_type` of proc, sysfs, debugfs, tracefs,
/// securityfs, both kinds of control groups, BPF and configfs, from statfs(2).
const KERNEL: [i64; 9] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x0027_e0eb,
    0x6367_7270,
    0xcafe_4a11,
    0x6265_6570,
];

/// A ring, or what begins as one.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where it is.
    pub(crate) location: Location,
    /// Whose it is, by the kernel's word: the user id.
    pub(crate) owner: u32,
    /// Its first page, believed by nobody, or why that can not be had.
    pub(crate) header: Result<Header, OpenError>,
}

impl Found {
    /// Options with which it can be looked at, whoever it belongs to.
    pub(crate) fn options(&self) -> Options {
        super::own().owner(self.owner)
    }
}

/// What a search did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Folders and files that could not be read.
    pub(crate) unreadable: u64,
}

/// Whom a search tells.
type Visit<'a> = &'a mut dyn FnMut(Found) -> Result<(), Failure>;

/// Finds the rings under `dirs` and, if asked, in shared memory; sorted by nothing.
pub(crate) fn rings(
    dirs: &[PathBuf],
    in_memory: bool,
    visit: Visit<'_>,
) -> Result<Effort, Failure> {
    let mut effort = Effort::default();
    if in_memory {
        match std::fs::read_dir(SHM) {
            Ok(entries) => {
                for entry in entries.flatten() {
                    let found = in_shared_memory(&entry, &mut effort);
                    found.map_or(Ok(()), &mut *visit)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::io(&format!("read {SHM}"), &error)),
        }
    }
    for dir in dirs {
        let mut pending = vec![dir.clone()];
        while let Some(next) = pending.pop() {
            signals::check()?;
            if is_of_the_kernel(&next) {
                continue;
            }
            match std::fs::read_dir(&next) {
                // What was seen there already has other names.
                Ok(_) if in_memory && next == Path::new(SHM) => {}
                Ok(entries) => {
                    for entry in entries.flatten() {
                        let found = in_folder(&entry, &mut pending, &mut effort);
                        found.map_or(Ok(()), &mut *visit)?;
                    }
                }
                Err(error) if next == *dir => {
                    return Err(Failure::io(&format!("read {}", dir.display()), &error));
                }
                Err(_) => effort.unreadable = effort.unreadable.saturating_add(1),
            }
        }
    }
    Ok(effort)
}

/// Whether the files of a folder are none that somebody stored there.
fn is_of_the_kernel(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|found| KERNEL.contains(&found.f_type))
}

fn in_folder(entry: &DirEntry, pending: &mut Vec<PathBuf>, effort: &mut Effort) -> Option<Found> {
    let kind = entry.file_type().ok()?; // of the entry itself: a link is a link
    if kind.is_dir() {
        pending.push(entry.path());
        return None;
    }
    if !kind.is_file() {
        return None;
    }
    let metadata = entry.metadata().ok()?;
    let path = entry.path();
    begins_as_ring(&path, &metadata, effort).then(|| {
        let location = Location::File(path);
        look(location, metadata.uid())
    })
}

fn in_shared_memory(entry: &DirEntry, effort: &mut Effort) -> Option<Found> {
    let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
    let metadata = entry.metadata().ok().filter(|_| is_file)?;
    let name = entry.file_name().into_string().ok()?; // others have no location
    if let Some(id) = name.strip_prefix(COMPANION) {
        let id = id.parse().ok().filter(|id| *id >= 0)?;
        let found = look(Location::SysVId(id), metadata.uid());
        // Left of a segment that was removed by other means, or somebody else's by now.
        let is_none = matches!(
            found.header,
            Err(OpenError::NotFound { .. } | OpenError::NotARing { .. })
        );
        return (!is_none).then_some(found);
    }
    let is_ring = begins_as_ring(&entry.path(), &metadata, effort);
    is_ring.then(|| look(Location::Shm(name), metadata.uid()))
}

fn look(location: Location, owner: u32) -> Found {
    let header = super::own().owner(owner).header(&location);
    Found {
        location,
        owner,
        header,
    }
}

/// Whether a file begins with a ring's first eight bytes.
fn begins_as_ring(path: &Path, metadata: &Metadata, effort: &mut Effort) -> bool {
    if metadata.len() < LEAST_BYTES {
        return false;
    }
    let Ok(file) = open(path) else {
        effort.unreadable = effort.unreadable.saturating_add(1);
        return false;
    };
    let mut magic = [0; 8];
    // By now the name may mean something else, which is not read.
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    is_file && file.read_exact_at(&mut magic, 0).is_ok() && magic == *MAGIC
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: nothing is read where reading does something.
    #[test]
    fn folders_of_the_kernel_are_passed_by() {
        for dir in ["/proc", "/proc/self/task", "/sys", "/sys/kernel"] {
            assert!(is_of_the_kernel(Path::new(dir)), "{dir}");
        }
        for dir in ["/", "/dev/shm", "/nowhere"] {
            assert!(!is_of_the_kernel(Path::new(dir)), "{dir}");
        }
    }
}
