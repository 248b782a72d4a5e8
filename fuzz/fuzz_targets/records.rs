//! Every way to read records, over the same damaged ones: each gives out exactly the messages in
//! front of the damage, then says what it is, as a reader of these few lines does that shares no
//! code with the library.
#![no_main]

use std::io::{BufRead, ErrorKind, Read};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ringduct::{
    ByteReader, Consumer, Corruption, Damage, OpenError, Options, RecvError, Ring, TryRecvError,
};
use ringduct_fuzz::{CAPACITY_BYTES, DATA_OFFSET, Fresh, Region, Value, payload, record_bytes};

/// No reader is asked for more: a chain without an end goes round for ever.
const MOST_MESSAGES: usize = 1200;

#[derive(Arbitrary, Debug)]
struct Input {
    fresh: Fresh,
    records: Vec<Record>,
    /// Instead of all that: records without an end.
    chain: Option<u8>,
    batch: u8,
    buffer_bytes: u16,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Record {
    bytes: u16,
    flaw: Option<Flaw>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Flaw {
    /// The commit word.
    Word(Value),
    /// Its length, its checksum as it was.
    Length(u32),
    /// Its upper half.
    Checksum(u32),
    /// A bit of the payload.
    Payload(u16),
    /// The whole record moved on, its word as it was.
    Shifted(u8),
}

/// What is to be read, and what ends it.
#[derive(Debug, PartialEq)]
struct Expected {
    messages: Vec<Vec<u8>>,
    damage: Option<Damage>,
}

fuzz_target!(|input: Input| {
    let (ring, region) = input.fresh.make();
    let head = input.fresh.position();
    let untouched = region.image();
    drop(ring.producer().expect("an untouched ring")); // and closed
    write(&input, &region, head);
    let written = region.image();
    let expected = expected(&region, head, input.fresh.longest_bytes());

    check_observed(&region, &expected);
    let readers = [
        messages,
        try_messages,
        one_by_one,
        peeked,
        drained,
        as_bytes,
        as_lines,
    ];
    for read in readers {
        // Attaching reads the records too, and refuses what is damaged: so it comes first. And who
        // comes after a close is not told of it.
        region.set_image(&untouched, 0);
        let tx = ring.producer().expect("an untouched ring");
        let rx = ring.consumer().expect("an untouched ring");
        drop(tx);
        region.set_image(&written, DATA_OFFSET);
        read(rx, &input, &expected);
    }
    region.set_image(&written, 0);
    check_attach(&ring, &expected);
});

fn write(input: &Input, region: &Region, head: u64) {
    if let Some(size) = input.chain {
        region.put_chain(head, size);
        return;
    }
    let mut at = head;
    for (record, seed) in input.records.iter().zip(0_u8..) {
        let bytes = usize::from(record.bytes) % (input.fresh.longest_bytes() + 1);
        if at.wrapping_sub(head) + record_bytes(bytes) + 8 > CAPACITY_BYTES {
            return;
        }
        let end = region.put_record(at, &payload(bytes, seed));
        if let Some(flaw) = record.flaw {
            apply(flaw, region, at, bytes);
        }
        at = end;
    }
}

fn apply(flaw: Flaw, region: &Region, at: u64, bytes: usize) {
    let word = region.data(at, 8);
    let word = u64::from_le_bytes(*word.first_chunk().expect("eight bytes"));
    let word = match flaw {
        Flaw::Word(value) => value.of(word, at),
        Flaw::Length(length) => word >> 32 << 32 | u64::from(length),
        Flaw::Checksum(sum) => u64::from(sum) << 32 | word & u64::from(u32::MAX),
        Flaw::Payload(bit) => {
            let place = at.wrapping_add(8 + u64::from(bit) / 8 % (bytes.max(1) as u64));
            let byte = region.data(place, 1)[0] ^ 1 << (bit % 8);
            region.set_data(place, &[byte]);
            return;
        }
        Flaw::Shifted(words) => {
            let to = at.wrapping_add(u64::from(words) * 8);
            let record = region.data(at, bytes + 8);
            region.set_data(to, &record);
            return;
        }
    };
    region.set_data(at, &word.to_le_bytes());
}

/// Reads the records as `FORMAT.md` describes them.
fn expected(region: &Region, head: u64, longest: usize) -> Expected {
    let mut found = Expected {
        messages: Vec::new(),
        damage: None,
    };
    let mut at = head;
    while found.messages.len() < MOST_MESSAGES {
        let word = region.data(at, 8);
        let word = u64::from_le_bytes(*word.first_chunk().expect("eight bytes"));
        if word == 0 {
            break;
        }
        let stored = word & u64::from(u32::MAX);
        if stored == 0 || stored - 1 > longest as u64 {
            found.damage = Some(Damage::RecordLength);
            break;
        }
        let message = region.data(at.wrapping_add(8), stored as usize - 1);
        if word != region.commit_word(at, &message) {
            found.damage = Some(if region.checksum() {
                Damage::RecordChecksum
            } else {
                Damage::RecordReserved
            });
            break;
        }
        at = at.wrapping_add(record_bytes(message.len()));
        found.messages.push(message);
    }
    found
}

fn check_damage(found: Option<Corruption>, expected: &Expected) {
    assert_eq!(found.map(|found| found.what), expected.damage);
    if let Some(found) = found {
        assert!(found.to_string().len() > 20, "{found}");
    }
}

fn corruption(error: TryRecvError) -> Corruption {
    match error {
        TryRecvError::Corrupt(corruption) => corruption,
        _ => panic!("{error:?}"),
    }
}

fn messages(mut rx: Consumer, _input: &Input, expected: &Expected) {
    let mut damage = None;
    let mut count = 0;
    for message in rx.messages().take(MOST_MESSAGES) {
        match message {
            Ok(message) => assert_eq!(Some(&message), expected.messages.get(count)),
            Err(RecvError::Corrupt(corruption)) => {
                damage = Some(corruption);
                break;
            }
            Err(error) => panic!("{error:?}"),
        }
        count += 1;
    }
    assert_eq!(count, expected.messages.len());
    check_damage(damage, expected);
    if let Some(corruption) = damage {
        let after = rx.messages().next();
        assert_eq!(after, Some(Err(RecvError::Corrupt(corruption))));
    }
}

fn try_messages(mut rx: Consumer, _input: &Input, expected: &Expected) {
    let found: Vec<_> = rx.try_messages().take(MOST_MESSAGES).collect();
    let (messages, errors): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
    assert!(
        messages
            .into_iter()
            .map(Result::unwrap)
            .eq(expected.messages.iter().cloned())
    );
    assert!(errors.len() <= 1);
    let damage = errors.into_iter().next();
    check_damage(damage.map(|error| corruption(error.unwrap_err())), expected);
}

/// A buffer that may be too small: then nothing is taken, and the length is said.
fn one_by_one(mut rx: Consumer, input: &Input, expected: &Expected) {
    let mut small = vec![0; usize::from(input.buffer_bytes) % 2048];
    let mut large = vec![0; ringduct_fuzz::LONGEST_BYTES];
    for message in &expected.messages {
        let mut found = rx.try_recv(&mut small).map(|bytes| small[..bytes].to_vec());
        if let Err(TryRecvError::BufferTooSmall { message_bytes, .. }) = found {
            assert!(message_bytes > small.len() as u64);
            assert_eq!(message_bytes, message.len() as u64);
            found = rx.try_recv(&mut large).map(|bytes| large[..bytes].to_vec());
        }
        assert_eq!(found.as_ref(), Ok(message));
    }
    end(rx, expected);
}

fn peeked(mut rx: Consumer, _input: &Input, expected: &Expected) {
    let mut out = Vec::new();
    for message in &expected.messages {
        assert_eq!(rx.peek_len(), Ok(message.len()));
        assert_eq!(rx.peek_vec(&mut out, None), Ok(()));
        assert_eq!(&out, message);
        assert_eq!(rx.skip(1), Ok(1));
    }
    end(rx, expected);
}

/// What comes after the last message that is whole.
fn end(mut rx: Consumer, expected: &Expected) {
    if expected.messages.len() == MOST_MESSAGES {
        return;
    }
    let mut large = vec![0; ringduct_fuzz::LONGEST_BYTES];
    let error = rx.try_recv(&mut large).unwrap_err();
    if expected.damage.is_none() {
        assert_eq!(error, TryRecvError::Closed);
        return;
    }
    check_damage(Some(corruption(error)), expected);
    // For good, whichever way one asks.
    assert_eq!(rx.peek_len(), Err(error));
    assert_eq!(rx.skip_to_latest(), Err(error));
    assert_eq!(rx.try_messages().next(), Some(Err(error)));
    assert_eq!(
        rx.drain(1, |_| panic!("given out after damage")),
        Err(error)
    );
}

/// A batch that reaches round the ring is damage of its own.
fn drained(mut rx: Consumer, input: &Input, expected: &Expected) {
    let max = usize::from(input.batch) + 1;
    let mut left = expected.messages.iter();
    let mut each = |message: &[u8]| assert_eq!(Some(message), left.next().map(Vec::as_slice));
    for _ in 0..MOST_MESSAGES / max {
        match rx.drain(max, &mut each) {
            Ok(count) => assert!(count <= max && count > 0),
            Err(TryRecvError::Closed) => {
                assert_eq!((left.next(), expected.damage), (None, None));
                return;
            }
            Err(error) => {
                let found = corruption(error);
                if found.what != Damage::RecordBeyondEnd {
                    check_damage(Some(found), expected);
                    assert_eq!(left.next(), None);
                }
                return;
            }
        }
    }
}

/// Bytes without edges: the messages one after the other, then the end or the damage.
fn as_bytes(rx: Consumer, input: &Input, expected: &Expected) {
    let mut part = vec![0; usize::from(input.buffer_bytes) % 700 + 1];
    stream(rx, expected, |reader, out| {
        let count = reader.read(&mut part)?;
        out.extend_from_slice(&part[..count]);
        Ok(count)
    });
}

fn as_lines(rx: Consumer, _input: &Input, expected: &Expected) {
    // A line of an endless stream may have no end.
    stream(rx, expected, |reader, out| {
        reader.take(1 << 14).read_until(b'\n', out)
    });
}

fn stream(
    rx: Consumer,
    expected: &Expected,
    mut more: impl FnMut(&mut ByteReader, &mut Vec<u8>) -> std::io::Result<usize>,
) {
    let all = expected.messages.concat();
    let endless = expected.messages.len() == MOST_MESSAGES;
    let mut reader = ByteReader::new(rx);
    let mut out = Vec::new();
    // Of endless bytes no more are asked for; endless emptiness must come to an end by itself.
    while !endless || all.is_empty() || out.len() < all.len() {
        match more(&mut reader, &mut out) {
            Ok(0) => {
                assert!(expected.damage.is_none() && !endless);
                break;
            }
            Ok(_) => {}
            Err(error) => {
                assert!(expected.damage.is_some() || endless, "{error}");
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                break;
            }
        }
    }
    let both = all.len().min(out.len());
    assert!(endless || out.len() == all.len());
    assert!(out[..both] == all[..both]);
}

/// An observer sees the same, up to once round the ring.
fn check_observed(region: &Region, expected: &Expected) {
    let observer = Options::new().observe(&region.location()).expect("a ring");
    let mut reach = 0;
    let inside = expected.messages.iter().take_while(|message| {
        let before = reach;
        reach += record_bytes(message.len());
        before < CAPACITY_BYTES
    });
    let inside: Vec<_> = inside.collect();
    match observer.peek_all() {
        Ok(found) => {
            assert!(found.iter().map(|peeked| &peeked.message).eq(inside));
            assert!(expected.damage.is_none() || reach >= CAPACITY_BYTES);
        }
        Err(found) => check_damage(Some(found), expected),
    }
}

/// Whoever takes the role reads every record first.
fn check_attach(ring: &Ring, expected: &Expected) {
    let sound = expected.damage.is_none() && expected.messages.len() < MOST_MESSAGES;
    match ring.consumer() {
        Ok(rx) => {
            assert!(sound, "let in to {expected:?}");
            assert_eq!(rx.recovery().kept_messages, expected.messages.len() as u64);
        }
        Err(OpenError::Corrupt { .. }) => assert!(!sound),
        Err(error) => panic!("{error}"),
    }
}
