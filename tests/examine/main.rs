//! Looking at a ring that may be damaged: each kind of damage is named with its place, what would
//! be recovered is what is recovered, nothing is written, and a ring in use is left in peace.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]
#![expect(clippy::print_stderr, reason = "says what was skipped")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use ringduct::{Examination, Fault, Location, Observer, OpenError, Options, RecoveryState};
use tempfile::TempDir;

mod durable;
mod live;

const CAPACITY: u64 = 4096;
const PAGE: u64 = 4096;
const DATA: u64 = 8 * PAGE;
/// Where each message's record starts: 24 bytes of payload and its commit word.
const RECORD: u64 = 32;
/// Bytes of a ring of this capacity.
const TOTAL: u64 = DATA + CAPACITY;
const CHECKSUM: u64 = 252;
const RANDOM_SEED: u64 = 0x5eed_0000_2026_1127;

/// A folder with a ring that was used and that nobody holds: ten messages, two of them taken.
struct Used {
    _dir: TempDir,
    path: PathBuf,
}

impl Used {
    fn new(checksum: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("used.ring");
        let options = Options::new().capacity_bytes(CAPACITY).checksum(checksum);
        let ring = options.create(&Location::from(&*path)).unwrap();
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for number in 0..10_u8 {
            tx.send(&[number; 24]).unwrap();
        }
        for _ in 0..2 {
            rx.recv(&mut [0; 24]).unwrap();
        }
        Self { _dir: dir, path }
    }

    fn location(&self) -> Location {
        Location::from(&*self.path)
    }

    fn examine(&self) -> Examination {
        Options::new().examine(&self.location()).unwrap()
    }

    fn fault(&self) -> Fault {
        self.examine().fault.unwrap()
    }

    fn file(&self) -> File {
        File::options()
            .read(true)
            .write(true)
            .open(&self.path)
            .unwrap()
    }

    fn put(&self, offset: u64, value: u64) {
        self.file()
            .write_all_at(&value.to_le_bytes(), offset)
            .unwrap();
    }

    /// Makes the header's checksum right again.
    fn seal(&self) {
        let mut header = [0; 252];
        self.file().read_exact_at(&mut header, 0).unwrap();
        let sum = crc32c::crc32c(&header).to_le_bytes();
        self.file().write_all_at(&sum, CHECKSUM).unwrap();
    }
}

/// Goal: a sound ring is called sound, with what the next attach finds; and not a byte changes.
#[test]
fn a_sound_ring_is_sound() {
    for checksum in [false, true] {
        let used = Used::new(checksum);
        let before = fs::read(&used.path).unwrap();
        let found = used.examine();
        assert_eq!(found.fault, None);
        assert!(found.refusal.is_none() && !found.in_use);
        assert_eq!(found.state, Some(RecoveryState::SameBoot));
        assert_eq!((found.whole_messages, found.whole_bytes), (8, 192));
        assert_eq!(found.whole_until, 10 * RECORD);
        assert_eq!(found.header.checksummed(), checksum);
        assert_eq!(found.header.total_bytes, TOTAL);
        assert_eq!(&found.header.magic, b"RINGDUCT");
        assert_eq!(fs::read(&used.path).unwrap(), before, "written to");
        let told = found.recovery.unwrap();
        let ring = Options::new().open(&used.location()).unwrap();
        let seen = *ring.consumer().unwrap().recovery();
        assert_eq!(told, seen);
    }
}

/// Goal: damage of the identity page is named with field, offset, expected and found. Method: each
/// field that has a rule, changed alone, the checksum made right again or not.
#[test]
fn damaged_headers_are_named() {
    let table: [(u64, u64, &str); 6] = [
        (40, 7 * PAGE, "header_bytes"),
        (48, 4095, "capacity_bytes"),
        (56, 0x0102_0304_0506_0708, "byte order mark"),
        (64, 1024, "capacity_bytes"),
        (80, 16, "record_align"),
        (88, CAPACITY, "max_message_bytes"),
    ];
    for (offset, value, what) in table {
        let used = Used::new(false);
        used.put(offset, value);
        used.seal();
        let found = used.examine();
        let fault = found.fault.unwrap();
        assert_eq!(fault.what, what, "{fault}");
        if offset != 64 {
            assert_eq!(
                (fault.offset_bytes, fault.found),
                (offset, value),
                "{fault}"
            );
        }
        assert_eq!(found.header.fault, Some(fault));
        assert_eq!((found.state, found.recovery), (None, None));
        let header = Options::new().header(&used.location()).unwrap();
        assert_eq!(header, found.header);
        assert_eq!(header.uuid, found.header.uuid);
    }
    let used = Used::new(false);
    used.put(96, 0); // half of the id
    let fault = used.fault();
    assert_eq!(
        (fault.what, fault.offset_bytes),
        ("header checksum", CHECKSUM)
    );
    assert_ne!(fault.expected, fault.found);
}

/// Goal: a file of another length is named with both lengths.
#[test]
fn other_lengths_are_named() {
    for length in [PAGE, TOTAL - 1, TOTAL + 1, 2 * TOTAL] {
        let used = Used::new(false);
        used.file().set_len(length).unwrap();
        let fault = used.fault();
        assert_eq!(fault.what, "size in bytes");
        assert_eq!((fault.expected, fault.found), (TOTAL, length));
        assert_eq!(fault.offset_bytes, length.min(TOTAL));
    }
}

/// Goal: words of the roles' pages that can not be are named with their place. Method: each lie
/// alone; the positions of head and tail are 64 and 320.
#[test]
fn lying_words_are_named() {
    let (tx, rx) = (PAGE, 2 * PAGE);
    let table: [(u64, u64, &str, u64); 9] = [
        (tx, 321, "producer's tail", tx),
        (tx, 64 + 2 * CAPACITY, "consumer's head", rx),
        (rx, 65, "consumer's head", rx),
        (rx, 320 + 2 * CAPACITY, "consumer's head", rx),
        (tx, 328, "producer's tail", tx),
        (tx + 520, 9, "closed session", tx + 520),
        (rx + 520, 9, "closed session", rx + 520),
        (rx + 552, 3, "fence mode", rx + 552),
        (tx + 544, 1, "recovery generation", rx + 544),
    ];
    for (offset, value, what, at) in table {
        let used = Used::new(false);
        used.put(offset, value);
        let fault = used.fault();
        assert_eq!((fault.what, fault.offset_bytes), (what, at), "{fault}");
        assert_eq!(fault.position, None, "{fault}");
        assert!(used.examine().recovery.is_none());
    }
}

/// Goal: damage in the records is named with its place, the oldest first, and what is whole before
/// it is counted. Method: each kind in record 5, another in record 8.
#[test]
fn damaged_records_are_named() {
    let word = DATA + 5 * RECORD;
    let table: [(bool, u64, &str); 5] = [
        (false, 5000, "record length"),
        (false, 1 << 32, "record length"),
        (false, (7 << 32) + 25, "reserved bits of a commit word"),
        (false, 4081, "end of a record"),
        (true, 25, "record checksum"),
    ];
    for (checksum, value, what) in table {
        let used = Used::new(checksum);
        used.put(word, value);
        used.put(DATA + 8 * RECORD, 1 << 32);
        // A successor begins where the producer counted last: behind the first, before the second.
        used.put(PAGE + 8, 7 * RECORD);
        used.put(PAGE + 32, 7 * RECORD);
        let found = used.examine();
        let fault = found.fault.unwrap();
        let place = (fault.what, fault.offset_bytes, fault.position);
        assert_eq!(place, (what, word, Some(5 * RECORD)), "{fault}");
        assert_eq!((found.whole_messages, found.whole_until), (3, 5 * RECORD));
        let text = fault.to_string();
        assert!(text.contains("byte 32928 (position 160)"), "{text}");
    }
    let used = Used::new(true);
    used.file().write_all_at(b"X", word + 8).unwrap();
    assert_eq!(used.fault().what, "record checksum");
    let used = Used::new(false);
    used.put(word, 0); // a hole
    assert_eq!(used.fault().what, "producer's tail");
}

/// Goal: what is no ring is no damaged ring; another version is refused as such.
#[test]
fn what_is_no_ring_is_refused() {
    let used = Used::new(false);
    used.put(8, 2);
    used.seal();
    let error = Options::new().examine(&used.location()).unwrap_err();
    assert!(matches!(error, OpenError::Unsupported { .. }), "{error}");
    let header = Options::new().header(&used.location()).unwrap();
    assert_eq!(
        (header.major, header.fault.unwrap().what),
        (2, "format version")
    );
    used.put(0, u64::from_le_bytes(*b"RINGDUCK"));
    for error in [
        Options::new().examine(&used.location()).unwrap_err(),
        Options::new().header(&used.location()).unwrap_err(),
        Options::new().remove(&used.location()).unwrap_err(),
    ] {
        assert!(matches!(error, OpenError::NotARing { .. }), "{error}");
    }
    assert!(used.path.exists());
    let folder = Location::from(used.path.parent().unwrap());
    assert!(Options::new().header(&folder).is_err());
}

/// Goal: a copy may be looked at, examined and salvaged, and not attached to.
#[test]
fn copies_are_looked_at() {
    let used = Used::new(true);
    let copy = used.path.with_file_name("copy.ring");
    fs::copy(&used.path, &copy).unwrap();
    let location = Location::from(&*copy);
    let found = Options::new().examine(&location).unwrap();
    assert_eq!(
        (found.fault, found.state),
        (None, Some(RecoveryState::Cold))
    );
    assert!(matches!(found.refusal, Some(OpenError::Cold { .. })));
    assert_eq!((found.whole_messages, found.recovery), (8, None));
    let observer = Options::new().observe(&location).unwrap();
    assert_eq!(observer.records().count(), 8);
    let new = Location::from(used.path.with_file_name("new.ring"));
    assert_eq!(Options::new().salvage(&location, &new).unwrap().messages, 8);
    assert!(matches!(
        Options::new().open(&location),
        Err(OpenError::Cold { .. })
    ));
}

/// Goal: records come one by one, from where they were asked for, and damage is the last of them.
#[test]
fn records_are_walked() {
    let used = Used::new(false);
    let observer = || Options::new().observe(&used.location()).unwrap();
    let numbers = |observer: &Observer, from: Option<u64>| -> Vec<u8> {
        let records = match from {
            Some(from) => observer.records_from(from),
            None => observer.records(),
        };
        records.map(|record| record.unwrap().message[0]).collect()
    };
    let all: Vec<u8> = (2..10).collect();
    assert_eq!(numbers(&observer(), None), all);
    assert_eq!(
        numbers(&observer(), Some(0)),
        all,
        "the consumer is farther"
    );
    assert_eq!(numbers(&observer(), Some(7 * RECORD)), [7, 8, 9]);
    assert_eq!(numbers(&observer(), Some(10 * RECORD)), [0_u8; 0]);
    assert_eq!(numbers(&observer(), Some(100 * RECORD)), [0_u8; 0]);
    used.put(DATA + 5 * RECORD, 5000);
    let observer = observer();
    let mut records = observer.records();
    assert_eq!(records.by_ref().take(3).flatten().count(), 3);
    let damage = records.next().unwrap().unwrap_err();
    assert_eq!(damage.position, 5 * RECORD);
    assert!(records.next().is_none() && records.next().is_none());
}

/// Goal: records without end are walked once round the ring at most.
#[test]
fn records_without_end_end() {
    let used = Used::new(false);
    for offset in (0..CAPACITY).step_by(8) {
        used.put(DATA + offset, 1);
    }
    let observer = Options::new().observe(&used.location()).unwrap();
    let count = observer.records().count();
    assert_eq!(count, usize::try_from(CAPACITY / 8).unwrap());
    assert_eq!(used.fault().what, "end of a record");
}

/// Goal: whatever a file holds, looking at it ends, without a panic and with no more records than fit.
/// Method: rings with up to eight words of lies each, where the header, the roles' words and the
/// records are, the header's checksum made right again.
#[test]
fn hostile_files_are_harmless() {
    let mut random = RANDOM_SEED;
    println!("seed {RANDOM_SEED:#x}");
    let mut next = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let (mut refused, mut faulty, mut sound, mut walked) = (0, 0, 0, 0);
    for round in 0..400 {
        let used = Used::new(round % 2 == 0);
        for _ in 0..=next(8) {
            let page = [0, PAGE, 2 * PAGE, DATA, DATA, DATA][as_index(next(6))];
            let word = next(if page == DATA { 40 } else { 80 }) * 8;
            let value = match next(6) {
                0 => next(u64::MAX),
                1 => next(CAPACITY * 3) & !7,
                2 => next(CAPACITY),
                3 => u64::MAX - next(64),
                4 => 1 << next(64),
                _ => 0,
            };
            if page + word >= 8 {
                used.put(page + word, value); // the magic stays
            }
        }
        used.seal();
        match Options::new().examine(&used.location()) {
            Ok(found) if found.fault.is_some() => faulty += 1,
            Ok(_) => sound += 1,
            Err(_) => refused += 1,
        }
        let _header = Options::new().header(&used.location()).unwrap();
        if let Ok(observer) = Options::new().observe(&used.location()) {
            for from in [0, next(u64::MAX), 5 * RECORD] {
                let count = observer
                    .records()
                    .chain(observer.records_from(from))
                    .count();
                assert!(count <= as_index(CAPACITY / 4), "{count} records");
                walked += count;
            }
            let _snapshot = observer.snapshot();
        }
    }
    println!("{refused} refused, {faulty} faulty, {sound} sound, {walked} records walked");
    assert!(refused > 0 && faulty > 100 && sound > 50 && walked > 5000);
}

fn as_index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
