//! What is not a ring, or not the ring that was asked for, is refused with a typed error that names
//! it, the expectation and the finding; and it is left as it was.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringduct::{Location, OpenError, Options, Ring};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use tempfile::TempDir;

const CAPACITY: u64 = 4096;
const TOTAL: usize = 9 * 4096;

/// Offsets in the identity page, from the format's description and not from the library.
mod at {
    pub(crate) const MAJOR: usize = 8;
    pub(crate) const MINOR: usize = 12;
    pub(crate) const COMPATIBLE: usize = 16;
    pub(crate) const INCOMPATIBLE: usize = 32;
    pub(crate) const HEADER_BYTES: usize = 40;
    pub(crate) const CAPACITY: usize = 48;
    pub(crate) const ENDIAN: usize = 56;
    pub(crate) const KERNEL_PAGE: usize = 72;
    pub(crate) const RECORD_ALIGN: usize = 80;
    pub(crate) const MAX_MESSAGE: usize = 88;
    pub(crate) const TAG: usize = 112;
    pub(crate) const INODE: usize = 136;
    pub(crate) const CHECKSUM: usize = 252;
    /// Boot id in a role's page; the producer's is page 1, the consumer's page 2.
    pub(crate) const BOOT_ID: usize = 560;
}

/// A directory with one ring in it that was used and closed.
struct Used {
    _directory: TempDir,
    path: PathBuf,
}

impl Used {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("used.ring");
        let ring = options().create(&Location::from(&*path)).unwrap();
        let mut tx = ring.producer().unwrap();
        let mut rx = ring.consumer().unwrap();
        for number in 0..5_u8 {
            tx.send(&[number; 33]).unwrap();
        }
        rx.recv(&mut [0; 64]).unwrap();
        Self {
            _directory: directory,
            path,
        }
    }

    /// Overwrites bytes, and makes the header's checksum right again if `seal`.
    fn write(&self, offset: usize, bytes: &[u8], seal: bool) {
        let file = File::options()
            .read(true)
            .write(true)
            .open(&self.path)
            .unwrap();
        file.write_all_at(bytes, offset as u64).unwrap();
        if seal {
            let mut header = [0; at::CHECKSUM];
            file.read_exact_at(&mut header, 0).unwrap();
            let checksum = crc32c::crc32c(&header).to_le_bytes();
            file.write_all_at(&checksum, at::CHECKSUM as u64).unwrap();
        }
    }

    fn location(&self) -> Location {
        Location::from(&*self.path)
    }
}

fn options() -> Options {
    Options::new().capacity_bytes(CAPACITY)
}

/// What an opener must leave alone.
#[derive(Debug, PartialEq)]
struct State {
    bytes: Option<Vec<u8>>,
    numbers: (u64, u64, u32, i64, i64, u32),
}

impl State {
    fn of(path: &Path) -> Self {
        let stat = fs::symlink_metadata(path).unwrap();
        Self {
            bytes: stat.is_file().then(|| fs::read(path).unwrap()),
            numbers: (
                stat.ino(),
                stat.size(),
                stat.mode(),
                stat.mtime(),
                stat.mtime_nsec(),
                stat.uid(),
            ),
        }
    }
}

/// Opens in every way there is; all must fail alike, and nothing may change. Returns the error.
fn refused(path: &Path) -> OpenError {
    let location = Location::from(path);
    let before = State::of(path);
    let error = Options::new().open(&location).unwrap_err();
    let kind = std::mem::discriminant(&error);
    let either = Options::new().open_or_create(&location).unwrap_err();
    assert_eq!(std::mem::discriminant(&either), kind, "{either:?}");
    let observing = Options::new().observe(&location).unwrap_err();
    assert_eq!(std::mem::discriminant(&observing), kind, "{observing:?}");
    assert_eq!(State::of(path), before, "{}", path.display());
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    error
}

/// Refused when an end is taken; nothing may change.
fn refused_ends(path: &Path) -> OpenError {
    let before = State::of(path);
    let ring = Options::new().open(&Location::from(path)).unwrap();
    let error = ring.producer().unwrap_err();
    let other = ring.consumer().unwrap_err();
    assert_eq!(
        std::mem::discriminant(&error),
        std::mem::discriminant(&other),
        "{other:?}"
    );
    assert_eq!(State::of(path), before);
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    error
}

/// Goal: files that are no rings are told apart by what they are. Method: an empty one, a short
/// one, a long foreign one, and one of zeros with the size of a ring.
#[test]
fn foreign_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("foreign");
    for (content, expected, found) in [
        (vec![], "at least 36864 bytes", "an empty file"),
        (vec![1; 100], "at least 36864 bytes", "100 bytes"),
        (vec![0; TOTAL - 1], "at least 36864 bytes", "36863 bytes"),
        (vec![b'x'; TOTAL], "RINGDUCT", "xxxxxxxx"),
        (vec![0; TOTAL], "RINGDUCT", r"\\x00"),
    ] {
        fs::write(&path, content).unwrap();
        match refused(&path) {
            OpenError::NotARing {
                expected: wanted,
                found: is,
                ..
            } => {
                assert!(wanted.contains(expected), "{wanted}");
                assert!(is.contains(found), "{is}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Goal: a ring that lost its end or grew one is refused before any of it is mapped.
#[test]
fn short_and_long_rings() {
    for change in [-4096, -1, 1, 4096, 1 << 30] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resized.ring");
        let ring = Options::new().capacity_bytes(65536);
        drop(ring.create(&Location::from(&*path)).unwrap());
        let right = 8 * 4096 + 65536_u64;
        let wrong = right.checked_add_signed(change).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(wrong).unwrap();
        match refused_sparse(&path) {
            OpenError::Damaged {
                field,
                expected,
                found,
                ..
            } => assert_eq!((field, expected, found), ("size in bytes", right, wrong)),
            other => panic!("{other:?}"),
        }
    }
}

/// As [`refused`], for files whose holes need not be read through.
fn refused_sparse(path: &Path) -> OpenError {
    let before = fs::symlink_metadata(path).unwrap();
    let error = Options::new().open(&Location::from(path)).unwrap_err();
    let after = fs::symlink_metadata(path).unwrap();
    assert_eq!(
        (before.mtime_nsec(), before.size()),
        (after.mtime_nsec(), after.size())
    );
    error
}

/// Goal: what another version, machine or byte order made is refused in its own words, though its
/// checksum is right; a field that no ring can have is damage, with both values.
#[test]
fn other_formats() {
    let unsupported = [
        (at::MAJOR, 2_u64.to_le_bytes(), 4, "format version", 2),
        (
            at::INCOMPATIBLE,
            (1_u64 << 40).to_le_bytes(),
            8,
            "features",
            1 << 40,
        ),
        (
            at::KERNEL_PAGE,
            65536_u64.to_le_bytes(),
            8,
            "page size",
            65536,
        ),
    ];
    for (offset, value, length, name, wrong) in unsupported {
        let ring = Used::new();
        ring.write(offset, &value[..length], true);
        match refused(&ring.path) {
            OpenError::Unsupported {
                property, found, ..
            } => assert_eq!((property, found), (name, wrong)),
            other => panic!("{other:?}"),
        }
    }
    let damaged = [
        (at::ENDIAN, 0x0102_0304_0506_0708, "byte order mark"),
        (at::CAPACITY, 4097, "capacity_bytes"),
        (at::CAPACITY, 1 << 63, "capacity_bytes"),
        (at::CAPACITY, 8192, "size in bytes"),
        (at::HEADER_BYTES, 0, "header_bytes"),
        (at::RECORD_ALIGN, 64, "record_align"),
        (at::MAX_MESSAGE, u64::MAX, "max_message_bytes"),
    ];
    for (offset, value, name) in damaged {
        let ring = Used::new();
        ring.write(offset, &u64::to_le_bytes(value), true);
        match refused(&ring.path) {
            OpenError::Damaged { field, .. } => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Goal: a later minor version and features that bar nothing are accepted.
#[test]
fn compatible_formats() {
    let ring = Used::new();
    ring.write(at::MINOR, &7_u32.to_le_bytes(), true);
    ring.write(at::COMPATIBLE, &u64::MAX.to_le_bytes(), true);
    let opened = Options::new().open(&ring.location()).unwrap();
    let mut rx = opened.consumer().unwrap();
    assert_eq!(rx.recv(&mut [0; 64]), Ok(33));
}

/// Goal: no flipped bit of the header is overlooked, and none is written to. Method: each of the
/// 2,048 in turn.
#[test]
fn flipped_header_bits() {
    let ring = Used::new();
    let good = fs::read(&ring.path).unwrap();
    for bit in 0..2048 {
        let flipped = good[bit / 8] ^ (1 << (bit % 8));
        ring.write(bit / 8, &[flipped], false);
        let error = Options::new().open(&ring.location()).unwrap_err();
        let typed = matches!(
            error,
            OpenError::NotARing { .. } | OpenError::Damaged { .. } | OpenError::Unsupported { .. }
        );
        assert!(typed, "bit {bit}: {error:?}");
        assert!(
            fs::read(&ring.path).unwrap()[bit / 8] == flipped,
            "bit {bit}"
        );
        ring.write(bit / 8, &[good[bit / 8]], false);
    }
    assert!(fs::read(&ring.path).unwrap() == good);
    assert!(Options::new().open(&ring.location()).is_ok());
}

/// Goal: only a plain file with one name is opened; looking at anything else has no effect, and a
/// FIFO does not hang. Method: each kind of thing at the name.
#[test]
fn things_that_are_no_files() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let used = Used::new();
    fs::create_dir(at("directory")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, at("fifo"), FileType::Fifo, mode, 0).unwrap();
    symlink(&used.path, at("symlink")).unwrap();
    symlink(at("nothing"), at("dangling")).unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    let mut things = vec![
        ("directory", "a directory"),
        ("fifo", "a FIFO"),
        ("symlink", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("socket", "a socket"),
    ];
    if capable("make a device node", rustix::process::geteuid().is_root()) {
        // The memory devices: 1, 3 is /dev/null.
        let null = makedev(1, 3);
        mknodat(CWD, at("device"), FileType::CharacterDevice, mode, null).unwrap();
        things.push(("device", "a character device"));
    }
    for (name, is) in things {
        match refused(&at(name)) {
            OpenError::NotARing { found, .. } => assert_eq!(found, is),
            other => panic!("{name}: {other:?}"),
        }
    }
    let second = used.path.with_extension("second");
    fs::hard_link(&used.path, &second).unwrap();
    for path in [&used.path, &second] {
        match refused(path) {
            OpenError::NotARing { found, .. } => assert_eq!(found, "a file with 2 names"),
            other => panic!("{other:?}"),
        }
    }
}

/// Whether this run can do something that not every machine allows. In CI it must.
fn capable(what: &str, can: bool) -> bool {
    assert!(
        can || std::env::var_os("CI").is_none(),
        "CI must be able to {what}"
    );
    if !can {
        skipped(what);
    }
    can
}

#[expect(clippy::print_stderr, reason = "a skip must be seen")]
fn skipped(what: &str) {
    eprintln!("SKIPPED in part: this machine does not let the test {what}");
}

/// Goal: another user's ring is refused, unless that user was named. Method: chown, as root.
#[test]
fn other_owners() {
    if !capable(
        "give a file to another user",
        rustix::process::geteuid().is_root(),
    ) {
        return;
    }
    let ring = Used::new();
    std::os::unix::fs::chown(&ring.path, Some(12345), None).unwrap();
    match refused(&ring.path) {
        OpenError::WrongOwner {
            expected, found, ..
        } => assert_eq!((expected, found), (0, 12345)),
        other => panic!("{other:?}"),
    }
    let opened = Options::new().owner(12345).open(&ring.location());
    assert!(opened.is_ok(), "{opened:?}");
}

/// Goal: an option that was given explicitly must be true of the ring; the error has both values.
#[test]
fn options_that_do_not_match() {
    let ring = Used::new();
    let wrong = [
        (
            Options::new().capacity_bytes(8192),
            "capacity_bytes",
            "8192",
            "4096",
        ),
        (
            Options::new().max_message_bytes(5),
            "max_message_bytes",
            "5",
            "4080",
        ),
        (Options::new().checksum(true), "checksum", "true", "false"),
        (
            Options::new().application_tag(*b"0123456789abcdef"),
            "application_tag",
            "0123456789abcdef",
            r"\x00",
        ),
    ];
    let before = State::of(&ring.path);
    for (options, name, asked, has) in wrong {
        match options.open_or_create(&ring.location()) {
            Err(OpenError::Mismatch {
                option,
                expected,
                found,
                ..
            }) => {
                assert_eq!((option, expected.as_str()), (name, asked));
                assert!(found.contains(has), "{found}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(State::of(&ring.path), before);
    let mut other = [0; 16];
    other[..4].copy_from_slice(b"mine");
    ring.write(at::TAG, &other, true);
    let opened = Options::new().application_tag(other).open(&ring.location());
    assert!(opened.is_ok(), "{opened:?}");
}

/// Goal: a copy is not the ring, and is told so: its messages may be stale, so it can be looked at
/// and no more. Likewise a ring whose header names another inode, which is what a restored backup
/// has.
#[test]
fn copies_are_cold() {
    let ring = Used::new();
    let copy = ring.path.with_extension("copy");
    fs::copy(&ring.path, &copy).unwrap();
    cold_and_seen(&copy);
    let inode = fs::metadata(&ring.path).unwrap().ino();
    ring.write(at::INODE, &(inode + 1).to_le_bytes(), true);
    cold_and_seen(&ring.path);
}

/// Opens a cold ring to write in either way, which must fail, and looks at it, which must not. Nothing
/// may change.
fn cold_and_seen(path: &Path) {
    let location = Location::from(path);
    let before = State::of(path);
    for outcome in [
        Options::new().open(&location),
        Options::new().open_or_create(&location),
    ] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, OpenError::Cold { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
    let observer = Options::new().observe(&location).unwrap();
    assert_eq!(observer.snapshot().backlog_messages, 4);
    assert_eq!(State::of(path), before, "{}", path.display());
}

/// Goal: a ring that was last used under another boot is refused at attach and can be looked at.
/// Method: rewrite the boot id that one side left.
#[test]
fn rings_of_another_boot_are_cold() {
    for page in [1, 2] {
        let ring = Used::new();
        ring.write(page * 4096 + at::BOOT_ID, &[7; 16], false);
        let error = refused_ends(&ring.path);
        assert!(matches!(error, OpenError::Cold { .. }), "{error:?}");
        let observer = Options::new().observe(&ring.location()).unwrap();
        assert_eq!(observer.snapshot().backlog_messages, 4);
    }
}

/// Goal: a name without a ring, a directory that is not there, and one that may not be entered.
#[test]
fn nothing_there() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["none.ring", "no/such/directory.ring"] {
        let path = directory.path().join(path);
        let error = Options::new().open(&Location::from(&*path)).unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
    let place = Location::from(directory.path().join("no/such/directory.ring"));
    let error = Options::new().create(&place).unwrap_err();
    assert!(matches!(error, OpenError::Os { .. }), "{error:?}");
    for text in ["fd:987654", "sysv:id:2147483647", "shm:ringduct-test-none"] {
        let error = Options::new().open(&text.parse().unwrap()).unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
    }
}

/// Goal: a ring has the mode that was asked for, and without asking nobody else may read it; the
/// umask has no say.
#[test]
fn modes_are_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    for (name, mode) in [
        ("private", None),
        ("group", Some(0o660)),
        ("all", Some(0o666)),
    ] {
        let options = mode.map_or_else(options, |mode| options().mode(mode));
        let _ring: Ring = options.create(&Location::from(place(name))).unwrap();
        let found = fs::metadata(place(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode.unwrap_or(0o600));
    }
}

/// A small tmpfs, unmounted when it goes away.
struct Small(TempDir);

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: what another test forks has this one's files open until it executes its program.
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        let done = unmounted.is_ok_and(|status| status.success());
        assert!(done || std::thread::panicking(), "unmount");
    }
}

/// Goal: a full disk is an error at creation, never a signal later, and leaves nothing behind.
/// Method: a tmpfs that is a page too small for one ring and large enough for another.
#[test]
fn disk_full() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "ringduct-test"])
        .arg(directory.path())
        .status()
        .is_ok_and(|status| status.success());
    if !capable("mount a tmpfs", mounted) {
        return;
    }
    let small = Small(directory);
    let place = Location::from(small.0.path().join("full.ring"));
    match Options::new().capacity_bytes(65536).create(&place) {
        Err(OpenError::NoSpace { needed_bytes, .. }) => assert_eq!(needed_bytes, 98304),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(small.0.path()).unwrap().count(), 0);
    let ring = options().create(&place).unwrap();
    let mut tx = ring.producer().unwrap();
    while tx.try_send(&[1; 500]).is_ok() {}
    drop(tx);
    ring.remove().unwrap();
    assert_eq!(fs::read_dir(small.0.path()).unwrap().count(), 0);
}
