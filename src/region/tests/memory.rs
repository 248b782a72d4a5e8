//! Memory files, shared memory objects, System V segments, huge pages.

use super::*;

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

    // Linux 6.3 and later: nor can it be given run bits again.
    let seals = rustix::fs::fcntl_get_seals(&object.file).unwrap();
    if memfd_can_refuse_to_run() {
        assert!(seals.contains(SealFlags::EXEC));
        assert!(rustix::fs::fchmod(&object.file, rustix::fs::Mode::RWXU).is_err());
    }
    // Roles are taken by mapping it for writing, now and by a successor.
    assert!(!seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE));
}

fn memfd_can_refuse_to_run() -> bool {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::NOEXEC_SEAL;
    rustix::fs::memfd_create("probe", flags).is_ok()
}

/// Goal: whoever receives a memory file refuses it as long as one of the three seals is missing,
/// and says which. Method: a file for each set of seals, opened by number and as if received.
#[test]
fn each_seal_is_needed() {
    let (shrink, grow, seal) = (SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL);
    let table = [
        (SealFlags::empty(), "shrink, grow, seal"),
        (shrink, "grow, seal"),
        (grow, "shrink, seal"),
        (seal, "shrink, grow"),
        (shrink | grow, "seal"),
        (shrink | seal, "grow"),
        (grow | seal, "shrink"),
        (shrink | grow | seal, ""),
    ];
    for (seals, expected) in table {
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING | rustix::fs::MemfdFlags::CLOEXEC;
        let soft = rustix::fs::memfd_create("soft", flags).unwrap();
        rustix::fs::fchmod(&soft, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        rustix::fs::fcntl_add_seals(&soft, seals).unwrap();
        let copy = soft.try_clone().unwrap();
        let (owner, mode) = (me(), 0o600);
        for opened in [
            open(&Location::Fd(soft.as_raw_fd()), me(), false),
            open_received("test", vec![copy], Trust { owner, mode }, true),
        ] {
            match opened {
                Err(OpenError::Unsealed { missing, .. }) => assert_eq!(missing, expected),
                Ok(_) => assert_eq!(expected, ""),
                other => panic!("{other:?}"),
            }
        }
    }
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
    let object = Removed(create(&location, &plan(), &mut mark).unwrap());
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
    let object = Removed(create(&key, &plan, &mut mark).unwrap());
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
    let mut note_and_fail = |mapping: &Arc<Mapping>, origin: Origin| {
        companion = Some(origin.id);
        fail(mapping, origin)
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

    let object = Removed(create(&Location::SysVKey(key), &plan(), &mut mark).unwrap());
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

/// Goal: a file that bears the name of a companion is neither used nor removed: the ring gets
/// another id. Method: guess the next ids of the kernel and plant files; the guess may fail, but
/// then the ring must work just as well.
#[test]
fn stale_companions_are_stepped_over() {
    let key = Location::SysVKey(unique());
    let object = Removed(create(&key, &plan(), &mut mark).unwrap());
    let id = object.segment.as_ref().unwrap().id();
    object.unlink().unwrap();
    let planted: Vec<_> = (1..=3)
        .map(|next| Path::new("/dev/shm").join(format!("ringduct-sysv-{}", id + next)))
        .filter(|path| fs::File::create_new(path).is_ok())
        .collect();
    let object = Removed(create(&key, &plan(), &mut mark).unwrap());
    assert!(!planted.contains(&companion_path(&object)));
    open(&key, me(), false).unwrap();
    object.unlink().unwrap();
    for path in planted {
        fs::remove_file(path).unwrap(); // it is still there
    }
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

/// Goal: a file on a hugetlbfs mount is made of its pages, asked for or not; without any left, an
/// error says so and nothing is left behind.
#[test]
fn files_on_hugetlbfs_have_its_pages() {
    let Some(mount) = OwnMount::new("hugetlbfs", "mode=0700") else {
        return;
    };
    let path = at(&mount.0.path().join("ring"));
    let unit = unit_bytes(Target::Location(&path), HugePages::Never).unwrap();
    assert!(unit > kernel_page_bytes());
    let always = unit_bytes(Target::Location(&path), HugePages::Always).unwrap();
    assert_eq!(always, unit);
    let plan = Options::new().plan(unit, kernel_page_bytes()).unwrap();
    match create(&path, &plan, &mut mark) {
        Ok(object) => {
            let extras = MapExtras::default();
            let mapping = object.map(plan.shape, Access::Pair, extras).unwrap();
            poke(mapping.data(), 5);
            assert_eq!(peek(mapping.data().wrapping_add(to_usize(unit))), 5);
            let lease = crate::role::Lease::try_take(&object, 0).unwrap();
            drop(lease.unwrap());
            assert!(!crate::role::is_held(object.lock_fd(), 0).unwrap());
        }
        Err(OpenError::NoSpace { .. }) => assert!(entries(mount.0.path()).is_empty()),
        Err(error) => panic!("{error}"),
    }
}
