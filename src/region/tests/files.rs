//! Files: made complete or not at all, judged before they are opened, removed only while they
//! are meant.

use super::*;

/// Goal: a new file has its exact size, really allocated and zero, the wanted mode in spite of the
/// umask, one name, and nothing beside it; with and without unnamed files.
#[test]
fn files_are_made_complete() {
    let _alone = alone();
    for open_draft in DRAFTS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let plan = plan_of(&Options::new().capacity_bytes(CAPACITY).mode(0o640));
        let code = in_child(|| {
            // SAFETY: changes the mask of this child only.
            unsafe { libc::umask(0o777) };
            let Ok(place) = Place::of_path("x", &path) else {
                return 1;
            };
            let Ok(draft) = Draft::with("x", &place, plan.shape.total_bytes(), open_draft) else {
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
    let plan = plan();
    for open_draft in DRAFTS {
        let place = Place::of_path("x", &path).unwrap();
        let draft = Draft::with("x", &place, plan.shape.total_bytes(), open_draft).unwrap();
        assert!(create_from(draft, &plan, &mut fail).is_err());
        assert!(entries(dir.path()).is_empty());
        // Somebody else takes the name while the draft is being filled.
        let draft = Draft::with("x", &place, plan.shape.total_bytes(), open_draft).unwrap();
        let mut overtake = |_: &Arc<Mapping>, _| {
            fs::write(&path, b"mine").unwrap();
            Ok(())
        };
        let lost = create_from(draft, &plan, &mut overtake);
        assert!(matches!(lost, Err(OpenError::AlreadyExists { .. })));
        assert_eq!(entries(dir.path()), ["ring"]);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let refused = create(&at(&path), &plan, &mut mark);
        assert!(matches!(refused, Err(OpenError::AlreadyExists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();
    }
    let shm = Location::Shm(format!("ringduct-test-{}", unique()));
    assert!(create(&shm, &plan, &mut fail).is_err());
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

/// Goal: another user's ring is refused unless that user is named; both ids are reported. Method:
/// name another user as the owner, which anybody can; and give the file away, which root can.
#[test]
fn owners_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let object = create(&at(&path), &plan(), &mut mark).unwrap();
    let by_number = Location::Fd(object.file.as_raw_fd());
    let check = |owner: u32, other: u32| {
        for location in [&at(&path), &by_number] {
            match open(location, other, false) {
                Err(OpenError::WrongOwner {
                    expected, found, ..
                }) => assert_eq!((expected, found), (other, owner)),
                unexpected => panic!("{unexpected:?}"),
            }
            open(location, owner, false).unwrap();
        }
    };
    check(me(), 4711);
    if me() == 0 {
        std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
        check(4711, 0);
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

/// Goal: a filesystem without room is an error that says so, before anything has the name, and
/// with just enough room there is none. Never a SIGBUS.
#[test]
fn a_full_filesystem_is_an_error() {
    let Some(tmpfs) = OwnMount::new("tmpfs", "size=64k") else {
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
