//! Disks that fail. The first error of a sync is final: nobody who could have lost data through it
//! is ever told again that all is well.

use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use ringduct::Location;
use ringduct_kernelcut::{Disk, Fault, FileSystem, LoopFs, Request, extents};
use rustix::fs::FallocateFlags;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::account::{Positions, Shape, message};
use crate::child::{self, Child};
use crate::cuts::directory;
use crate::{agent, need};

const SHAPES: [Shape; 2] = [
    Shape {
        capacity: 16384,
        checksum: false,
    },
    Shape {
        capacity: 16384,
        checksum: true,
    },
];

/// Requests to the disk that one checkpoint makes at most.
const MAX_REQUESTS: u64 = 40;

/// Errors that must have been answered, over all the points of a sweep.
const MIN_ERRORS: u64 = 2;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    let mut test = |name: String, body: fn(FileSystem, Shape), kind, shape| {
        trials.push(Trial::test(name, move || {
            need::fuse(|| {
                body(kind, shape);
                Ok(())
            })
        }));
    };
    for kind in [
        FileSystem::Ext4,
        FileSystem::Ext4NoJournal,
        FileSystem::Xfs,
        FileSystem::Btrfs,
    ] {
        for shape in SHAPES {
            let sum = if shape.checksum { "checked" } else { "plain" };
            let name = |what: &str| format!("error::{what}::{kind:?}::{sum}");
            test(name("at_every_request"), at_every_request, kind, shape);
            test(name("while_nobody_looks"), while_nobody_looks, kind, shape);
            test(name("with_nobody_there"), with_nobody_there, kind, shape);
            test(name("and_forgotten"), and_forgotten, kind, shape);
            test(name("before_a_store"), before_a_store, kind, shape);
            if matches!(kind, FileSystem::Ext4 | FileSystem::Ext4NoJournal) {
                test(name("thin"), thin, kind, shape);
            }
        }
    }
}

/// A ring on a disk that can be told to fail, and a process that uses it.
struct Bench {
    agent: Option<Child>,
    fs: LoopFs,
    disk: Disk,
    shape: Shape,
    path: PathBuf,
    kind: FileSystem,
    place: TempDir,
}

impl Bench {
    fn new(kind: FileSystem, shape: Shape) -> Self {
        let place = directory();
        let image = place.path().join("new.img");
        kind.make(&image).unwrap();
        let disk = Disk::serve(&image).unwrap();
        let fs = LoopFs::over(kind, &disk.file()).unwrap();
        let path = fs.root().join("test.ring");
        drop(shape.options().create(&location(&path)).unwrap());
        let root = std::fs::File::open(fs.root()).unwrap();
        rustix::fs::syncfs(&root).unwrap();
        drop(root);
        let mut bench = Self {
            agent: None,
            fs,
            disk,
            shape,
            path,
            kind,
            place,
        };
        bench.start_agent();
        assert_eq!(bench.ask("attach"), ("ok".to_owned(), 0));
        bench
    }

    fn start_agent(&mut self) {
        let path = self.path.display().to_string();
        self.agent = Some(child::start_listening(&agent::role(&path, self.shape)));
    }

    /// Asks the agent; a signal that kills it fails the test.
    fn ask(&mut self, command: &str) -> (String, u64) {
        self.agent.as_mut().unwrap().ask(command)
    }

    /// Kills the agent.
    fn kill(&mut self) {
        self.agent.take().unwrap().kill();
    }

    /// A write to the ring's own bytes fails, after so many that go well, so many times.
    fn fail_data(&self, after: u64, times: u64, errno: i32) {
        let file = std::fs::File::open(&self.path).unwrap();
        let parts = extents(&file).unwrap();
        assert!(!parts.is_empty());
        // btrfs writes elsewhere each time: every request may be one of the ring's.
        let parts = if self.kind == FileSystem::Btrfs {
            Vec::new()
        } else {
            parts
        };
        self.disk.inject(Fault {
            request: Request::Write,
            parts,
            after,
            times,
            errno,
        });
    }

    /// Copies the ring to another disk, and checks the messages from `first` on up to `end`.
    fn salvage(&mut self, first: u64, end: u64) {
        let to = self.place.path().join("elsewhere");
        let image = self.place.path().join("elsewhere.img");
        FileSystem::Ext4.make(&image).unwrap();
        std::fs::create_dir_all(&to).unwrap();
        let fs = LoopFs::over(FileSystem::Ext4, &image).unwrap();
        let path = fs.root().join("saved.ring");
        let (word, count) = self.ask(&format!("salvage {}", path.display()));
        if self.kind == FileSystem::Btrfs && word == "refused" {
            // It writes no more, and what cannot be written cannot be opened as a ring.
            println!("read-only: nothing to salvage by name");
            return;
        }
        assert_eq!((word.as_str(), count), ("ok", end - first), "salvage");
        let ring = self.shape.options().open(&location(&path)).unwrap();
        let mut consumer = ring.consumer().unwrap();
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for number in first..end {
            consumer.try_recv_vec(&mut bytes).unwrap();
            message(number, 0, &mut expected);
            assert_eq!(bytes, expected, "message {number}");
        }
        consumer.checkpoint().unwrap();
        let mut producer = ring.producer().unwrap();
        producer.try_send(b"on").unwrap();
        producer.checkpoint().unwrap();
        drop((producer, consumer, ring, fs));
        std::fs::remove_file(image).unwrap();
    }

    /// Nobody is told that all is well: not this handle, not the other side, not a successor.
    fn stays_failed(&mut self) {
        for command in [
            "tail",
            "head",
            "tail-full",
            "tail-durable",
            "head-durable",
            "tail",
        ] {
            let (word, _) = self.ask(command);
            assert_eq!(word, "poisoned", "{command} after an error");
        }
        assert_eq!(self.ask("send 1").0, "poisoned");
        for successor in ["in this process", "in another one"] {
            let (word, _) = self.ask("attach");
            // btrfs may have stopped to write at all.
            let is_read_only = self.kind == FileSystem::Btrfs && word == "refused";
            assert!(
                word == "poisoned" || is_read_only,
                "a successor {successor}: {word}"
            );
            self.kill();
            self.start_agent();
        }
    }
}

/// Goal: a disk that promised room and has none ends in an error of the checkpoint, not in a
/// signal, and in nothing well afterwards. Method: the image of the disk is sparse, in a small
/// tmpfs, as a thin volume is; it loses the blocks of the ring, and something else takes the room.
fn thin(kind: FileSystem, shape: Shape) {
    let place = tempfile::tempdir().unwrap();
    let options = c"size=64m";
    mount(
        "tmpfs",
        place.path(),
        "tmpfs",
        MountFlags::empty(),
        Some(options),
    )
    .unwrap();
    let fs = LoopFs::create(kind, place.path()).unwrap();
    let path = fs.root().join("test.ring");
    drop(shape.options().create(&location(&path)).unwrap());
    rustix::fs::syncfs(std::fs::File::open(fs.root()).unwrap()).unwrap();
    let mut agent = child::start_listening(&agent::role(&path.display().to_string(), shape));
    assert_eq!(agent.ask("attach"), ("ok".to_owned(), 0));
    assert_eq!(agent.ask("send 10"), ("ok".to_owned(), 10));
    let image = std::fs::File::options()
        .write(true)
        .open(fs.image())
        .unwrap();
    for part in extents(&std::fs::File::open(&path).unwrap()).unwrap() {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&image, flags, part.start, part.end - part.start).unwrap();
    }
    let filler = place.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let full = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
    assert_eq!(full.raw_os_error(), Some(libc::ENOSPC));
    let (word, errno) = agent.ask("tail");
    assert_eq!(word, "sync", "{errno}");
    assert_ne!(agent.ask("head").0, "ok");
    std::fs::remove_file(filler).unwrap();
    // What room was granted before may be used up; then sending is refused too.
    for command in ["tail", "head", "tail-full", "send 1", "attach"] {
        assert_ne!(agent.ask(command).0, "ok", "{command} after an error");
    }
    println!("{kind:?}: errno {errno}");
    drop((agent, image, file, fs));
    unmount(place.path(), UnmountFlags::DETACH).unwrap();
}

fn location(path: &Path) -> Location {
    path.display().to_string().parse().unwrap()
}

/// Goal: wherever in a checkpoint the disk fails, once or for ever, the checkpoint says so or all
/// it covers is there; after the first error nothing is well again, though the disk is; what the
/// ring holds can be copied. Method: the nth write of a checkpoint fails, for each n.
fn at_every_request(kind: FileSystem, shape: Shape) {
    let mut errors = 0;
    for after in 0..MAX_REQUESTS {
        let (times, errno) = match after % 3 {
            0 => (1, libc::EIO),
            1 => (u64::MAX, libc::EIO),
            _ => (u64::MAX, libc::ENOSPC),
        };
        let mut bench = Bench::new(kind, shape);
        assert_eq!(bench.ask("send 30"), ("ok".to_owned(), 30));
        bench.fail_data(after, times, errno);
        let first = if after % 2 == 0 { "tail" } else { "head" };
        assert_eq!(bench.ask("receive 7"), ("ok".to_owned(), 7));
        let outcomes = [bench.ask(first), bench.ask("tail"), bench.ask("head")];
        let failed = bench.disk.heal();
        let has_error = outcomes.iter().any(|(word, _)| word != "ok");
        assert!(
            failed == 0 || has_error,
            "{failed} requests failed: {outcomes:?}"
        );
        if failed == 0 {
            break; // the checkpoints have no such request
        }
        let mut ok_no_more = false;
        for (word, _) in &outcomes {
            assert!(!ok_no_more || word != "ok", "{outcomes:?}");
            ok_no_more |= word != "ok";
        }
        errors += 1;
        bench.stays_failed();
        bench.salvage(7, 30);
    }
    println!("{errors} errors");
    assert!(errors >= MIN_ERRORS);
}

/// Goal: an error that the kernel meets on its own, long before a checkpoint, fails the checkpoint,
/// though the disk is well again and nothing is left to write. Method: the kernel writes all dirty
/// pages while the disk fails, and some other process hears of it first.
fn while_nobody_looks(kind: FileSystem, shape: Shape) {
    for order in [["tail", "head"], ["head", "tail"]] {
        let mut bench = Bench::new(kind, shape);
        assert_eq!(bench.ask("send 30"), ("ok".to_owned(), 30));
        assert_eq!(bench.ask("receive 7"), ("ok".to_owned(), 7));
        bench.fail_data(0, u64::MAX, libc::EIO);
        let other = std::fs::File::open(&bench.path).unwrap();
        let heard = other.sync_all();
        assert!(
            heard.is_err() && bench.disk.failed() > 0,
            "the kernel wrote something"
        );
        bench.disk.heal();
        let outcomes = order.map(|command| bench.ask(command).0);
        assert_ne!(outcomes[0], "ok", "{order:?} after a lost write");
        assert_ne!(outcomes[1], "ok", "{order:?} after a lost write");
        bench.stays_failed();
        bench.salvage(7, 30);
    }
}

/// Goal: an error in the time between two users of the ring does not make the second one claim
/// what the first one lost. Method: the first one is killed; the kernel's write fails, and somebody
/// else hears of it; the second one makes a checkpoint of all there is. If that goes well, it must
/// be on the disk.
fn with_nobody_there(kind: FileSystem, shape: Shape) {
    let mut bench = Bench::new(kind, shape);
    assert_eq!(bench.ask("send 30"), ("ok".to_owned(), 30));
    assert_eq!(bench.ask("receive 7"), ("ok".to_owned(), 7));
    bench.kill();
    bench.fail_data(0, u64::MAX, libc::EIO);
    let other = std::fs::File::open(&bench.path).unwrap();
    assert!(other.sync_all().is_err() && bench.disk.failed() > 0);
    drop(other);
    bench.disk.heal();
    bench.start_agent();
    let attached = bench.ask("attach").0;
    let tail = if attached == "ok" {
        bench.ask("tail")
    } else {
        (attached, 0)
    };
    bench.kill();
    if tail.0 != "ok" {
        println!("{kind:?}: refused");
        return;
    }
    // The power is cut: only the disk counts. A file system that gave up cannot even be cut.
    let end = tail.1;
    let _given_up = bench.fs.cut();
    bench.fs.remount().unwrap();
    let ring = bench.shape.options().open(&location(&bench.path)).unwrap();
    let found = ring.recover().unwrap();
    let mut positions = Positions::new();
    assert!(
        positions.at(found.tail) >= end,
        "{end} acknowledged, {found}"
    );
    let mut consumer = ring.consumer().unwrap();
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for number in positions.at(found.head)..end {
        consumer.try_recv_vec(&mut bytes).unwrap();
        message(number, 0, &mut expected);
        assert_eq!(bytes, expected, "message {number}");
    }
}

/// Goal: after writes are lost and the pages too, so that memory shows what the disk has, a
/// successor delivers nothing wrong, and everything acknowledged can be had. Method: the user is
/// killed, some of the kernel's writes fail, somebody else hears of it, and the clean pages are
/// evicted.
fn and_forgotten(kind: FileSystem, shape: Shape) {
    let mut outcomes = Vec::new();
    for (after, times) in [(0, 1), (0, 2), (1, 1), (2, 1), (3, 1), (0, u64::MAX)] {
        let mut bench = Bench::new(kind, shape);
        assert_eq!(bench.ask("send 20"), ("ok".to_owned(), 20));
        assert_eq!(bench.ask("receive 10"), ("ok".to_owned(), 10));
        assert_eq!(bench.ask("tail"), ("ok".to_owned(), 20));
        assert_eq!(bench.ask("head"), ("ok".to_owned(), 10));
        assert_eq!(bench.ask("send 20"), ("ok".to_owned(), 20));
        bench.kill();
        bench.fail_data(after, times, libc::EIO);
        let other = std::fs::File::open(&bench.path).unwrap();
        let heard = other.sync_all();
        // btrfs can do without some of its writes.
        let lost = bench.disk.failed() > 0 && kind != FileSystem::Btrfs;
        assert!(heard.is_err() || !lost, "{after} {times}");
        bench.disk.heal();
        rustix::fs::fadvise(&other, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        drop(other);
        bench.start_agent();
        let outcome = match bench.ask("attach") {
            (word, _) if word == "ok" => bench.ask("check 10"),
            refused => refused,
        };
        outcomes.push(outcome.clone());
        match outcome.0.as_str() {
            "ok" => assert!(
                outcome.1 >= 10,
                "acknowledged messages are gone: {outcome:?}"
            ),
            "wrong" => panic!("message {} is wrong and nobody says so", outcome.1),
            _ => {}
        }
        if outcome.0 != "ok" {
            bench.kill();
            if outcome.0 == "refused" {
                bench.fs.remount().unwrap(); // it is read-only now
            }
            let options = bench.shape.options().distrust_memory(true);
            let ring = options.open(&location(&bench.path)).unwrap();
            let found = ring.recover().unwrap();
            assert!(found.kept_messages >= 10, "{outcome:?}, then {found}");
        }
    }
    println!("{outcomes:?}");
}

/// Goal: where the file system honours allocation, a disk that fails ends no process with a signal,
/// even if it fails before the process knows. Method: the kernel's writes all fail, those of the
/// file system itself too; then messages are sent and received.
fn before_a_store(kind: FileSystem, shape: Shape) {
    let mut bench = Bench::new(kind, shape);
    assert_eq!(bench.ask("send 30"), ("ok".to_owned(), 30));
    let request = Request::Write;
    bench.disk.inject(Fault {
        request,
        parts: Vec::new(),
        after: 0,
        times: u64::MAX,
        errno: libc::EIO,
    });
    let other = std::fs::File::open(&bench.path).unwrap();
    assert!(other.sync_all().is_err() && bench.disk.failed() > 0);
    let agent = bench.agent.as_mut().unwrap();
    let outcomes = ["receive 7", "send 30", "tail", "head"].map(|command| agent.try_ask(command));
    println!("{outcomes:?}");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let is_error = |outcome: &Result<(String, u64), _>| outcome.as_ref().unwrap().0 != "ok";
    assert!(outcomes[2..].iter().all(is_error), "{outcomes:?}");
}
