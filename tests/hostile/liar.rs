//! The hammer itself: a program that knows the format and keeps to nothing.
//!
//! It holds the other role by the kernel's lock, and publishes, or takes, as a correct side would
//! now and then, so that its victim comes to all of its code; in between it writes into every word.

use std::fs::File;
use std::sync::atomic::{Ordering, fence};

use crate::calls::CAPACITY;
use crate::dictionary::{LIES, Random, lies};
use crate::raw::{
    ACCOUNT, DATA, IDENTITY_BYTES, PAGE, POSITION, ROLE_BYTES, RX_PAGE, Shared, TX_PAGE, lock_byte,
};
use crate::victim::note;

/// Calls that a victim makes without a lie after the ring was made sound; two notes for each.
const TRUCE: u64 = 2 * 6;

/// Where in the identity page the ring's uuid is.
const UUID: usize = 96;

struct Liar {
    ring: Shared,
    board: Shared,
    random: Random,
    checked: bool,
    /// What the identity page says in truth.
    identity: [u8; IDENTITY_BYTES],
}

/// Lies until it is told to stop.
pub(crate) fn child(words: &[&str]) {
    let [victim, raw, board, seed, scene] = *words else {
        panic!("liar VICTIM RAW BOARD SEED SCENE: {words:?}")
    };
    let file = File::options().read(true).write(true).open(raw).unwrap();
    match victim {
        "consumer" => lock_byte(&file, 0),
        "producer" => lock_byte(&file, 1),
        _ => {}
    }
    let ring = Shared::map(&file);
    let mut identity = [0; IDENTITY_BYTES];
    ring.read(0, &mut identity);
    let mut liar = Liar {
        ring,
        board: Shared::open(board),
        random: Random::new(seed.parse().unwrap()),
        checked: scene == "checked",
        identity,
    };
    let mut until = 0;
    while liar.board.load(note::STOP) == 0 {
        if liar.board.load(note::WANTED) > liar.board.load(note::HEALED) {
            liar.make_sound();
            until = liar.board.load(note::SEQUENCE) + TRUCE;
        }
        let truce = liar.board.load(note::SEQUENCE) < until;
        for _ in 0..liar.random.below(300) {
            std::hint::spin_loop();
        }
        match liar.random.below(8) {
            0 | 1 if victim != "producer" => liar.publish(),
            2 if victim != "consumer" => liar.take(),
            _ if truce => {}
            _ => liar.lie(),
        }
    }
}

impl Liar {
    /// Writes one word, and perhaps puts it right again a moment later.
    fn lie(&mut self) {
        let word = self.word();
        let old = self.ring.load(word);
        let value = lies(old, CAPACITY, &mut self.random)[self.random.below(LIES)];
        let before = self.board.load(note::SEQUENCE);
        self.ring.store(word, value);
        if self.board.load(note::SEQUENCE) == before && before % 2 == 1 {
            self.board.add(note::LANDED, 1);
        }
        self.board.add(note::LIES, 1);
        if self.random.below(48) > 0 {
            for _ in 0..self.random.below(200) {
                std::hint::spin_loop();
            }
            self.ring.store(word, old);
        }
    }

    /// Any word of the identity, the roles' pages or slots, or the data; often where the consumer
    /// looks next.
    fn word(&mut self) -> usize {
        let capacity = usize::try_from(CAPACITY).unwrap();
        match self.random.below(8) {
            0 | 1 => TX_PAGE + 8 * self.random.below(ROLE_BYTES / 8),
            2 | 3 => RX_PAGE + 8 * self.random.below(ROLE_BYTES / 8),
            4 => DATA + 8 * self.random.below(capacity / 8),
            5 if self.random.below(8) == 0 => 8 * self.random.below(IDENTITY_BYTES / 8),
            5 => PAGE * (3 + self.random.below(5)) + 8 * self.random.below(16),
            _ => {
                let ahead = 8 * self.random.below(6) as u64;
                place(self.ring.load(RX_PAGE + POSITION).wrapping_add(ahead))
            }
        }
    }

    /// Publishes a message as `FORMAT.md` says, if the words that tell where are any good.
    fn publish(&mut self) {
        let tail = self.ring.load(TX_PAGE + POSITION);
        let head = self.ring.load(RX_PAGE + POSITION);
        let words = self.random.below(5) as u64;
        let record = 8 + 8 * words;
        if tail % 8 != 0 || tail.wrapping_sub(head).wrapping_add(record + 8) > CAPACITY {
            return;
        }
        let fill = self.random.next();
        let mut payload = Vec::new();
        for word in 0..words {
            self.ring
                .store(place(tail.wrapping_add(8 + 8 * word)), fill);
            payload.extend_from_slice(&fill.to_le_bytes());
        }
        self.ring.store(place(tail.wrapping_add(record)), 0);
        let commit = 8 * words + 1;
        let checksum = if self.checked {
            u64::from(self.checksum(tail, &payload))
        } else {
            0
        };
        fence(Ordering::Release);
        self.ring.store(place(tail), commit | checksum << 32);
        self.ring
            .store(TX_PAGE + POSITION, tail.wrapping_add(record));
        self.settle(tail.wrapping_add(record), 8 * words);
        self.board.add(note::HONEST, 1);
    }

    /// Says how many messages there were, in the older of the two slots.
    fn settle(&self, tail: u64, bytes: u64) {
        let [first, second] = ACCOUNT.map(|slot| self.ring.load(TX_PAGE + slot));
        let [older, newer] = if first.wrapping_sub(second) < 1 << 63 {
            [ACCOUNT[1], ACCOUNT[0]]
        } else {
            ACCOUNT
        };
        for (offset, more) in [(8, 1), (16, bytes)] {
            let count = self.ring.load(TX_PAGE + newer + offset).wrapping_add(more);
            self.ring.store(TX_PAGE + older + offset, count);
        }
        self.ring.store(TX_PAGE + older, tail);
    }

    fn checksum(&self, position: u64, payload: &[u8]) -> u32 {
        let length = payload.len() as u64;
        let mut sum = crc32c::crc32c(&self.identity[UUID..UUID + 16]);
        sum = crc32c::crc32c_append(sum, &position.to_le_bytes());
        sum = crc32c::crc32c_append(sum, &length.to_le_bytes());
        crc32c::crc32c_append(sum, payload)
    }

    /// Gives all space back.
    fn take(&self) {
        let tail = self.ring.load(TX_PAGE + POSITION);
        self.ring.store(RX_PAGE + POSITION, tail);
        self.board.add(note::HONEST, 1);
    }

    /// An empty ring that nobody was ever attached to.
    fn make_sound(&self) {
        for (index, word) in self.identity.chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(word.try_into().unwrap());
            self.ring.store(8 * index, word);
        }
        for word in (TX_PAGE..DATA).step_by(8) {
            self.ring.store(word, 0);
        }
        for word in (DATA..self.ring.length()).step_by(8) {
            self.ring.store(word, 0);
        }
        self.board.add(note::HEALED, 1);
    }
}

fn place(position: u64) -> usize {
    DATA + usize::try_from(position % CAPACITY).unwrap() / 8 * 8
}
