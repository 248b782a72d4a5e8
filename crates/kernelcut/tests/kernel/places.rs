//! Where rings can be durable, and which copy of a ring is the one whose memory counts.

use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use ringduct::{CheckpointError, Location, OpenError, Options, RecoveryState, Ring};
use ringduct_kernelcut::{Disk, FileSystem, LoopFs};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::account::Shape;
use crate::cuts::directory;
use crate::need;

const SHAPE: Shape = Shape {
    capacity: 16384,
    checksum: true,
};

pub(crate) fn add(trials: &mut Vec<Trial>) {
    let tests: [(&str, fn()); 6] = [
        ("memory", memory_is_not_durable),
        ("overlay", overlay_is_not_durable),
        ("fuse", fuse_is_not_durable),
        ("nobarrier", without_barriers_is_not_durable),
        ("copies", copies_are_cold),
        ("mounts", mounts_are_told_apart),
    ];
    for (name, body) in tests {
        trials.push(Trial::test(format!("place::{name}"), move || {
            need::fuse(|| {
                body();
                Ok(())
            })
        }));
    }
}

fn location(path: &Path) -> Location {
    path.display().to_string().parse().unwrap()
}

/// A ring that is not durable says so at each checkpoint.
fn says_so(ring: &Ring) {
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    assert!(!ring.is_durable());
    producer.try_send(b"message").unwrap();
    let outcomes = [producer.checkpoint(), consumer.checkpoint()];
    for outcome in outcomes {
        assert!(
            matches!(outcome, Err(CheckpointError::NotDurable { .. })),
            "{outcome:?}"
        );
    }
}

/// Nobody can make a durable ring at `place`, and trying leaves nothing there.
fn refuses(place: &Location) {
    let error = SHAPE.options().create(place).unwrap_err();
    assert!(matches!(error, OpenError::NotDurable { .. }), "{error}");
    let error = Options::new().open(place).unwrap_err();
    assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
}

/// Goal: nothing in memory is ever called durable.
fn memory_is_not_durable() {
    let place = directory(); // a tmpfs
    let name = format!("kernelcut-{}", std::process::id());
    let key = 0x5EED_0000_u32 | (std::process::id() & 0xFFFF);
    let places = [
        location(&place.path().join("new.ring")),
        format!("shm:{name}").parse().unwrap(),
        format!("sysv:{key:#x}").parse().unwrap(),
    ];
    for place in &places {
        refuses(place);
        let ring = Options::new()
            .capacity_bytes(SHAPE.capacity)
            .create(place)
            .unwrap();
        says_so(&ring);
        ring.remove().unwrap();
    }
    for error in [
        SHAPE.options().create_memfd(&name).unwrap_err(),
        SHAPE.options().create_anonymous().unwrap_err(),
    ] {
        assert!(matches!(error, OpenError::NotDurable { .. }), "{error}");
    }
    says_so(&Options::new().create_memfd(&name).unwrap());
    says_so(&Options::new().create_anonymous().unwrap());
}

/// A durable ring at `path`, with three messages of which two are acknowledged.
fn durable_ring(path: &Path) {
    let ring = SHAPE.options().create(&location(path)).unwrap();
    assert!(ring.is_durable());
    let mut producer = ring.producer().unwrap();
    assert_eq!(producer.recovery().state, RecoveryState::New);
    producer.try_send(b"one").unwrap();
    producer.try_send(b"two").unwrap();
    assert_eq!(producer.checkpoint().unwrap().messages, 2);
    producer.try_send(b"three").unwrap();
}

/// An existing durable ring at a place that is not durable: refused, or refused a checkpoint.
fn has_no_checkpoints(path: &Path) {
    let attached = Options::new()
        .open(&location(path))
        .and_then(|ring| ring.producer());
    match attached {
        Err(OpenError::NotDurable { .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(mut producer) => {
            let outcome = producer.checkpoint();
            assert!(
                matches!(outcome, Err(CheckpointError::NotDurable { .. })),
                "{outcome:?}"
            );
        }
    }
}

/// Goal: an overlay, which may drop every sync, is not believed, nor is a durable ring below it.
fn overlay_is_not_durable() {
    let place = directory();
    let fs = LoopFs::create(FileSystem::Ext4, place.path()).unwrap();
    let part = |name: &str| {
        let path = fs.root().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(part);
    durable_ring(&lower.join("old.ring"));
    let data = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        lower.display(),
        upper.display(),
        work.display()
    );
    let data = CString::new(data).unwrap();
    mount(
        "overlay",
        &merged,
        "overlay",
        MountFlags::empty(),
        Some(&*data),
    )
    .unwrap();
    refuses(&location(&merged.join("new.ring")));
    has_no_checkpoints(&merged.join("old.ring"));
    let ring = Options::new()
        .create(&location(&merged.join("plain.ring")))
        .unwrap();
    says_so(&ring);
    drop(ring);
    unmount(&merged, UnmountFlags::empty()).unwrap();
}

/// Goal: a file system that answers for itself is not believed.
fn fuse_is_not_durable() {
    let place = directory();
    let fs = LoopFs::create(FileSystem::Ext4, place.path()).unwrap();
    let path = fs.root().join("old.ring");
    durable_ring(&path);
    // The disk is the ring.
    let disk = Disk::serve(&path).unwrap();
    has_no_checkpoints(&disk.file());
    refuses(&location(&disk.file().with_file_name("new.ring")));
}

/// Goal: a disk whose cache is never flushed is not believed.
fn without_barriers_is_not_durable() {
    let place = directory();
    let mut fs = LoopFs::create(FileSystem::Ext4, place.path()).unwrap();
    durable_ring(&fs.root().join("old.ring"));
    fs.unmount().unwrap();
    fs.mount_with(c"nobarrier").unwrap();
    refuses(&location(&fs.root().join("new.ring")));
    has_no_checkpoints(&fs.root().join("old.ring"));
}

fn state_of(path: &Path) -> (RecoveryState, u64) {
    let found = SHAPE
        .options()
        .open(&location(path))
        .unwrap()
        .recover()
        .unwrap();
    (found.state, found.kept_messages)
}

/// Goal: a copy's memory is not that of its original, whatever its words say: it is recovered from
/// its checkpoints, and works. The original stays what it is.
fn copies_are_cold() {
    let place = directory();
    for kind in [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs] {
        let fs = LoopFs::create(kind, place.path()).unwrap();
        let path = |name: &str| fs.root().join(name);
        let original = path("original.ring");
        durable_ring(&original);
        let mut copies: Vec<PathBuf> = vec![path("copy.ring"), path("restored.ring")];
        std::fs::copy(&original, &copies[0]).unwrap();
        std::fs::copy(&original, path("backup")).unwrap();
        durable_ring(&copies[1]);
        std::fs::rename(path("backup"), &copies[1]).unwrap();
        if kind != FileSystem::Ext4 {
            let clone = path("clone.ring");
            let done = Command::new("cp")
                .arg("--reflink=always")
                .args([&original, &clone])
                .status()
                .unwrap();
            assert!(done.success());
            copies.push(clone);
        }
        for copy in &copies {
            // Records with checksums prove the third message too.
            assert_eq!(
                state_of(copy),
                (RecoveryState::Cold, 3),
                "{}",
                copy.display()
            );
            assert_eq!(
                state_of(copy),
                (RecoveryState::SameBoot, 3),
                "{}",
                copy.display()
            );
        }
        assert_eq!(
            state_of(&original),
            (RecoveryState::SameBoot, 3),
            "{kind:?}"
        );
    }
}

/// Goal: a file system mounted anew is another memory; one that is only shown at another place is
/// the same. Method: unmounted and mounted; bound to another directory.
fn mounts_are_told_apart() {
    let place = directory();
    for kind in FileSystem::ALL {
        let mut fs = LoopFs::create(kind, place.path()).unwrap();
        let path = fs.root().join("test.ring");
        durable_ring(&path);
        let elsewhere = place.path().join("elsewhere");
        std::fs::create_dir_all(&elsewhere).unwrap();
        mount_bind(fs.root(), &elsewhere).unwrap();
        assert_eq!(
            state_of(&elsewhere.join("test.ring")).0,
            RecoveryState::SameBoot,
            "{kind:?}"
        );
        unmount(&elsewhere, UnmountFlags::empty()).unwrap();
        assert_eq!(state_of(&path).0, RecoveryState::SameBoot, "{kind:?}");
        for _ in 0..2 {
            fs.unmount().unwrap();
            fs.mount().unwrap();
            assert_eq!(state_of(&path), (RecoveryState::Cold, 3), "{kind:?}");
            assert_eq!(state_of(&path).0, RecoveryState::SameBoot, "{kind:?}");
        }
        drop(File::open(&path).unwrap());
    }
}
