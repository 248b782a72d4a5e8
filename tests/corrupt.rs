//! Lies in a live ring: whatever stands in shared words, an end answers with a typed error and does
//! no further work.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;

use ringduct::{
    ByteReader, Consumer, Damage, Location, OpenError, Options, Producer, RecvError, Ring,
    SendError, TryRecvError, TrySendError,
};
use tempfile::TempDir;

const CAPACITY: u64 = 4096;
const PAGE: u64 = 4096;
/// Where the data begins.
const DATA: u64 = 8 * PAGE;
/// Producer's and consumer's pages, which begin with their positions.
const TX: u64 = PAGE;
const RX: u64 = 2 * PAGE;
/// In a page: the position in each of the two slots of an account.
const ACCOUNT: [u64; 2] = [8, 32];

/// A ring with both ends, and the file under it.
struct Live {
    _directory: TempDir,
    ring: Ring,
    tx: Producer,
    rx: Consumer,
    file: File,
}

impl Live {
    fn new(checksum: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("live.ring");
        let options = Options::new().capacity_bytes(CAPACITY).checksum(checksum);
        let ring = options.create(&Location::from(&*path)).unwrap();
        Self {
            tx: ring.producer().unwrap(),
            rx: ring.consumer().unwrap(),
            ring,
            file: File::options().read(true).write(true).open(path).unwrap(),
            _directory: directory,
        }
    }

    /// Writes a word behind the library's back.
    fn lie(&self, offset: u64, value: u64) {
        self.file
            .write_all_at(&value.to_le_bytes(), offset)
            .unwrap();
    }
}

/// Goal: a commit word that no producer of this ring writes is damage of its kind; the consumer
/// says the same ever after, in every call, and gives no message. Method: lies of each kind.
#[test]
fn commit_words() {
    let lies = [
        (4082, Damage::RecordLength),
        (u64::from(u32::MAX), Damage::RecordLength),
        (1 << 32, Damage::RecordLength),
        (1 << 32 | 9, Damage::RecordReserved),
        (u64::MAX, Damage::RecordLength),
    ];
    for (word, kind) in lies {
        let mut live = Live::new(false);
        live.tx.send(b"honest").unwrap();
        live.lie(DATA, word);
        let mut buffer = [0xAA; 64];
        let first = live.rx.try_recv(&mut buffer).unwrap_err();
        let TryRecvError::Corrupt(what) = first else {
            panic!("{word:#x}: {first:?}")
        };
        assert_eq!((what.what, what.position), (kind, 0), "{word:#x}");
        assert_eq!(buffer, [0xAA; 64]);
        // Put right again: too late.
        live.lie(DATA, 7);
        assert_eq!(live.rx.try_recv(&mut buffer), Err(first));
        assert_eq!(live.rx.recv(&mut buffer), Err(RecvError::Corrupt(what)));
        assert_eq!(live.rx.drain(9, |_| ()), Err(first));
        assert_eq!(live.rx.skip(1), Err(first));
        assert_eq!(live.rx.peek_len(), Err(first));
    }
}

/// Goal: in a checksummed ring a changed payload, length or commit word is never delivered.
/// Method: change one byte of the record at a time.
#[test]
fn checksums() {
    for offset in 0..32 {
        let mut live = Live::new(true);
        live.tx.send(&[5; 24]).unwrap();
        let mut byte = [0];
        live.file.read_exact_at(&mut byte, DATA + offset).unwrap();
        byte[0] ^= 0x10;
        live.file.write_all_at(&byte, DATA + offset).unwrap();
        let error = live.rx.try_recv(&mut [0; 8192]).unwrap_err();
        assert!(
            matches!(error, TryRecvError::Corrupt(_)),
            "{offset}: {error:?}"
        );
        assert_eq!(live.rx.try_recv(&mut [0; 64]), Err(error));
    }
}

/// Goal: records that together reach round the ring are damage, in the batch calls too, and the
/// call ends. Method: commit words that follow one another without end.
#[test]
fn records_without_end() {
    let mut live = Live::new(false);
    for offset in (0..CAPACITY).step_by(8) {
        live.lie(DATA + offset, 1); // an empty message at every place
    }
    let error = live.rx.skip_to_latest().unwrap_err();
    match error {
        TryRecvError::Corrupt(what) => assert_eq!(what.what, Damage::RecordBeyondEnd),
        other => panic!("{other:?}"),
    }
    assert_eq!(live.rx.drain(usize::MAX, |_| ()), Err(error));
    // An observer bounds its own work.
    assert!(live.ring.observer().unwrap().peek_all().unwrap().len() <= 512);
}

/// Goal: a reader of bytes comes to an end where a ring is full of messages without any, which
/// nobody publishes. Method: as above, beside a producer that is
/// there, and after one that has closed.
#[test]
fn emptiness_without_end() {
    for closed in [false, true] {
        let live = Live::new(false);
        for offset in (0..CAPACITY).step_by(8) {
            live.lie(DATA + offset, 1);
        }
        let Live { tx, rx, .. } = live;
        let held = (!closed).then_some(tx); // or dropped here
        let mut reader = ByteReader::new(rx);
        let error = reader.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let what = error.get_ref().and_then(|inner| inner.downcast_ref());
        let Some(TryRecvError::Corrupt(what)) = what else {
            panic!("{error:?}")
        };
        assert_eq!(what.what, Damage::Tail);
        assert!(what.position - what.found <= 2 * CAPACITY, "{what:?}");
        assert!(reader.read(&mut [0; 8]).is_err(), "read on after damage");
        drop(held);
    }
}

/// Goal: a head that moved back, ran ahead of the tail or is no place for a record is damage when
/// the producer needs it, and the producer stops there. Method: fill the ring, lie, send.
#[test]
fn heads() {
    for head in [8, 4, 1 << 62, u64::MAX - 7, CAPACITY * 3] {
        let mut live = Live::new(false);
        let mut sent = 0;
        // Once round, so that a head of 8 is one that moved back.
        for _ in 0..8 {
            live.tx.send(&[1; 1000]).unwrap();
            live.rx.recv(&mut [0; 1000]).unwrap();
            sent += 1;
        }
        while live.tx.try_send(&[1; 1000]).is_ok() {
            sent += 1;
        }
        live.lie(RX, head);
        let first = live.tx.try_send(&[1; 1000]).unwrap_err();
        let TrySendError::Corrupt(what) = first else {
            panic!("{head:#x}: {first:?}")
        };
        assert_eq!((what.what, what.found), (Damage::Head, head));
        assert_eq!(live.tx.try_send(b"x"), Err(first));
        assert_eq!(live.tx.send(b"x"), Err(SendError::Corrupt(what)));
        assert_eq!(live.tx.batch().map(|_| ()).unwrap_err(), first);
        assert_eq!(live.tx.totals().messages, sent);
    }
}

/// Goal: a successor believes no position that cannot be, and takes no role then. Method: lies in
/// both pages of a ring that nobody holds, and in the account that the counts begin with; the file
/// is left as it was.
#[test]
fn successors() {
    let account = ACCOUNT.map(|slot| TX + slot);
    let lies: [(&[u64], u64, Damage); 6] = [
        (&[TX], 4, Damage::Tail),
        (&[TX], 1 << 40, Damage::Head),
        (&[RX], 12, Damage::Head),
        (&[RX], 1 << 40, Damage::Head),
        (&account, 4, Damage::Tail),
        (&account, 1 << 40, Damage::Tail),
    ];
    for (words, position, kind) in lies {
        let mut live = Live::new(false);
        live.tx.send(&[1; 100]).unwrap();
        live.tx.send(&[2; 100]).unwrap();
        let Live {
            ring,
            tx,
            rx,
            file,
            _directory,
        } = live;
        drop((tx, rx)); // closing settles the accounts
        for offset in words {
            file.write_all_at(&position.to_le_bytes(), *offset).unwrap();
        }
        let mut before = vec![0; 9 * 4096];
        file.read_exact_at(&mut before, 0).unwrap();
        let errors = [ring.producer().unwrap_err(), ring.consumer().unwrap_err()];
        for error in errors {
            match error {
                OpenError::Corrupt { corruption, .. } => assert_eq!(corruption.what, kind),
                other => panic!("{other:?}"),
            }
        }
        let mut after = vec![0; 9 * 4096];
        file.read_exact_at(&mut after, 0).unwrap();
        assert!(before == after, "a refused ring was written to");
    }
}

/// Goal: a successor that counts from a living producer's account believes no record that reaches
/// beyond what is to be counted, nor a chain that breaks off. Method: lies in the first commit word.
#[test]
fn counts() {
    for (word, kind) in [
        (301, Damage::RecordBeyondEnd),
        (0, Damage::RecordLength),
        (1 << 40, Damage::RecordLength),
    ] {
        let mut live = Live::new(false);
        live.tx.send(&[1; 100]).unwrap();
        live.tx.send(&[2; 100]).unwrap();
        live.rx.recv(&mut [0; 100]).unwrap();
        live.lie(DATA, word);
        drop(live.rx);
        match live.ring.consumer().unwrap_err() {
            OpenError::Corrupt { corruption, .. } => assert_eq!(corruption.what, kind),
            other => panic!("{other:?}"),
        }
    }
}

/// Goal: empty messages and the longest ones are ordinary on every way in and out; one byte more
/// is its own error and changes nothing.
#[test]
fn message_lengths() {
    let mut live = Live::new(true);
    let longest = usize::try_from(live.tx.max_message_bytes()).unwrap();
    assert_eq!(longest as u64, CAPACITY - 16);
    let mut out = Vec::new();
    for length in [0, 1, 7, 8, 9, longest - 1, longest, 0, longest] {
        let message = vec![9; length];
        live.tx.try_send(&message).unwrap();
        live.rx.try_recv_vec(&mut out).unwrap();
        assert_eq!(out, message);
        assert_eq!(live.tx.try_send_all([&message]), Ok(1));
        let mut seen = None;
        live.rx
            .drain(1, |message| seen = Some(message.len()))
            .unwrap();
        assert_eq!(seen, Some(length));
        let mut claim = live.tx.try_claim(length).unwrap();
        claim.write_at(0, &message).unwrap();
        claim.commit();
        assert_eq!(live.rx.try_recv(&mut vec![0; length]), Ok(length));
    }
    let too_long = TrySendError::TooLong {
        message_bytes: longest as u64 + 1,
        max_bytes: longest as u64,
    };
    let message = vec![9; longest + 1];
    let totals = live.tx.totals();
    assert_eq!(live.tx.try_send(&message), Err(too_long));
    assert_eq!(live.tx.batch().unwrap().push(&message), Err(too_long));
    assert_eq!(
        live.tx.try_claim(longest + 1).map(|_| ()).unwrap_err(),
        too_long
    );
    assert!(live.tx.try_claim(usize::MAX).is_err());
    assert_eq!(live.tx.totals(), totals);
    assert_eq!(live.rx.try_recv(&mut []), Err(TryRecvError::Empty));
    live.tx.send(b"abc").unwrap();
    let small = TryRecvError::BufferTooSmall {
        message_bytes: 3,
        buffer_bytes: 2,
    };
    assert_eq!(live.rx.try_recv(&mut [0; 2]), Err(small));
    assert_eq!(live.rx.try_recv(&mut [0; 3]), Ok(3));
}
