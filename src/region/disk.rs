//! What outlives a power cut: which file systems are believed, and which mount a file lies on.

use std::ffi::OsString;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatxFlags, major, minor};
use rustix::io::Errno;

use super::names::fs_magic;

/// File systems of disks, whose sync is known to reach the device.
const DISKS: [(u64, &str); 4] = [
    (0xEF53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0xF2F5_2010, "f2fs"),
];

/// File systems whose sync succeeds and proves nothing, or proves what cannot be known here.
const OTHERS: [(u64, &str); 10] = [
    (0x0102_1994, "tmpfs: it is memory"),
    (0x8584_58F6, "ramfs: it is memory"),
    (0x9584_58F6, "hugetlbfs: it is memory"),
    (0x794C_7630, "an overlay, which may be mounted volatile"),
    (0x6573_5546, "a FUSE file system, which answers for itself"),
    (0x6969, "NFS: a network file system"),
    (0xFF53_4D42, "CIFS: a network file system"),
    (0xFE53_4D42, "SMB: a network file system"),
    (0x0102_1997, "9p: a network file system"),
    (0x00C3_6400, "Ceph: a network file system"),
];

/// Why nothing in this file outlives a power cut for certain; `None` if the file system and the
/// way it is mounted are believed.
pub(super) fn doubts(file: BorrowedFd<'_>) -> Result<Option<&'static str>, Errno> {
    let magic = fs_magic(file)?;
    if let Some((_, why)) = OTHERS.iter().find(|(number, _)| *number == magic) {
        return Ok(Some(why));
    }
    if !DISKS.iter().any(|(number, _)| *number == magic) {
        return Ok(Some("a file system that is not known to be durable"));
    }
    if mount_number(file) == 0 {
        // A cut and a new mount under one boot would pass for neither.
        return Ok(Some(
            "a disk whose mounts can not be told apart here: /sys is not visible",
        ));
    }
    let options = mount_of(file)
        .map(|mount| mount.options)
        .unwrap_or_default();
    let barriers_off = options
        .split(',')
        .any(|option| matches!(option, "nobarrier" | "barrier=0"));
    Ok(barriers_off.then_some("a disk that is mounted without write barriers"))
}

/// A number that changes whenever the file system of this file is mounted anew; zero where the
/// kernel does not tell.
///
/// An unmount ends the page cache as a power cut does, and neither boot id nor inode show it. The
/// kernel makes a folder under `/sys/fs` for each mounted disk file system, and numbers such
/// folders without using a number twice.
pub(super) fn mount_number(file: BorrowedFd<'_>) -> u64 {
    folder_of(file)
        .and_then(|folder| fs::metadata(folder).ok())
        .map_or(0, |found| found.ino())
}

fn folder_of(file: BorrowedFd<'_>) -> Option<PathBuf> {
    let magic = fs_magic(file).ok()?;
    let (_, kind) = DISKS.iter().find(|(number, _)| *number == magic)?;
    let root = Path::new("/sys/fs").join(kind);
    if *kind != "btrfs" {
        let device = rustix::fs::fstat(file).ok()?.st_dev;
        return Some(root.join(block_device(device)?));
    }
    // Its files have a device number of their own: go by what was mounted.
    let source = mount_of(file)?.source;
    let device = block_device(fs::metadata(source).ok()?.rdev())?;
    let folders = fs::read_dir(root).ok()?;
    folders
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|folder| folder.join("devices").join(&device).exists())
}

/// The kernel's name of a block device.
fn block_device(number: u64) -> Option<OsString> {
    let link = format!("/sys/dev/block/{}:{}", major(number), minor(number));
    Some(fs::read_link(link).ok()?.file_name()?.to_owned())
}

/// A line of the table of mounts.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    source: String,
    options: String,
}

fn mount_of(file: BorrowedFd<'_>) -> Option<Mount> {
    let wanted = StatxFlags::MNT_ID;
    let found = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, wanted).ok()?;
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().find_map(|line| parse(line, found.stx_mnt_id))
}

/// `ID PARENT M:m ROOT POINT OPTIONS [TAGS...] - KIND SOURCE SUPER_OPTIONS`, see proc(5).
fn parse(line: &str, id: u64) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let number: u64 = front.split(' ').next()?.parse().ok()?;
    if number != id {
        return None;
    }
    let mut fields = back.split(' ').skip(1);
    Some(Mount {
        source: fields.next()?.to_owned(),
        options: fields.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// Goal: the fields are found whatever tags stand between them.
    #[test]
    fn lines_of_the_table_are_read() {
        let line = "29 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw,nobarrier";
        let expected = Mount {
            source: "/dev/sda1".into(),
            options: "rw,nobarrier".into(),
        };
        assert_eq!(parse(line, 29), Some(expected));
        assert_eq!(parse(line, 28), None);
        assert_eq!(parse("", 29), None);
        assert_eq!(parse("29 1 8:1 / / rw", 29), None);
    }

    /// Goal: memory is doubted by name, and has no mount that could be told from another.
    #[test]
    fn memory_is_doubted() {
        let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let why = doubts(file.as_fd()).unwrap().unwrap();
        assert!(why.starts_with("tmpfs"), "{why}");
        assert_eq!(mount_number(file.as_fd()), 0);
    }

    /// Goal: on a disk the number is there and stays the same.
    #[test]
    fn a_mounted_disk_has_a_number() {
        let file = tempfile::tempfile_in("/var/tmp").unwrap();
        if doubts(file.as_fd()).unwrap().is_none() {
            let number = mount_number(file.as_fd());
            assert_ne!(number, 0);
            assert_eq!(mount_number(file.as_fd()), number);
        }
    }
}
