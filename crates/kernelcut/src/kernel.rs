//! The requests to the kernel that no crate wraps.
#![expect(unsafe_code, reason = "these calls exist only in libc")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Words of `struct loop_config`: descriptor and block size, `struct loop_info64`, eight reserved.
const LOOP_CONFIG_WORDS: usize = 1 + 29 + 8;

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_CLR_FD: libc::Ioctl = 0x4C01;

/// The device goes away with its last user.
const LO_FLAGS_AUTOCLEAR: u64 = 4;

/// `_IOR('X', 125, __u32)`: the same on ext4, xfs and f2fs.
const FS_IOC_SHUTDOWN: libc::Ioctl = 0x8004_587D;

/// Do not flush the log first: that is the power cut.
const NO_LOG_FLUSH: u32 = 2;

/// `_IOWR('f', 11, struct fiemap)`.
const FS_IOC_FIEMAP: libc::Ioctl = 0xC020_660B;

/// Words of `struct fiemap` without its extents, and of each extent.
const FIEMAP_WORDS: usize = 4;
const EXTENT_WORDS: usize = 7;
const EXTENTS: usize = 64;

fn outcome(value: libc::c_int) -> io::Result<libc::c_int> {
    if value < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}

/// Takes this thread, and the threads and processes it will start, to mounts of their own.
pub(crate) fn own_mount_namespace() -> io::Result<()> {
    // SAFETY: the flag leaves the table of descriptors shared.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?)
}

/// The number of a loop device that nobody uses at the moment.
pub(crate) fn free_loop(control: &File) -> io::Result<libc::c_int> {
    // SAFETY: this request takes no argument.
    outcome(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })
}

/// Makes `device` show the content of `backing`, until nobody has the device open.
pub(crate) fn attach_loop(device: &File, backing: &File) -> io::Result<()> {
    let mut config = [0_u64; LOOP_CONFIG_WORDS];
    let number = u64::try_from(backing.as_raw_fd()).map_err(io::Error::other)?;
    config[0] = number; // block size 0: the default
    config[7] = LO_FLAGS_AUTOCLEAR << 32; // after the unused size of an encryption key
    // SAFETY: the kernel reads one `struct loop_config`, which is as long as the array, and only
    // during the call.
    outcome(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, config.as_ptr()) })?;
    Ok(())
}

/// Takes the backing file away from `device`, now or as soon as nobody uses it.
pub(crate) fn detach_loop(device: &File) -> io::Result<()> {
    // SAFETY: this request takes no argument.
    outcome(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD) })?;
    Ok(())
}

/// Shuts the file system of `file` down at once, losing everything that was not written yet.
pub(crate) fn shut_down(file: &File) -> io::Result<()> {
    let flags = NO_LOG_FLUSH;
    // SAFETY: the kernel reads one 32-bit word, and only during the call.
    outcome(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const flags) })?;
    Ok(())
}

/// Writes dirty pages of a part of `file`, which says nothing about durability: it only makes some
/// pages reach the disk early.
///
/// # Errors
/// What the kernel says.
pub fn sync_some(file: &File, range: Range<i64>) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let bytes = range.end - range.start;
    // SAFETY: takes no address.
    outcome(unsafe { libc::sync_file_range(file.as_raw_fd(), range.start, bytes, flags) })?;
    Ok(())
}

/// Where on its disk the first extents of a file lie, in bytes.
///
/// # Errors
/// What the kernel says.
pub fn extents(file: &File) -> io::Result<Vec<Range<u64>>> {
    let mut request = [0_u64; FIEMAP_WORDS + EXTENTS * EXTENT_WORDS];
    request[1] = u64::MAX; // the whole file, from offset 0
    request[3] = u64::try_from(EXTENTS).map_err(io::Error::other)?;
    // SAFETY: the kernel reads one `struct fiemap` and writes it and at most as many extents as the
    // request says there is room for; the array has room for both.
    outcome(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, request.as_mut_ptr()) })?;
    let found = usize::try_from(request[2] >> 32).map_err(io::Error::other)?;
    let (_, extents) = request.split_at(FIEMAP_WORDS);
    Ok(extents
        .chunks_exact(EXTENT_WORDS)
        .take(found)
        .map(|extent| extent[1]..extent[1] + extent[2])
        .collect())
}
