//! The bytes of format version 1, held against a ring that was made once and is kept.
//!
//! `golden/v1.ring` was written by the first version. It is read here in three ways: byte by byte
//! at the offsets that the format's description gives; against what this version writes for the
//! same calls; and by this version itself, which takes a kept file for a copy, as it should, until
//! the test gives it the identity of the file it lies in. A change of the format fails one of the
//! three, and is right only as a new version with a golden file of its own.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail by panicking"
)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringduct::{Location, OpenError, Options, PeerState};

const TAG: [u8; 16] = *b"golden ring v1.0";
const PAGE: usize = 4096;
const DATA: usize = 8 * PAGE;
const SENT: u64 = 60;
const KEPT: u64 = 6;

fn golden() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.ring");
    fs::read(path).unwrap()
}

/// Message number `number` of the golden ring: 0 to 198 bytes.
fn message(number: u64) -> Vec<u8> {
    let length = number * 37 % 199;
    (0..length)
        .map(|index| u8::try_from((number * 31 + index * 7) % 251).unwrap())
        .collect()
}

/// Bytes of that message's record.
fn record_bytes(number: u64) -> u64 {
    (number * 37 % 199).next_multiple_of(8) + 8
}

/// Makes the golden ring anew, by the calls that made the kept one.
fn make(path: &Path) {
    let options = Options::new()
        .capacity_bytes(4096)
        .max_message_bytes(1000)
        .application_tag(TAG)
        .checksum(true);
    let ring = options.create(&Location::from(path)).unwrap();
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for number in 0..SENT {
        tx.try_send(&message(number)).unwrap();
        if number >= KEPT {
            rx.try_recv(&mut [0; 200]).unwrap();
        }
    }
    tx.close();
    rx.close();
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

/// Position of message `number`.
fn position(number: u64) -> u64 {
    (0..number).map(record_bytes).sum()
}

/// Goal: every field of the kept ring is where the description says, with the value that follows
/// from how it was made. Method: plain reads at written-out offsets.
#[test]
fn the_golden_ring_reads_as_described() {
    let bytes = golden();
    assert_eq!(bytes.len(), DATA + 4096);
    assert_eq!(&bytes[..8], b"RINGDUCT");
    assert_eq!(bytes[8..16], [1, 0, 0, 0, 0, 0, 0, 0]); // major 1, minor 0
    let words = [
        (16, 0),                      // compatible features
        (24, 0),                      // read-only compatible features
        (32, 1),                      // incompatible features: checksums
        (40, 32768),                  // header bytes
        (48, 4096),                   // capacity
        (56, 0x0807_0605_0403_0201),  // byte order
        (64, 4096),                   // unit
        (72, 4096),                   // page size of the kernel
        (80, 8),                      // record alignment
        (88, 1000),                   // longest message
        (PAGE + 128, 0),              // producer: parked
        (PAGE + 512, 1),              // producer: session
        (PAGE + 520, 1),              // producer: closed session
        (PAGE + 528, position(SENT)), // producer: closed position
        (PAGE + 536, 0),              // producer: incarnation
        (PAGE + 544, 0),              // producer: generation
        (2 * PAGE + 512, 1),          // consumer: session
        (2 * PAGE + 520, 1),          // consumer: closed session
        (2 * PAGE + 528, position(SENT - KEPT)),
    ];
    for (offset, value) in words {
        assert_eq!(u64_at(&bytes, offset), value, "at {offset}");
    }
    assert_eq!(&bytes[112..128], &TAG);
    assert!(bytes[152..252].iter().all(|byte| *byte == 0), "reserved");
    let checksum = u32::from_le_bytes(bytes[252..256].try_into().unwrap());
    assert_eq!(checksum, crc32c::crc32c(&bytes[..252]));
    // The position, and position, messages, bytes of the account: the slot with the later position.
    for (page, messages) in [(PAGE, SENT), (2 * PAGE, SENT - KEPT)] {
        assert_eq!(u64_at(&bytes, page), position(messages));
        let slots =
            [page + 8, page + 32].map(|at| [at, at + 8, at + 16].map(|at| u64_at(&bytes, at)));
        let newer = slots.into_iter().max().unwrap();
        let payload = (0..messages).map(|number| number * 37 % 199).sum();
        assert_eq!(newer, [position(messages), messages, payload]);
    }
    // Checkpoint pages and the spare one are reserved.
    assert!(bytes[3 * PAGE..DATA].iter().all(|byte| *byte == 0));
}

/// Goal: the records of the kept ring are where the description says, checksums included.
#[test]
fn the_golden_records_read_as_described() {
    let bytes = golden();
    let data = &bytes[DATA..];
    let at = |position: u64| usize::try_from(position % 4096).unwrap();
    let seed = crc32c::crc32c(&bytes[96..112]); // the ring's id
    for number in SENT - KEPT..SENT {
        let start = position(number);
        let payload: Vec<u8> = (0..number * 37 % 199)
            .map(|index| data[at(start + 8 + index)])
            .collect();
        assert_eq!(payload, message(number));
        let commit = u64_at(data, at(start));
        assert_eq!(commit & 0xFFFF_FFFF, payload.len() as u64 + 1);
        let mut sum = crc32c::crc32c_append(seed, &start.to_le_bytes());
        sum = crc32c::crc32c_append(sum, &(payload.len() as u64).to_le_bytes());
        sum = crc32c::crc32c_append(sum, &payload);
        assert_eq!(commit >> 32, u64::from(sum), "message {number}");
    }
    assert_eq!(
        u64_at(data, at(position(SENT))),
        0,
        "the word after the last record"
    );
}

/// Bytes that differ from ring to ring: id, file, time, checksums; and who held the roles.
fn blank(bytes: &mut [u8]) {
    let mut clear = |from: usize, to: usize| bytes[from..to].fill(0);
    clear(96, 112); // id
    clear(128, 152); // device, inode, creation time
    clear(252, 256);
    for page in [PAGE, 2 * PAGE] {
        clear(page + 552, page + 560); // fence mode: what the kernel allows
        clear(page + 560, page + 624); // boot, pid, start, time, user, program
    }
    for number in 0..SENT {
        // A checksum over the id.
        let start = DATA + usize::try_from(position(number) % 4096).unwrap();
        clear(start + 4, start + 8);
    }
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (tail, head) = (word(PAGE), word(2 * PAGE));
    for free in tail + 8..head + 4096 {
        bytes[DATA + usize::try_from(free % 4096).unwrap()] = 0; // means nothing
    }
    for page in [PAGE, 2 * PAGE] {
        keep_later_account(&mut bytes[page + 8..page + 56]);
    }
}

/// Moves the slot of an account that counts to the front and forgets the other one: when an account
/// is brought up to date, and so in which slot it ends, is not part of the format.
fn keep_later_account(slots: &mut [u8]) {
    let position = |slot: &[u8]| u64::from_le_bytes(slot[..8].try_into().unwrap());
    let (first, second) = slots.split_at_mut(24);
    if position(second) > position(first) {
        first.copy_from_slice(second);
    }
    second.fill(0);
}

/// The same ring without what it says of the machine and the process that made it, as if it had
/// been made under another boot.
fn for_keeps(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[128..152].fill(0);
    for page in [PAGE, 2 * PAGE] {
        bytes[page + 576..page + 624].fill(0);
        bytes[page + 560..page + 576].fill(0xB0);
    }
    let checksum = crc32c::crc32c(&bytes[..252]);
    bytes[252..256].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Goal: this version writes what the first one wrote. Method: the same calls, and every byte
/// compared but those that must differ. With `RINGDUCT_WRITE_GOLDEN` naming a file the ring is also
/// kept there: for a new format version, never to make this test pass.
#[test]
fn this_version_writes_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("again.ring");
    make(&path);
    if let Some(target) = std::env::var_os("RINGDUCT_WRITE_GOLDEN") {
        fs::write(PathBuf::from(target), for_keeps(fs::read(&path).unwrap())).unwrap();
    }
    let (mut written, mut kept) = (fs::read(&path).unwrap(), golden());
    blank(&mut written);
    blank(&mut kept);
    let differs = written.iter().zip(&kept).position(|(a, b)| a != b);
    assert_eq!(differs, None, "the format has changed at this byte");
    assert_eq!(written.len(), kept.len());
}

/// A copy of the golden ring that passes for the original: with its own device and inode.
fn adopted(path: &Path) {
    let mut bytes = golden();
    fs::write(path, &bytes).unwrap();
    let stat = fs::metadata(path).unwrap();
    bytes[128..136].copy_from_slice(&stat.dev().to_le_bytes());
    bytes[136..144].copy_from_slice(&stat.ino().to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..252]);
    bytes[252..256].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// Goal: the kept file, untouched, is taken for what it is: a copy, cold.
#[test]
fn the_golden_ring_itself_is_a_copy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("copy.ring");
    fs::write(&path, golden()).unwrap();
    let error = Options::new().open(&Location::from(&*path)).unwrap_err();
    assert!(matches!(error, OpenError::Cold { .. }), "{error}");
}

/// Goal: this version reads what the first one wrote. Method: a copy that is given the identity of
/// its file: an observer sees every value and message. An end is refused, since the boot in which
/// the ring was made is over; with the boot id of this one, both ends go on where they were.
#[test]
fn this_version_reads_the_golden_ring() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("adopted.ring");
    adopted(&path);
    let location = Location::from(&*path);
    let observer = Options::new()
        .application_tag(TAG)
        .observe(&location)
        .unwrap();
    assert_eq!(observer.capacity_bytes(), 4096);
    assert_eq!(observer.max_message_bytes(), 1000);
    assert!(observer.checksum());
    let snapshot = observer.snapshot();
    assert_eq!(snapshot.producer.totals.position, position(SENT));
    assert_eq!(snapshot.producer.totals.messages, SENT);
    assert_eq!(snapshot.consumer.totals.messages, SENT - KEPT);
    assert_eq!(snapshot.backlog_messages, KEPT);
    assert_eq!(snapshot.producer.state, PeerState::Closed);
    assert_eq!(snapshot.consumer.state, PeerState::Closed);
    let waiting: Vec<_> = observer
        .peek_all()
        .unwrap()
        .into_iter()
        .map(|peeked| peeked.message)
        .collect();
    let expected: Vec<_> = (SENT - KEPT..SENT).map(message).collect();
    assert_eq!(waiting, expected);
    let ring = Options::new().open(&location).unwrap();
    let error = ring.consumer().unwrap_err();
    assert!(matches!(error, OpenError::Cold { .. }), "{error}");

    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let digits: String = boot.chars().filter(char::is_ascii_hexdigit).collect();
    let boot = u128::from_str_radix(&digits, 16).unwrap().to_le_bytes();
    let mut bytes = fs::read(&path).unwrap();
    for page in [PAGE, 2 * PAGE] {
        bytes[page + 560..page + 576].copy_from_slice(&boot);
    }
    fs::write(&path, bytes).unwrap();
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    assert_eq!(tx.totals().messages, SENT);
    tx.send(&message(SENT)).unwrap();
    tx.close();
    let rest: Vec<_> = rx.messages().map(Result::unwrap).collect();
    let expected: Vec<_> = (SENT - KEPT..=SENT).map(message).collect();
    assert_eq!(rest, expected);
}
