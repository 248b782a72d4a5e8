//! The way to a directory, step by step, so that nobody who may write somewhere on it can bend it.
//!
//! Where anybody may make names (a sticky directory such as `/tmp`), a symbolic link is followed
//! only if it is the caller's own or the directory owner's. The kernel has the same rule and leaves
//! it switched off on many machines (`/proc/sys/fs/protected_symlinks`).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use super::names::fs_magic;
use crate::error::OpenError;

/// Links on one way; as many as the kernel follows.
const MAX_LINKS: u32 = 40;

/// Bits of a mode: anybody may make names here, and only owners may remove them.
const STICKY: u32 = 0o1000;
const OTHERS_WRITE: u32 = 0o002;

/// What `/proc` says it is. Its links lead to open files, not to what their text says.
const PROC_MAGIC: u64 = 0x9FA0;

const STEP: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Opens the directory `path`, for finding names in it.
pub(super) fn open_dir(name: &str, path: &Path) -> Result<OwnedFd, OpenError> {
    let failed = |errno| OpenError::os(name, "open its directory", errno);
    let mut links_left = MAX_LINKS;
    let mut left = VecDeque::new();
    let mut dir = open_start(path).map_err(failed)?;
    push_front(&mut left, path.as_os_str());
    while let Some(step) = left.pop_front() {
        // A directory in one go, as every step but a link is.
        match openat(&dir, &step, STEP | OFlags::DIRECTORY, Mode::empty()) {
            Ok(next) => {
                dir = next;
                continue;
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let link = openat(&dir, &step, STEP, Mode::empty()).map_err(failed)?;
        let stat = fstat(&link).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Err(failed(Errno::NOTDIR));
        }
        check_link(name, &stat, &fstat(&dir).map_err(failed)?)?;
        links_left = match links_left.checked_sub(1) {
            Some(left) => left,
            None => return Err(failed(Errno::LOOP)),
        };
        if fs_magic(link.as_fd()).map_err(failed)? == PROC_MAGIC {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            dir = openat(&dir, &step, flags, Mode::empty()).map_err(failed)?;
            continue;
        }
        let target = rustix::fs::readlinkat(&link, "", Vec::new()).map_err(failed)?;
        let target = OsStr::from_bytes(target.as_bytes());
        if target.as_bytes().starts_with(b"/") {
            dir = open_start(Path::new("/")).map_err(failed)?;
        }
        push_front(&mut left, target);
    }
    Ok(dir)
}

/// The directory that a path starts from.
fn open_start(path: &Path) -> Result<OwnedFd, Errno> {
    let start = if path.is_absolute() { "/" } else { "." };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, start, flags, Mode::empty())
}

/// Puts the steps of a path in front of those that are left.
fn push_front(left: &mut VecDeque<OsString>, path: &OsStr) {
    let steps = path.as_bytes().split(|byte| *byte == b'/');
    for step in steps.rev().filter(|step| !step.is_empty()) {
        left.push_front(OsStr::from_bytes(step).to_owned());
    }
}

/// Refuses a link that somebody else made where anybody could.
fn check_link(name: &str, link: &Stat, dir: &Stat) -> Result<(), OpenError> {
    let anybody = STICKY | OTHERS_WRITE;
    let trusted = [rustix::process::geteuid().as_raw(), dir.st_uid];
    if dir.st_mode & anybody != anybody || trusted.contains(&link.st_uid) {
        return Ok(());
    }
    Err(OpenError::NotARing {
        name: name.to_owned(),
        expected: "a way to it that only its owners can bend".to_owned(),
        found: format!(
            "a symbolic link of user {} in a directory that anybody may write to",
            link.st_uid
        ),
    })
}
