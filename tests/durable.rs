//! Durable rings through the public interface, in files on a disk.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![expect(clippy::panic, reason = "as above")]
#![expect(clippy::print_stderr, reason = "says what was skipped")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringduct::{
    CheckpointError, CheckpointForm, CheckpointPolicy, Location, OpenError, Options, RecoveryState,
    Ring, SendError, TrySendError,
};

/// A folder on a disk, with one ring in it.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// `None`, said aloud, where the machine has no disk at hand; under `CI` that is a failure.
    fn new(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let disk = Self { dir };
        let probe = Location::from(disk.dir.path().join("probe.ring"));
        match Options::new()
            .durable(true)
            .capacity_bytes(4096)
            .create(&probe)
        {
            Ok(_) => Some(disk),
            Err(error @ OpenError::NotDurable { .. }) => {
                assert!(std::env::var_os("CI").is_none(), "{error}");
                eprintln!("SKIPPED {test}: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("x.ring")
    }

    fn ring(&self, checksum: bool) -> Ring {
        let options = Options::new().durable(true).capacity_bytes(4096);
        let place = Location::from(self.path());
        options.checksum(checksum).create(&place).unwrap()
    }
}

fn open(path: &Path) -> Ring {
    Options::new()
        .open(&Location::from(path.to_owned()))
        .unwrap()
}

fn open_cold(path: &Path) -> Ring {
    let options = Options::new().distrust_memory(true);
    options.open(&Location::from(path.to_owned())).unwrap()
}

/// Goal: what a checkpoint covered is there after a cold recovery, in order; without checksums what
/// came later is gone, with them it is kept as long as it is whole.
#[test]
fn a_checkpoint_outlives_a_cold_recovery() {
    let Some(disk) = Disk::new("a_checkpoint_outlives_a_cold_recovery") else {
        return;
    };
    for (checksum, kept) in [(false, 20), (true, 25)] {
        let ring = disk.ring(checksum);
        let mut tx = ring.producer().unwrap();
        for number in 0..20_u64 {
            tx.send(&number.to_le_bytes()).unwrap();
        }
        let durable = tx.checkpoint().unwrap();
        assert_eq!((durable.messages, durable.incarnation), (20, 0));
        assert_eq!(tx.durable(), Ok(durable));
        for number in 20..25_u64 {
            tx.send(&number.to_le_bytes()).unwrap();
        }
        drop((tx, ring));
        let mut rx = open_cold(&disk.path()).consumer().unwrap();
        let recovery = *rx.recovery();
        assert_eq!(recovery.state, RecoveryState::Cold);
        assert_eq!(recovery.kept_messages, kept, "{recovery}");
        assert_eq!(recovery.dropped_messages, 25 - kept, "{recovery}");
        assert_eq!(recovery.incarnation, 1);
        for number in 0..kept {
            let mut buffer = [0; 8];
            assert_eq!(rx.try_recv(&mut buffer), Ok(8));
            assert_eq!(u64::from_le_bytes(buffer), number);
        }
        assert!(rx.try_recv(&mut [0; 8]).is_err(), "nothing invented");
        drop(rx);
        std::fs::remove_file(disk.path()).unwrap();
    }
}

/// Goal: in one boot nothing is lost, whether ends close or vanish, and no recovery is made.
#[test]
fn the_same_boot_loses_nothing() {
    let Some(disk) = Disk::new("the_same_boot_loses_nothing") else {
        return;
    };
    let ring = disk.ring(false);
    let mut tx = ring.producer().unwrap();
    assert_eq!(tx.recovery().state, RecoveryState::New);
    tx.send(b"never synced").unwrap();
    drop((tx, ring));
    let mut rx = open(&disk.path()).consumer().unwrap();
    assert_eq!(rx.recovery().state, RecoveryState::SameBoot);
    assert_eq!(rx.recovery().kept_messages, 1);
    assert_eq!(rx.try_recv(&mut [0; 16]), Ok(12));
}

/// Goal: space is used again only once a checkpoint covers its release, and the producer says which
/// of the two it waits for.
#[test]
fn space_waits_for_the_consumers_checkpoint() {
    let Some(disk) = Disk::new("space_waits_for_the_consumers_checkpoint") else {
        return;
    };
    let ring = disk.ring(false);
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    while tx.try_send(&[7; 100]).is_ok() {}
    assert_eq!(tx.try_send(&[7; 100]), Err(TrySendError::Full));
    for _ in 0..10 {
        rx.try_recv(&mut [0; 100]).unwrap();
    }
    assert_eq!(
        tx.try_send(&[7; 100]),
        Err(TrySendError::WaitingForCheckpoint)
    );
    let soon = Duration::from_millis(1);
    assert_eq!(
        tx.send_timeout(&[7; 100], soon),
        Err(SendError::WaitingForCheckpoint)
    );
    assert_eq!(rx.checkpoint().unwrap().messages, 10);
    for _ in 0..9 {
        assert_eq!(tx.try_send(&[7; 100]), Ok(()));
    }
}

/// Goal: neither side waits for ever for the other: a consumer that runs dry beside a producer
/// without durable space makes a checkpoint by itself. Method: more laps than fit, no checkpoint
/// asked for by anybody.
#[test]
fn nobody_waits_for_ever() {
    let Some(disk) = Disk::new("nobody_waits_for_ever") else {
        return;
    };
    let ring = disk.ring(true);
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let sender = std::thread::spawn(move || {
        for number in 0..500_u64 {
            tx.send(&number.to_le_bytes().repeat(10)).unwrap();
        }
    });
    for number in 0..500_u64 {
        let mut buffer = [0; 80];
        assert_eq!(rx.recv(&mut buffer), Ok(80));
        assert_eq!(buffer[72..], number.to_le_bytes());
    }
    sender.join().unwrap();
    assert!(rx.durable().unwrap().messages > 400, "it had to");
}

/// Goal: checkpoints come by themselves, inside calls and in a thread, exactly as often as asked.
#[test]
fn policies_make_checkpoints() {
    let Some(disk) = Disk::new("policies_make_checkpoints") else {
        return;
    };
    let ring = disk.ring(true);
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let policy = CheckpointPolicy::new().every_messages(3);
    tx.set_checkpoints(policy).unwrap();
    rx.set_checkpoints(policy).unwrap();
    for number in 1..=10_u64 {
        tx.send(b"x").unwrap();
        assert_eq!(tx.durable().unwrap().messages, number / 3 * 3);
    }
    for number in 1..=10_u64 {
        rx.try_recv(&mut [0; 8]).unwrap();
        assert_eq!(rx.durable().unwrap().messages, number / 3 * 3);
    }
    tx.set_checkpoints(policy.in_background(true)).unwrap();
    tx.send(b"x").unwrap();
    tx.send(b"x").unwrap();
    tx.send(b"x").unwrap();
    while tx.durable().unwrap().messages < 13 {
        std::thread::yield_now();
    }
    tx.send(b"x").unwrap();
    assert_eq!(
        tx.checkpoint().unwrap().messages,
        14,
        "asked for, in the thread"
    );
    tx.set_checkpoints(CheckpointPolicy::new()).unwrap();
    tx.send(b"x").unwrap();
    assert_eq!(tx.durable().unwrap().messages, 14, "and no more");
}

/// Goal: where nothing outlives a power cut, nothing says that it does.
#[test]
fn what_is_not_durable_says_so() {
    let (mut tx, mut rx) = ringduct::pair(4096).unwrap();
    let not = |outcome: Result<_, CheckpointError>| {
        matches!(outcome, Err(CheckpointError::NotDurable { .. }))
    };
    assert!(not(tx.checkpoint()) && not(rx.checkpoint()));
    assert!(not(tx.durable()) && not(rx.durable()));
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let place = Location::from(dir.path().join("x.ring"));
    let error = Options::new().durable(true).create(&place).unwrap_err();
    assert!(error.to_string().contains("tmpfs"), "{error}");
    assert!(!dir.path().join("x.ring").exists());
    let Some(disk) = Disk::new("what_is_not_durable_says_so") else {
        return;
    };
    let mut tx = disk.ring(false).producer().unwrap();
    assert_eq!(
        tx.checkpoint_as(CheckpointForm::OneSync),
        Err(CheckpointError::NeedsChecksums)
    );
}

/// Goal: what a poisoned, a cold and an ordinary ring hold can be copied, with positions and keys
/// that go on. Method: three rings in turn, none of which is written to.
#[test]
fn what_a_ring_holds_can_be_salvaged() {
    let Some(disk) = Disk::new("what_a_ring_holds_can_be_salvaged") else {
        return;
    };
    for checksum in [false, true] {
        let ring = disk.ring(checksum);
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for number in 0..20_u64 {
            tx.send(&number.to_le_bytes()).unwrap();
        }
        rx.skip(5).unwrap();
        let key = rx.next_key();
        let copy = disk.dir.path().join("copy.ring");
        let salvaged = ring.salvage(&Location::from(copy.clone())).unwrap();
        assert_eq!((salvaged.messages, salvaged.damage), (15, None));
        assert_eq!((salvaged.head, salvaged.tail), (80, 320));
        assert_eq!(rx.skip(20), Ok(15), "the old one is as it was");
        for path in [&copy, &copy] {
            let opened = open(path);
            assert_ne!(opened.uuid(), ring.uuid());
            let mut rx = opened.consumer().unwrap();
            assert_eq!(rx.next_key(), key);
            assert_eq!(rx.totals().messages, 5);
            let mut buffer = [0; 8];
            assert_eq!(rx.peek(&mut buffer), Ok(8));
            assert_eq!(u64::from_le_bytes(buffer), 5);
        }
        // As after a power cut: the copy was whole on its medium before it had its name.
        let mut rx = open_cold(&copy).consumer().unwrap();
        assert_eq!(rx.recovery().kept_messages, 15);
        assert_eq!(rx.next_key(), key, "kept messages keep their keys");
        assert_eq!(rx.skip(100), Ok(15));
        drop((tx, ring));
        std::fs::remove_file(disk.path()).unwrap();
        std::fs::remove_file(copy).unwrap();
    }
}

/// Goal: a consumer that wants only what is durable sleeps until a checkpoint covers the next
/// message, however much is published, and is woken by that checkpoint, made here or in a thread.
#[test]
fn only_what_is_durable_is_delivered() {
    let Some(disk) = Disk::new("only_what_is_durable_is_delivered") else {
        return;
    };
    for background in [false, true] {
        let ring = disk.ring(true);
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        rx.set_durable_only(true).unwrap();
        let observer = ring.observer().unwrap();
        if background {
            let policy = CheckpointPolicy::new().every(Duration::from_secs(3600));
            tx.set_checkpoints(policy.in_background(true)).unwrap();
        }
        // The receiver may be asleep before the loop below has sent anything.
        tx.send(b"x").unwrap();
        let receiver = std::thread::spawn(move || {
            let first = rx.recv(&mut [0; 8]).unwrap();
            let rest = rx.skip(usize::MAX).unwrap();
            (first, rest, rx)
        });
        while observer.snapshot().consumer.sleeps == 0 {
            tx.try_send(b"x").unwrap_or(());
            std::thread::yield_now();
        }
        assert_eq!(observer.snapshot().consumer.totals.messages, 0);
        let durable = tx.checkpoint().unwrap();
        tx.try_send(b"later").unwrap_or(());
        let (first, rest, rx) = receiver.join().unwrap();
        assert_eq!((first, rest as u64), (1, durable.messages - 1));
        drop((tx, rx, ring));
        std::fs::remove_file(disk.path()).unwrap();
    }
}

/// Goal: a medium that lost what it had acknowledged is found out, told with both positions, and
/// nothing is written; what is left can be salvaged. Method: one byte of an acknowledged record
/// changed in the file.
#[test]
fn acknowledged_data_that_is_gone_is_an_error() {
    let Some(disk) = Disk::new("acknowledged_data_that_is_gone_is_an_error") else {
        return;
    };
    for (checksum, offset) in [(true, 8), (false, 1)] {
        let ring = disk.ring(checksum);
        let mut tx = ring.producer().unwrap();
        for _ in 0..20 {
            tx.send(b"12345678").unwrap();
        }
        tx.checkpoint().unwrap();
        if checksum {
            // The slot of a checkpoint in one sync speaks of the one before.
            tx.send(b"12345678").unwrap();
            tx.checkpoint().unwrap();
        }
        drop((tx, ring));
        let mut bytes = std::fs::read(disk.path()).unwrap();
        let record = 8 * 4096 + 10 * 16;
        bytes[record + offset] ^= 0x40;
        std::fs::write(disk.path(), &bytes).unwrap();
        let ring = open_cold(&disk.path());
        let error = ring.consumer().unwrap_err();
        let OpenError::DataLoss {
            acknowledged,
            found,
            ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((acknowledged, found), (320, 160));
        assert_eq!(std::fs::read(disk.path()).unwrap(), bytes, "left untouched");
        let copy = Location::from(disk.dir.path().join("copy.ring"));
        let salvaged = Options::new()
            .distrust_memory(true)
            .salvage(&Location::from(disk.path()), &copy)
            .unwrap();
        assert_eq!((salvaged.messages, salvaged.tail), (10, 160));
        Options::new().open(&copy).unwrap().remove().unwrap();
        std::fs::remove_file(disk.path()).unwrap();
    }
}

/// Goal: whichever side polls and whichever sleeps, and also where only what is durable is taken,
/// more than fits goes through without a checkpoint that anybody asked for; a consumer that polls
/// has a policy.
#[test]
fn nobody_waits_for_ever_whoever_polls() {
    let Some(disk) = Disk::new("nobody_waits_for_ever_whoever_polls") else {
        return;
    };
    for (sender_polls, receiver_polls, durable_only) in [
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (false, false, true),
    ] {
        let ring = disk.ring(true);
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        rx.set_durable_only(durable_only).unwrap();
        if receiver_polls {
            let policy = CheckpointPolicy::new().every_messages(10);
            rx.set_checkpoints(policy).unwrap();
        }
        let sender = std::thread::spawn(move || {
            for number in 0..400_u64 {
                let message = number.to_le_bytes().repeat(10);
                while sender_polls && tx.try_send(&message).is_err() {
                    std::thread::yield_now();
                }
                if !sender_polls {
                    tx.send(&message).unwrap();
                }
            }
            tx.checkpoint().unwrap();
            tx
        });
        for number in 0..400_u64 {
            let mut buffer = [0; 80];
            while receiver_polls && rx.try_recv(&mut buffer).is_err() {
                std::thread::yield_now();
            }
            if !receiver_polls {
                assert_eq!(rx.recv(&mut buffer), Ok(80));
            }
            assert_eq!(buffer[72..], number.to_le_bytes());
        }
        drop((sender.join().unwrap(), rx, ring));
        std::fs::remove_file(disk.path()).unwrap();
    }
}

/// Goal: a lie about how far a dead producer wrote ends in an attach, with everything published
/// still there. Method: the word's file offset, and what can not be right.
#[test]
fn a_lie_about_the_reach_erases_nothing() {
    let Some(disk) = Disk::new("a_lie_about_the_reach_erases_nothing") else {
        return;
    };
    for lie in [161_u64, 160 + 4095, 7, u64::MAX, 1 << 63, 4096 + 8] {
        let ring = disk.ring(true);
        let mut tx = ring.producer().unwrap();
        for _ in 0..10 {
            tx.send(b"12345678").unwrap();
        }
        drop((tx, ring));
        let mut bytes = std::fs::read(disk.path()).unwrap();
        bytes[4096 + 664..4096 + 672].copy_from_slice(&lie.to_le_bytes());
        std::fs::write(disk.path(), &bytes).unwrap();
        let ring = open(&disk.path());
        let mut tx = ring.producer().unwrap();
        tx.send(b"more").unwrap();
        assert_eq!(ring.consumer().unwrap().skip(100), Ok(11), "{lie}");
        drop((tx, ring));
        std::fs::remove_file(disk.path()).unwrap();
    }
}
