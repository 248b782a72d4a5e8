//! A disk that can not be read, under a ring that is mapped.
#![expect(unsafe_code, reason = "takes pages out of its own page table")]

use std::fs::File;
use std::io::BufRead;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use libtest_mimic::Trial;
use ringduct::{Consumer, Damage, Location, Options, Producer, TryRecvError, TrySendError};
use ringduct_kernelcut::{Disk, Fault, FileSystem, LoopFs, Request, extents};
use rustix::fs::Advice;

use crate::account::message;
use crate::child::{self, Reporter};
use crate::cuts::directory;
use crate::need;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for kind in [FileSystem::Ext4, FileSystem::Xfs] {
        for end in ["consumer", "producer"] {
            let name = format!("read::unreadable::{kind:?}::{end}");
            trials.push(Trial::test(name, move || {
                need::fuse(|| {
                    unreadable(kind, end);
                    Ok(())
                })
            }));
        }
    }
}

fn location(path: &Path) -> Location {
    Location::from(path.to_owned())
}

/// Bytes of the ring's data.
const CAPACITY: u64 = 16384;

/// Goal: a page that can not be read back is an error with the guard and SIGBUS without it, and
/// nothing is lost when the disk has recovered. Method: half a ring of messages; the pages are taken
/// from the process and from the caches; every read of the file fails while each side goes on.
fn unreadable(kind: FileSystem, end: &str) {
    let place = directory();
    let image = place.path().join("new.img");
    kind.make(&image).unwrap();
    let disk = Disk::serve(&image).unwrap();
    let fs = LoopFs::over(kind, &disk.file()).unwrap();
    let path = fs.root().join("test.ring");
    let options = Options::new().capacity_bytes(CAPACITY);
    let ring = options.create(&location(&path)).unwrap();
    let sent = fill_half(&mut ring.producer().unwrap());
    for guard in ["guarded", "plain"] {
        let role = format!("reader {} {end} {guard}", path.display());
        let mut reader = child::start_listening(&role);
        assert_eq!(reader.ask("forget"), ("ok".to_owned(), 0));
        take_from_caches(&fs, &path, &disk);
        disk.inject(Fault {
            request: Request::Read,
            parts: extents(&File::open(&path).unwrap()).unwrap(),
            after: 0,
            times: u64::MAX,
            errno: libc::EIO,
        });
        match reader.try_ask("go") {
            Ok((word, _)) => assert_eq!((guard, word.as_str()), ("guarded", "lost")),
            Err(status) => {
                assert_eq!((guard, status.signal()), ("plain", Some(libc::SIGBUS)));
            }
        }
        let failed = disk.heal();
        println!("{kind:?}, {end}, {guard}: {failed} reads failed");
        assert!(failed > 0);
    }
    let mut consumer = ring.consumer().unwrap();
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for number in 0..sent {
        consumer.try_recv_vec(&mut bytes).unwrap();
        message(number, 0, &mut expected);
        assert_eq!(bytes, expected, "message {number}");
    }
    drop((consumer, ring));
}

/// Sends until half of the ring is used, and says how many messages that took.
fn fill_half(producer: &mut Producer) -> u64 {
    let mut bytes = Vec::new();
    let mut sent = 0;
    while producer.totals().position < CAPACITY / 2 {
        message(sent, 0, &mut bytes);
        producer.try_send(&bytes).unwrap();
        sent += 1;
    }
    sent
}

/// Leaves no page of the ring in memory: neither of the file nor of the disk below it.
fn take_from_caches(fs: &LoopFs, path: &Path, disk: &Disk) {
    rustix::fs::syncfs(File::open(fs.root()).unwrap()).unwrap();
    for path in [path, &disk.file()] {
        let file = File::open(path).unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}

/// The process that meets the fault.
pub(crate) fn child(words: &[&str]) {
    let [path, end, guard] = words else {
        panic!("three words")
    };
    if *guard == "guarded" {
        ringduct::guard::install().unwrap();
    }
    let ring = Options::new().open(&location(Path::new(path))).unwrap();
    let mut producer = (*end == "producer").then(|| ring.producer().unwrap());
    let mut consumer = (*end == "consumer").then(|| ring.consumer().unwrap());
    let reporter = Reporter::new("-");
    for line in std::io::stdin().lock().lines() {
        let word = match (line.unwrap().as_str(), &mut producer, &mut consumer) {
            ("forget", _, _) => {
                forget(path);
                "ok"
            }
            ("go", Some(producer), _) => send(producer),
            ("go", _, Some(consumer)) => receive(consumer),
            (other, _, _) => panic!("no such command: {other}"),
        };
        reporter.say(word, &[0]);
    }
}

fn send(producer: &mut Producer) -> &'static str {
    loop {
        match producer.try_send(&[1; 100]) {
            Ok(()) => {}
            Err(TrySendError::Corrupt(found)) if found.what == Damage::PageLost => return "lost",
            Err(error) => panic!("{error}"),
        }
    }
}

fn receive(consumer: &mut Consumer) -> &'static str {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for number in 0.. {
        match consumer.try_recv_vec(&mut bytes) {
            Ok(()) => message(number, 0, &mut expected),
            Err(TryRecvError::Corrupt(found)) if found.what == Damage::PageLost => return "lost",
            Err(error) => panic!("{error}"),
        }
        assert_eq!(bytes, expected, "message {number}");
    }
    "read"
}

/// Takes every page of a mapped file out of this process, which faults them in again.
fn forget(path: &str) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    for line in maps.lines().filter(|line| line.ends_with(path)) {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        let address = std::ptr::without_provenance_mut(start);
        // SAFETY: a whole shared mapping of a file: no byte changes, and nothing is unmapped.
        let outcome = unsafe { libc::madvise(address, end - start, libc::MADV_DONTNEED) };
        assert_eq!(outcome, 0);
    }
}
