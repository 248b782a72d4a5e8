//! Opening and attaching to anything: arbitrary bytes, and the image of a used ring with some words
//! changed. What is refused is refused with a typed error and left untouched.
#![no_main]

use core::time::Duration;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringduct::{Location, OpenError, Options, Ring, TryRecvError, TrySendError};
use ringduct_fuzz::{
    DATA_OFFSET, Edit, Fresh, LONGEST_BYTES, MOST_STEPS, Region, image_of, payload, seal_header,
};
use rustix::fs::SealFlags;

#[derive(Arbitrary, Debug)]
struct Input {
    kind: Kind,
    seals: u8,
    consumer_first: bool,
    /// Made while one end is attached and the other is not yet.
    between: Vec<Edit>,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Bytes { bytes: Vec<u8>, pages: u8, odd: u16 },
    Ring(Used),
}

/// A ring that was used, closed, and then tampered with.
#[derive(Arbitrary, Debug)]
struct Used {
    fresh: Fresh,
    lengths: Vec<u16>,
    released: u8,
    edits: Vec<Edit>,
    seal_header: bool,
    more_bytes: i16,
}

impl Used {
    fn file(&self, seals: SealFlags) -> File {
        let (ring, region) = self.fresh.make();
        let mut here = self.fresh.position();
        if let (Ok(mut tx), Ok(mut rx)) = (ring.producer(), ring.consumer()) {
            for (length, seed) in self.lengths.iter().take(MOST_STEPS).zip(0..) {
                let message = payload(usize::from(*length) % (LONGEST_BYTES + 1), seed);
                tx.try_send(&message).ok();
            }
            rx.skip(self.released.into()).ok();
            here = rx.totals().position;
        }
        let mut image = region.image();
        for edit in self.edits.iter().take(MOST_STEPS) {
            edit.apply_to(&mut image, here);
        }
        if self.seal_header {
            seal_header(&mut image);
        }
        let size = (image.len() as u64).saturating_add_signed(self.more_bytes.into());
        Region::raw(&image, size, seals)
    }
}

fuzz_target!(|input: Input| {
    // Three in four are sealed as a ring must be: the rest is refused at once.
    let seals = if input.seals < 192 {
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
    } else {
        SealFlags::from_bits_truncate(u32::from(input.seals & 7))
    };
    let file = match &input.kind {
        Kind::Bytes { bytes, pages, odd } => {
            let size = u64::from(pages % 32) * 4096 + u64::from(odd % 4096);
            let mut bytes = bytes.clone();
            if odd & 0x8000 != 0 {
                seal_header(&mut bytes); // nobody guesses a checksum
            }
            Region::raw(&bytes, size, seals)
        }
        Kind::Ring(used) => used.file(seals),
    };
    let location = Location::Fd(file.as_raw_fd());
    let options = Options::new().attach_timeout(Duration::ZERO);
    let before = image_of(&file);
    match options.open(&location) {
        Ok(ring) => {
            assert_eq!(ring.capacity_bytes() + DATA_OFFSET, before.len() as u64);
            use_both(&ring, &file, &input);
        }
        Err(error) => {
            check(&error);
            assert!(before == image_of(&file), "refused, and yet written to");
        }
    }
    let before = image_of(&file);
    if let Err(error) = options.observe(&location) {
        check(&error);
        assert!(before == image_of(&file), "refused, and yet written to");
    }
});

/// Attaches both ends and lets each do a little, whatever comes of it.
fn use_both(ring: &Ring, file: &File, input: &Input) {
    let before = image_of(file);
    let refused = |error: OpenError| {
        check(&error);
        assert!(before == image_of(file), "refused, and yet written to");
    };
    let (tx, rx) = if input.consumer_first {
        let rx = ring.consumer().map_err(refused);
        tamper(file, &input.between);
        (ring.producer().map_err(|error| check(&error)), rx)
    } else {
        let tx = ring.producer().map_err(refused);
        tamper(file, &input.between);
        (tx, ring.consumer().map_err(|error| check(&error)))
    };
    let observer = ring.observer().expect("whoever may write may look on");
    observer.peek_all().map_err(|error| error.to_string()).ok();
    assert!(!format!("{:?}", observer.snapshot()).is_empty());
    if let Ok(mut rx) = rx {
        assert_eq!(
            rx.totals().position % 8,
            0,
            "let in where no record can start"
        );
        let taken = rx.drain(MOST_STEPS, |message| {
            assert!(message.len() <= LONGEST_BYTES)
        });
        assert_ne!(taken, Err(TryRecvError::Forked));
        rx.skip_to_latest().ok();
        assert!(rx.backlog_bytes() <= rx.capacity_bytes());
    }
    if let Ok(mut tx) = tx {
        assert_eq!(
            tx.totals().position % 8,
            0,
            "let in where no record can start"
        );
        for length in [0, 100, LONGEST_BYTES, LONGEST_BYTES + 1] {
            let sent = tx.try_send(&payload(length, 1));
            assert_ne!(sent, Err(TrySendError::Forked));
        }
        assert!(tx.backlog_bytes() <= tx.capacity_bytes());
        drop(tx);
        // What a producer that was let in has left must satisfy the next one.
        ring.producer().map_err(|error| check(&error)).ok();
    }
}

fn tamper(file: &File, edits: &[Edit]) {
    if edits.is_empty() {
        return;
    }
    let mut image = image_of(file);
    for edit in edits.iter().take(MOST_STEPS) {
        edit.apply_to(&mut image, 0);
    }
    file.write_all_at(&image, 0)
        .expect("nobody sealed it against writing");
}

/// Only what is documented for a memory file that anybody may have written.
fn check(error: &OpenError) {
    let text = error.to_string();
    assert!(text.len() > 20, "{text}");
    let expected = matches!(
        error,
        OpenError::NotARing { .. }
            | OpenError::Unsupported { .. }
            | OpenError::Damaged { .. }
            | OpenError::Corrupt { .. }
            | OpenError::Unsealed { .. }
    );
    assert!(expected, "{error:?}");
}
