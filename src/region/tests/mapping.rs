//! Mapping: mirrored, guarded, protected by role, kept out of children, given back.

use super::*;

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

/// Goal: letting pages go changes no byte, on every backing, for ranges that end inside pages, reach
/// round the end, cover everything, nothing, or more than there is; and the bytes can be changed
/// again. Method: a mark at the start and end of every page, looked at from two mappings.
#[test]
fn letting_go_changes_no_byte() {
    let rings = Rings::make();
    assert_eq!(rings.objects.len(), 5);
    for object in &rings.objects {
        let shape = plan().shape;
        let map = |access| object.map(shape, access, MapExtras::default()).unwrap();
        let (one, two) = (map(Access::Pair), map(Access::Observe));
        let ends = (0..CAPACITY / 4096).flat_map(|page| [page * 4096, page * 4096 + 4088]);
        let ends: Vec<u64> = ends.collect();
        let ranges = [
            (0, 0),
            (100 * 8, 4096 * 2 + 8),
            (CAPACITY - 4096, CAPACITY + 4096),
            (CAPACITY * 7 - 8, CAPACITY * 7 + 8),
            (8, CAPACITY),
            (CAPACITY / 2, CAPACITY / 2 + CAPACITY),
            (0, CAPACITY * 5),
            (u64::MAX - 4095, 4096),
        ];
        for (round, (from, to)) in (1..).zip(ranges) {
            for end in &ends {
                let copy = if end % 4096 == 0 { 0 } else { CAPACITY };
                poke(one.address(shape.header_bytes() + copy + end), round + end);
            }
            one.let_go(from, to);
            for (end, mapping) in ends.iter().flat_map(|end| [(end, &one), (end, &two)]) {
                let first = mapping.data().wrapping_add(to_usize(*end));
                let again = first.wrapping_add(to_usize(CAPACITY));
                let found = [peek(first), peek(again)];
                assert_eq!(found, [round + end; 2], "{} {from} {to}", object.name());
            }
        }
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
    let _alone = alone();
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
        // Who asks for writable data gets that and nothing else, and only as a consumer.
        let extras = MapExtras {
            writable_data: true,
            ..MapExtras::default()
        };
        for (access, mut expected) in table {
            if access == Access::End(Role::Consumer) {
                (expected[8], expected[9]) = (1, 1);
            }
            let found = TOUCH.map(|touch| i32::from(!faults_with(object, access, extras, touch)));
            assert_eq!(found, expected, "{} {access:?}, writable", object.name());
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
        writable_data: true,
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
