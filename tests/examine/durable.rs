//! Durable rings: what only checkpoints tell.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use ringduct::{CheckpointForm, Location, OpenError, Options, RecoveryState, Ring};

use crate::{CAPACITY, DATA, PAGE, RECORD};

/// A durable ring on a disk; `None`, said aloud, without one, which under `CI` is a failure.
fn durable(dir: &Path, checksum: bool) -> Option<Ring> {
    let options = Options::new().durable(true).capacity_bytes(CAPACITY);
    let made = options
        .checksum(checksum)
        .create(&Location::from(dir.join("x.ring")));
    match made {
        Ok(ring) => Some(ring),
        Err(error @ OpenError::NotDurable { .. }) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Goal: what an examination says a recovery would keep is what it keeps, and saying it writes
/// nothing. Method: rings of both kinds, taken for cut off, with messages that no checkpoint covers.
#[test]
fn a_recovery_is_foretold() {
    for (checksum, form) in [
        (false, CheckpointForm::Full),
        (true, CheckpointForm::Full),
        (true, CheckpointForm::OneSync),
    ] {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let Some(ring) = durable(dir.path(), checksum) else {
            return;
        };
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for number in 0..20_u8 {
            tx.send(&[number; 24]).unwrap();
            if number == 14 {
                tx.checkpoint_as(form).unwrap();
            }
        }
        for _ in 0..5 {
            rx.recv(&mut [0; 24]).unwrap();
        }
        rx.checkpoint().unwrap();
        rx.recv(&mut [0; 24]).unwrap();
        drop((tx, rx, ring));
        let path = dir.path().join("x.ring");
        let location = Location::from(&*path);
        let before = fs::read(&path).unwrap();
        let same_boot = Options::new().examine(&location).unwrap();
        assert_eq!((same_boot.fault, same_boot.whole_messages), (None, 14));
        let options = Options::new().distrust_memory(true);
        let told = options.examine(&location).unwrap();
        assert_eq!((told.fault, told.state), (None, Some(RecoveryState::Cold)));
        assert_eq!(fs::read(&path).unwrap(), before, "written to");
        let done = options.open(&location).unwrap().recover().unwrap();
        assert_eq!(told.recovery, Some(done));
        assert_eq!(done.kept_messages, if checksum { 15 } else { 10 });
        let after = options.examine(&location).unwrap();
        assert_eq!(after.whole_messages, done.kept_messages);
    }
}

/// Goal: a torn slot is counted and no fault; two are a fault; data that was acknowledged and is not
/// there is a loss, named with its place; and recovery refuses what examination calls damage.
#[test]
fn damaged_checkpoints_are_named() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let Some(ring) = durable(dir.path(), true) else {
        return;
    };
    let mut tx = ring.producer().unwrap();
    for number in 0..8_u8 {
        tx.send(&[number; 24]).unwrap();
        tx.checkpoint().unwrap();
    }
    drop((tx, ring));
    let path = dir.path().join("x.ring");
    let location = Location::from(&*path);
    let cold = Options::new().distrust_memory(true);
    let file = File::options().write(true).open(&path).unwrap();
    let sound = fs::read(&path).unwrap();

    file.write_all_at(&[1], 3 * PAGE + 8).unwrap();
    let one = cold.examine(&location).unwrap();
    assert_eq!((one.torn_slots, one.fault), (1, None));
    file.write_all_at(&[1], 4 * PAGE + 8).unwrap();
    let both = cold.examine(&location).unwrap();
    let fault = both.fault.unwrap();
    assert_eq!(
        (both.torn_slots, fault.offset_bytes),
        (2, 3 * PAGE),
        "{fault}"
    );
    assert!(
        fault.what.starts_with("producer's checkpoint slots"),
        "{fault}"
    );
    assert!(cold.open(&location).unwrap().recover().is_err());

    file.write_all_at(&sound, 0).unwrap();
    file.write_all_at(b"X", DATA + 5 * RECORD + 8).unwrap();
    let loss = cold.examine(&location).unwrap();
    let fault = loss.fault.unwrap();
    assert_eq!(fault.position, Some(5 * RECORD), "{fault}");
    // The last checkpoint, in one sync, says what the one before acknowledged.
    assert_eq!((fault.expected, fault.found), (7 * RECORD, 5 * RECORD));
    assert_eq!((loss.whole_messages, loss.recovery), (5, None));
    assert!(matches!(loss.refusal, Some(OpenError::DataLoss { .. })));
}

/// Goal: of a durable ring whose words are not believed, a walk gives what a recovery would keep.
/// Method: a copy, whose words were written in another file.
#[test]
fn records_of_a_cold_ring_are_those_that_are_proved() {
    for checksum in [false, true] {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let Some(ring) = durable(dir.path(), checksum) else {
            return;
        };
        let mut tx = ring.producer().unwrap();
        for number in 0..6_u8 {
            tx.send(&[number; 24]).unwrap();
            if number == 3 {
                tx.checkpoint_as(CheckpointForm::Full).unwrap();
            }
        }
        drop((tx, ring));
        let copy = dir.path().join("copy.ring");
        fs::copy(dir.path().join("x.ring"), &copy).unwrap();
        let location = Location::from(&*copy);
        let kept = Options::new().examine(&location).unwrap();
        assert_eq!(kept.state, Some(RecoveryState::Cold));
        let observer = Options::new().observe(&location).unwrap();
        let count = observer.records().count();
        assert_eq!(count, if checksum { 6 } else { 4 });
        assert_eq!(kept.whole_messages, u64::try_from(count).unwrap());
    }
}
