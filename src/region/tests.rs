//! Tests of all backings: what is made, what is refused, and what is left behind.
#![expect(unsafe_code, reason = "looks into mapped memory and at what faults")]

use core::sync::atomic::{AtomicI32, Ordering};
use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::SealFlags;
use tempfile::TempDir;

use super::file::{Draft, Naming, create_from};
use super::*;
use crate::layout::Page;
use crate::options::Options;
use crate::testing::{alone, in_child};

const CAPACITY: u64 = 16384;
const MARK: u64 = 0x6d61_726b;

fn plan() -> CreatePlan {
    plan_of(&Options::new().capacity_bytes(CAPACITY))
}

fn plan_of(options: &Options) -> CreatePlan {
    let page = kernel_page_bytes();
    options.plan(page, page).unwrap()
}

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn at(path: &Path) -> Location {
    Location::from(path)
}

/// Names that no other test, and no other run at the same time, uses.
fn unique() -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(1);
    let process = i32::try_from(std::process::id()).unwrap();
    process * 100 + NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Stores the mark where a header begins.
fn mark(mapping: &Mapping, _id: FileId) -> Result<(), OpenError> {
    poke(mapping.page(Page::Identity), MARK);
    Ok(())
}

fn fail(_: &Mapping, _: FileId) -> Result<(), OpenError> {
    Err(OpenError::NotFound {
        name: "injected".to_owned(),
    })
}

fn poke(address: *mut u8, value: u64) {
    // SAFETY: callers pass aligned addresses inside a writable mapping, or want the fault.
    unsafe {
        address
            .cast::<[u8; 8]>()
            .write_volatile(value.to_le_bytes())
    };
}

fn peek(address: *mut u8) -> u64 {
    // SAFETY: callers pass addresses inside a readable mapping, or want the fault.
    u64::from_le_bytes(unsafe { address.cast::<[u8; 8]>().read_volatile() })
}

/// Whether touching an address in a child that maps `object` itself is a segmentation fault.
fn faults(object: &Object, access: Access, touch: fn(&Mapping)) -> bool {
    let shape = plan().shape;
    let code = in_child(|| match object.map(shape, access, MapExtras::default()) {
        Ok(mapping) => {
            touch(&mapping);
            0
        }
        Err(_) => 99,
    });
    assert!(code == 0 || code == 1000 + libc::SIGSEGV, "child: {code}");
    code != 0
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// One ring of every backing, removed when it goes away.
struct Rings {
    _dir: TempDir,
    objects: Vec<Object>,
}

impl Rings {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let locations = [
            at(&dir.path().join("ring")),
            Location::Shm(format!("ringduct-test-{}", unique())),
            Location::SysVKey(unique()),
        ];
        let plan = plan();
        let mut objects: Vec<_> = locations
            .iter()
            .map(|location| create(location, &plan, &mut mark).unwrap())
            .collect();
        objects.push(memfd("test", &plan, &mut mark).unwrap());
        objects.push(anonymous(&plan, &mut mark).unwrap());
        Self { _dir: dir, objects }
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        for object in &self.objects {
            if object.place.is_some() {
                object.unlink().unwrap();
            }
        }
    }
}

/// Goal: on every backing the data lies twice back to back, both ways, and is shared with another
/// mapping of the same object; the header does not overlap it.
#[test]
fn every_backing_is_mirrored() {
    let rings = Rings::make();
    assert_eq!(rings.objects.len(), 5);
    for object in &rings.objects {
        let shape = plan().shape;
        let one = object
            .map(shape, Access::Pair, MapExtras::default())
            .unwrap();
        let two = object
            .map(shape, Access::Observe, MapExtras::default())
            .unwrap();
        assert_eq!(object.total_bytes().unwrap(), shape.total_bytes());
        assert_eq!(peek(one.page(Page::Identity)), MARK);
        for offset in [0, 8, 4096, CAPACITY - 8] {
            for copy in [0, CAPACITY] {
                let to = one.address(shape.header_bytes() + copy + offset);
                poke(to, offset + copy + 1);
                for mapping in [&one, &two] {
                    let first = mapping.data().wrapping_add(to_usize(offset));
                    let again = first.wrapping_add(to_usize(CAPACITY));
                    assert_eq!(peek(first), offset + copy + 1, "{}", object.name());
                    assert_eq!(peek(again), offset + copy + 1, "{}", object.name());
                }
            }
        }
        assert_eq!(peek(two.page(Page::Identity)), MARK);
        for unit in 0..8 {
            poke(one.address(unit * shape.unit_bytes()), unit + 77);
            assert_eq!(peek(two.address(unit * shape.unit_bytes())), unit + 77);
        }
        one.flush(rustix::mm::MsyncFlags::SYNC).unwrap();
    }
}

/// Goal: the bytes just outside are guarded on both sides, on every backing.
#[test]
fn every_backing_is_guarded() {
    let _alone = alone();
    let rings = Rings::make();
    for object in &rings.objects {
        let before = |mapping: &Mapping| {
            let _value = peek(mapping.page(Page::Identity).wrapping_sub(8));
        };
        let behind = |mapping: &Mapping| {
            let _value = peek(mapping.data().wrapping_add(to_usize(2 * CAPACITY)));
        };
        let last = |mapping: &Mapping| {
            let _value = peek(mapping.data().wrapping_add(to_usize(2 * CAPACITY) - 8));
        };
        assert!(faults(object, Access::Pair, before), "{}", object.name());
        assert!(faults(object, Access::Pair, behind), "{}", object.name());
        assert!(!faults(object, Access::Pair, last), "{}", object.name());
    }
}

/// Goal: each role can store where it must and nowhere else, on every backing. Method: a table
/// of ten places by four kinds of access, each tried in a child.
#[test]
fn pages_are_protected_by_role() {
    let _alone = alone();
    const TOUCH: [fn(&Mapping); 10] = [
        |mapping| poke(mapping.page(Page::Identity), 1),
        |mapping| poke(mapping.page(Page::Producer), 1),
        |mapping| poke(mapping.page(Page::Consumer), 1),
        |mapping| poke(mapping.page(Page::ProducerCheckpoint), 1),
        |mapping| poke(mapping.page(Page::ProducerCheckpoint).wrapping_add(4096), 1),
        |mapping| poke(mapping.page(Page::ConsumerCheckpoint), 1),
        |mapping| poke(mapping.page(Page::ConsumerCheckpoint).wrapping_add(4096), 1),
        |mapping| poke(mapping.page(Page::ConsumerCheckpoint).wrapping_add(8192), 1),
        |mapping| poke(mapping.data(), 1),
        |mapping| poke(mapping.data().wrapping_add(to_usize(CAPACITY)), 1),
    ];
    let table = [
        (Access::Pair, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (Access::Observe, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (Access::End(Role::Producer), [0, 1, 0, 1, 1, 0, 0, 0, 1, 1]),
        (Access::End(Role::Consumer), [0, 0, 1, 0, 0, 1, 1, 0, 0, 0]),
    ];
    let rings = Rings::make();
    for object in &rings.objects {
        for (access, expected) in table {
            let found = TOUCH.map(|touch| i32::from(!faults(object, access, touch)));
            assert_eq!(found, expected, "{} {access:?}", object.name());
        }
    }
}

/// Goal: a child inherits no byte of a ring or its guards.
#[test]
fn children_inherit_no_mapping() {
    let _alone = alone();
    let rings = Rings::make();
    for object in &rings.objects {
        let extras = MapExtras::default();
        let mapping = object.map(plan().shape, Access::Pair, extras).unwrap();
        let (start, length) = mapping.reservation();
        let code = in_child(|| {
            // SAFETY: nothing is inherited there, which the flag makes the kernel check.
            let placed = unsafe {
                rustix::mm::mmap_anonymous(
                    start.cast(),
                    length,
                    rustix::mm::ProtFlags::READ,
                    rustix::mm::MapFlags::PRIVATE | rustix::mm::MapFlags::FIXED_NOREPLACE,
                )
            };
            i32::from(placed.is_err())
        });
        assert_eq!(code, 0, "{}", object.name());
    }
}

/// Goal: dropping a mapping gives back the whole range; so does every failed one.
#[test]
fn mappings_are_given_back() {
    let _alone = alone();
    let rings = Rings::make();
    for object in &rings.objects {
        let extras = MapExtras::default();
        // In a child, so that no other thread takes the addresses in between.
        let code = in_child(|| {
            let Ok(own) = object.map(plan().shape, Access::Pair, extras) else {
                return 2;
            };
            let (start, length) = own.reservation();
            drop(own);
            // SAFETY: nothing may be left there, which the flag makes the kernel check.
            let placed = unsafe {
                rustix::mm::mmap_anonymous(
                    start.cast(),
                    length,
                    rustix::mm::ProtFlags::READ,
                    rustix::mm::MapFlags::PRIVATE | rustix::mm::MapFlags::FIXED_NOREPLACE,
                )
            };
            i32::from(placed.is_err())
        });
        assert_eq!(code, 0, "{}", object.name());
    }
}

/// Goal: a shape larger than the object is refused before anything beyond its end is mapped.
#[test]
fn shapes_beyond_the_end_are_refused() {
    let rings = Rings::make();
    let shape = Shape::new(kernel_page_bytes(), CAPACITY * 2).unwrap();
    for object in &rings.objects {
        let refused = object.map(shape, Access::Observe, MapExtras::default());
        assert!(matches!(refused, Err(OpenError::Damaged { .. })));
    }
}

/// Goal: prefaulting and locking work for every access; the memlock limit is named when it is hit.
#[test]
fn prefault_and_lock() {
    let _alone = alone();
    let rings = Rings::make();
    let extras = MapExtras {
        prefault: true,
        lock_memory: true,
        huge: HugePages::Try,
    };
    for object in &rings.objects {
        for access in [
            Access::Pair,
            Access::Observe,
            Access::End(Role::Producer),
            Access::End(Role::Consumer),
        ] {
            let mapping = object.map(plan().shape, access, extras).unwrap();
            let address = mapping.page(Page::Identity).addr();
            assert_eq!(address % (2 << 20), 0, "congruent to the file offset");
        }
    }
    let object = &rings.objects[0];
    let code = in_child(|| {
        let limit = libc::rlimit {
            rlim_cur: 4096,
            rlim_max: 4096,
        };
        // SAFETY: a valid struct, read by the call.
        unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
        // SAFETY: takes a number; the limit only binds a user without privilege.
        unsafe { libc::seteuid(65534) };
        match object.map(plan().shape, Access::Pair, extras) {
            Err(OpenError::InvalidOption {
                option: "lock_memory",
                expected,
                ..
            }) => i32::from(!expected.contains("4096")),
            Err(_) => 2,
            Ok(_) => 3,
        }
    });
    assert_eq!(code, 0);
}

/// Goal: a new file has its exact size, really allocated and zero, the wanted mode in spite of the
/// umask, one name, and nothing beside it; with and without unnamed files.
#[test]
fn files_are_made_complete() {
    let _alone = alone();
    for naming in [Naming::Best, Naming::Temporary] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let plan = plan_of(&Options::new().capacity_bytes(CAPACITY).mode(0o640));
        let code = in_child(|| {
            // SAFETY: changes the mask of this child only.
            unsafe { libc::umask(0o777) };
            let Ok(place) = Place::of_path("x", &path) else {
                return 1;
            };
            let Ok(draft) = Draft::new("x", &place, naming) else {
                return 2;
            };
            i32::from(create_from(draft, &plan, &mut mark).is_err()) * 3
        });
        assert_eq!(code, 0);
        assert_eq!(entries(dir.path()), ["ring"]);
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.len(), plan.shape.total_bytes());
        assert!(found.blocks() * 512 >= plan.shape.total_bytes());
        assert_eq!(found.permissions().mode() & 0o7777, 0o640);
        assert_eq!(found.nlink(), 1);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes[..8], MARK.to_le_bytes());
        assert!(bytes[8..].iter().all(|byte| *byte == 0));
        let object = open(&at(&path), me(), false).unwrap();
        assert_eq!(object.backing(), Backing::File);
        assert_eq!(object.name(), path.to_str().unwrap());
        assert_eq!(object.file_id().inode, found.ino());
        let page = kernel_page_bytes();
        let fault = object.read_header().unwrap().check(found.len(), page);
        assert!(fault.is_err());
        object.unlink().unwrap();
        assert!(entries(dir.path()).is_empty());
    }
}

/// Goal: a creation that fails leaves nothing, whatever the backing and the way of naming.
#[test]
fn failed_creations_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    for naming in [Naming::Best, Naming::Temporary] {
        let place = Place::of_path("x", &path).unwrap();
        let draft = Draft::new("x", &place, naming).unwrap();
        assert!(create_from(draft, &plan(), &mut fail).is_err());
        assert!(entries(dir.path()).is_empty());
        // Somebody else takes the name while the draft is being filled.
        let draft = Draft::new("x", &place, naming).unwrap();
        let mut lose = |_: &Mapping, _| {
            fs::write(&path, b"mine").unwrap();
            Ok(())
        };
        let lost = create_from(draft, &plan(), &mut lose);
        assert!(matches!(lost, Err(OpenError::AlreadyExists { .. })));
        assert_eq!(entries(dir.path()), ["ring"]);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let refused = create(&at(&path), &plan(), &mut mark);
        assert!(matches!(refused, Err(OpenError::AlreadyExists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();
    }
    let shm = Location::Shm(format!("ringduct-test-{}", unique()));
    assert!(create(&shm, &plan(), &mut fail).is_err());
    let missing = open(&shm, me(), false);
    assert!(matches!(missing, Err(OpenError::NotFound { .. })));
}

/// Goal: of creators that race for a name exactly one wins, and its ring is the one found.
#[test]
fn one_creator_wins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    for _ in 0..10 {
        let start = std::sync::Barrier::new(4);
        let won: Vec<FileId> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        match create(&at(&path), &plan(), &mut mark) {
                            Ok(object) => Some(object.file_id()),
                            Err(OpenError::AlreadyExists { .. }) => None,
                            Err(error) => panic!("{error}"),
                        }
                    })
                })
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().unwrap())
                .collect()
        });
        let object = open(&at(&path), me(), false).unwrap();
        assert_eq!(won, [object.file_id()]);
        object.unlink().unwrap();
    }
}

/// Goal: whatever else is planted under a name is refused without waiting and without effect, for
/// reading and for writing, and creating refuses it too.
#[test]
fn planted_names_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    create(&at(&path("real")), &plan(), &mut mark).unwrap();
    symlink(path("real"), path("link")).unwrap();
    symlink(path("nowhere"), path("dangling")).unwrap();
    fs::create_dir(path("dir")).unwrap();
    let fifo = CString::new(path("fifo").to_str().unwrap()).unwrap();
    // SAFETY: a valid C string.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    create(&at(&path("twice")), &plan(), &mut mark).unwrap();
    fs::hard_link(path("twice"), path("second")).unwrap();
    let table = [
        (path("link"), "a symbolic link"),
        (path("dangling"), "a symbolic link"),
        (path("dir"), "a directory"),
        (path("fifo"), "a FIFO"),
        (path("socket"), "a socket"),
        (path("twice"), "a file with 2 names"),
        (path("second"), "a file with 2 names"),
        (path("real/"), "a directory"),
        (path("dir/.."), "a directory"),
        (Path::new("/").to_owned(), "a directory"),
        (Path::new("/dev/null").to_owned(), "a character device"),
    ];
    for (path, what) in table {
        for read_only in [false, true] {
            match open(&at(&path), me(), read_only) {
                Err(OpenError::NotARing { found, .. }) => assert_eq!(found, what),
                other => panic!("{}: {other:?}", path.display()),
            }
        }
        let refused = create(&at(&path), &plan(), &mut mark);
        assert!(refused.is_err(), "{}", path.display());
    }
    for path in [path("missing"), path("no/such/dir")] {
        let missing = open(&at(&path), me(), false);
        assert!(matches!(missing, Err(OpenError::NotFound { .. })));
    }
    assert!(!path("nowhere").exists());
}

/// Goal: another user's ring is refused unless that user is named; both ids are reported.
#[test]
fn owners_are_checked() {
    assert_eq!(me(), 0, "this test gives a file away: run it as root");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let object = create(&at(&path), &plan(), &mut mark).unwrap();
    std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
    let fd = Location::Fd(object.file.as_raw_fd());
    for location in [at(&path), fd] {
        match open(&location, 0, false) {
            Err(OpenError::WrongOwner {
                expected: 0,
                found: 4711,
                ..
            }) => {}
            other => panic!("{other:?}"),
        }
        open(&location, 4711, false).unwrap();
    }
}

/// Goal: a name is removed only while it means the ring that was opened.
#[test]
fn only_the_opened_ring_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let object = create(&at(&path), &plan(), &mut mark).unwrap();
    fs::rename(&path, dir.path().join("moved")).unwrap();
    assert!(matches!(object.unlink(), Err(OpenError::NotFound { .. })));
    fs::write(&path, b"another").unwrap();
    assert!(matches!(object.unlink(), Err(OpenError::NotARing { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"another");
}

/// Goal: a short file reads as zeros beyond its end, as does an empty one.
#[test]
fn short_headers_are_zero_filled() {
    let dir = tempfile::tempdir().unwrap();
    for length in [0, 1, 8, 255, 256, 300] {
        let path = dir.path().join(format!("{length}"));
        fs::write(&path, vec![0xAB; length]).unwrap();
        let object = open(&at(&path), me(), true).unwrap();
        let mut expected = [0; HEADER_READ_BYTES];
        expected[..length.min(256)].fill(0xAB);
        let page = kernel_page_bytes();
        let found = object.read_header().unwrap().check(0, page);
        assert_eq!(found, UncheckedHeader::new(expected).check(0, page));
    }
}

/// A small tmpfs, unmounted when it goes away.
struct SmallTmpfs(TempDir);

impl SmallTmpfs {
    /// `None` where mounting is not permitted; in CI that is a failure.
    fn mount(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "ringduct-test"])
            .arg(dir.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount");
        eprintln!("skipped: mounting a tmpfs is not permitted here");
        None
    }
}

impl Drop for SmallTmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Goal: a filesystem without room is an error that says so, before anything has the name, and
/// with just enough room there is none. Never a SIGBUS.
#[test]
fn a_full_filesystem_is_an_error() {
    let Some(tmpfs) = SmallTmpfs::mount("size=64k") else {
        return;
    };
    let path = tmpfs.0.path().join("ring");
    let large = plan_of(&Options::new().capacity_bytes(65536));
    match create(&at(&path), &large, &mut mark) {
        Err(OpenError::NoSpace { needed_bytes, .. }) => assert_eq!(needed_bytes, 65536 + 32768),
        other => panic!("{other:?}"),
    }
    assert!(entries(tmpfs.0.path()).is_empty());
    let fits = plan_of(&Options::new().capacity_bytes(32768));
    let object = create(&at(&path), &fits, &mut mark).unwrap();
    let extras = MapExtras {
        prefault: true,
        ..MapExtras::default()
    };
    object.map(fits.shape, Access::Pair, extras).unwrap();
}

/// Goal: a memory file is sealed, private and without run bits; a file that can still change its
/// end is refused with the missing seals named.
#[test]
fn memory_files_are_sealed() {
    let wide = plan_of(&Options::new().capacity_bytes(CAPACITY).mode(0o755));
    let object = memfd("sealed", &wide, &mut mark).unwrap();
    assert_eq!(object.name(), "memfd:sealed");
    assert_eq!(object.backing(), Backing::Memfd);
    let stat = rustix::fs::fstat(&object.file).unwrap();
    assert_eq!(stat.st_mode & 0o7777, 0o644);
    let private = memfd("sealed", &plan(), &mut mark).unwrap();
    assert_eq!(
        rustix::fs::fstat(&private.file).unwrap().st_mode & 0o7777,
        0o600
    );
    for size in [0, CAPACITY, 1 << 20] {
        assert!(rustix::fs::ftruncate(&object.file, size).is_err());
    }
    assert!(rustix::fs::fcntl_add_seals(&object.file, SealFlags::WRITE).is_err());
    assert!(object.unlink().is_err());

    let number = object.fresh_description(false).unwrap();
    let opened = open(&Location::Fd(number.as_raw_fd()), me(), false).unwrap();
    assert_eq!(opened.file_id(), object.file_id());
    assert_eq!(opened.backing(), Backing::Memfd);
    drop(opened);
    rustix::fs::fstat(&number).unwrap(); // still open: it is the caller's

    let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
    let soft = rustix::fs::memfd_create("soft", flags).unwrap();
    let table = [
        (SealFlags::empty(), "shrink, grow, seal"),
        (SealFlags::GROW, "shrink, seal"),
        (SealFlags::SHRINK, "seal"),
    ];
    for (add, expected) in table {
        rustix::fs::fcntl_add_seals(&soft, add).unwrap();
        match open(&Location::Fd(soft.as_raw_fd()), me(), false) {
            Err(OpenError::Unsealed { missing, .. }) => assert_eq!(missing, expected),
            other => panic!("{other:?}"),
        }
    }
    rustix::fs::fcntl_add_seals(&soft, SealFlags::SEAL).unwrap();
    open(&Location::Fd(soft.as_raw_fd()), me(), false).unwrap();
}

/// Goal: a read-only description is really read-only, and can be observed through.
#[test]
fn read_only_descriptions_stay_read_only() {
    let object = memfd("shown", &plan(), &mut mark).unwrap();
    let shown = object.fresh_description(true).unwrap();
    assert!(rustix::io::pwrite(&shown, b"x", 0).is_err());
    let seen = open(&Location::Fd(shown.as_raw_fd()), me(), true).unwrap();
    assert!(seen.is_read_only());
    let extras = MapExtras::default();
    let mapping = seen.map(plan().shape, Access::Observe, extras).unwrap();
    assert_eq!(peek(mapping.page(Page::Identity)), MARK);
    assert!(seen.map(plan().shape, Access::Pair, extras).is_err());
}

/// Goal: descriptors that are no rings are refused, each with its reason; files with a name are
/// accepted and cannot be removed through a number.
#[test]
fn descriptors_are_judged() {
    let refused = |number: i32| match open(&Location::Fd(number), me(), false) {
        Err(OpenError::NotARing { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    assert!(refused(999_999).contains("no descriptor"));
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    assert_eq!(refused(socket.as_raw_fd()), "a socket");
    let dir = tempfile::tempdir().unwrap();
    let opened = fs::File::open(dir.path()).unwrap();
    assert_eq!(refused(opened.as_raw_fd()), "a directory");
    let null = fs::File::open("/dev/null").unwrap();
    assert_eq!(refused(null.as_raw_fd()), "a character device");

    let path = dir.path().join("ring");
    let object = create(&at(&path), &plan(), &mut mark).unwrap();
    let number = Location::Fd(object.file.as_raw_fd());
    let by_number = open(&number, me(), false).unwrap();
    assert_eq!(by_number.backing(), Backing::File);
    assert!(by_number.unlink().is_err());
    assert!(path.exists());
    object.unlink().unwrap();
    let unlinked = open(&number, me(), false);
    assert!(matches!(unlinked, Err(OpenError::Unsealed { .. })));
    for location in [number, Location::SysVId(1)] {
        let refused = create(&location, &plan(), &mut mark);
        assert!(matches!(refused, Err(OpenError::InvalidOption { .. })));
    }
}

/// Goal: a shared memory object is made, found, refused a second time, and removed.
#[test]
fn shared_memory_objects_come_and_go() {
    let location = Location::Shm(format!("ringduct-test-{}", unique()));
    let object = create(&location, &plan(), &mut mark).unwrap();
    assert_eq!(object.backing(), Backing::Shm);
    assert_eq!(object.name(), location.to_string());
    let again = create(&location, &plan(), &mut mark);
    assert!(matches!(again, Err(OpenError::AlreadyExists { .. })));
    let opened = open(&location, me(), true).unwrap();
    assert_eq!(opened.file_id(), object.file_id());
    opened.unlink().unwrap();
    let gone = open(&location, me(), true);
    assert!(matches!(gone, Err(OpenError::NotFound { .. })));
    let unchecked = Location::Shm("../tmp/x".to_owned());
    assert!(create(&unchecked, &plan(), &mut mark).is_err());
    let huge = unit_bytes(Target::Location(&location), HugePages::Always);
    assert!(matches!(huge, Err(OpenError::InvalidOption { .. })));
}

fn companion_path(object: &Object) -> std::path::PathBuf {
    let id = object.segment.as_ref().unwrap().id();
    Path::new("/dev/shm").join(format!("ringduct-sysv-{id}"))
}

/// Goal: a segment is found by key and by id, with its companion; removing it leaves neither,
/// while those who have it mapped keep it.
#[test]
fn segments_come_and_go() {
    let key = Location::SysVKey(unique());
    let plan = plan_of(&Options::new().capacity_bytes(CAPACITY).mode(0o640));
    let object = create(&key, &plan, &mut mark).unwrap();
    let companion = companion_path(&object);
    let found = fs::metadata(&companion).unwrap();
    assert_eq!(found.len(), kernel_page_bytes());
    assert_eq!(found.permissions().mode() & 0o7777, 0o640);
    assert_eq!(found.ino(), object.file_id().inode);
    let again = create(&key, &plan, &mut mark);
    assert!(matches!(again, Err(OpenError::AlreadyExists { .. })));

    let id = Location::SysVId(object.segment.as_ref().unwrap().id());
    for location in [&key, &id] {
        let opened = open(location, me(), false).unwrap();
        assert_eq!(opened.file_id(), object.file_id());
        assert_eq!(opened.backing(), Backing::SysV);
        assert_eq!(opened.total_bytes().unwrap(), plan.shape.total_bytes());
        let mut bytes = [0; HEADER_READ_BYTES];
        bytes[..8].copy_from_slice(&MARK.to_le_bytes());
        let header = opened.read_header().unwrap().check(0, 4096);
        assert_eq!(header, UncheckedHeader::new(bytes).check(0, 4096));
        assert!(opened.fresh_description(true).is_err());
        let other = open(location, 4711, false);
        assert!(matches!(other, Err(OpenError::WrongOwner { .. })));
    }
    let extras = MapExtras::default();
    let mapping = object.map(plan.shape, Access::Pair, extras).unwrap();
    object.unlink().unwrap();
    assert!(!companion.exists());
    for location in [&key, &id] {
        let gone = open(location, me(), false);
        assert!(matches!(gone, Err(OpenError::NotFound { .. })));
    }
    poke(mapping.data(), 5);
    assert_eq!(peek(mapping.data().wrapping_add(to_usize(CAPACITY))), 5);
    drop(mapping);
    let gone = object.total_bytes();
    assert!(matches!(gone, Err(OpenError::NotFound { .. })), "{gone:?}");
}

/// Goal: a segment whose creation failed is gone with its companion; a segment that is no ring has
/// no companion and is refused; a planted companion link is not followed.
#[test]
fn segments_are_cleaned_up_and_judged() {
    let key = unique();
    let mut companion = None;
    let mut note_and_fail = |_: &Mapping, id: FileId| {
        companion = Some(id);
        fail_now()
    };
    assert!(create(&Location::SysVKey(key), &plan(), &mut note_and_fail).is_err());
    let inode = companion.unwrap().inode;
    let left = fs::read_dir("/dev/shm").unwrap();
    assert!(left.filter_map(Result::ok).all(|entry| {
        !entry.file_name().to_string_lossy().contains("sysv")
            || entry.metadata().is_ok_and(|found| found.ino() != inode)
    }));
    let gone = open(&Location::SysVKey(key), me(), false);
    assert!(matches!(gone, Err(OpenError::NotFound { .. })));

    let object = create(&Location::SysVKey(key), &plan(), &mut mark).unwrap();
    let path = companion_path(&object);
    fs::remove_file(&path).unwrap();
    let bare = open(&Location::SysVKey(key), me(), false);
    assert!(matches!(bare, Err(OpenError::NotARing { .. })), "{bare:?}");
    symlink("/etc/passwd", &path).unwrap();
    match open(&Location::SysVKey(key), me(), false) {
        Err(OpenError::NotARing { found, .. }) => assert_eq!(found, "a symbolic link"),
        other => panic!("{other:?}"),
    }
    fs::remove_file(&path).unwrap();
    object.unlink().unwrap();
}

fn fail_now() -> Result<(), OpenError> {
    Err(OpenError::NotFound {
        name: "injected".to_owned(),
    })
}

/// Goal: huge pages are used, or their absence is an error; never a signal.
#[test]
fn huge_pages_or_an_error() {
    let unit = match unit_bytes(Target::Memory, HugePages::Always) {
        Ok(unit) => unit,
        Err(OpenError::InvalidOption { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    assert!(unit > kernel_page_bytes());
    let options = Options::new().huge_pages(HugePages::Always);
    let plan = options.plan(unit, kernel_page_bytes()).unwrap();
    let key = Location::SysVKey(unique());
    let made = [
        memfd("huge", &plan, &mut mark),
        create(&key, &plan, &mut mark),
    ];
    for made in made {
        match made {
            Ok(object) => {
                let extras = options.map_extras();
                let mapping = object.map(plan.shape, Access::Pair, extras).unwrap();
                poke(mapping.data(), 5);
                let again = mapping.data().wrapping_add(to_usize(unit));
                assert_eq!(peek(again), 5);
                drop(mapping);
                if object.place.is_some() {
                    object.unlink().unwrap();
                }
            }
            Err(OpenError::NoSpace { .. } | OpenError::InvalidOption { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = at(&dir.path().join("ring"));
    let refused = unit_bytes(Target::Location(&path), HugePages::Always);
    assert!(matches!(refused, Err(OpenError::InvalidOption { .. })));
    let ordinary = unit_bytes(Target::Location(&path), HugePages::Try).unwrap();
    assert_eq!(ordinary, kernel_page_bytes());
}
