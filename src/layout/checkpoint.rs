//! A checkpoint slot: what a side's checkpoint says, and how a torn one is told from a whole one.

use super::Role;
use crate::position;

/// Starts of incarnations that a slot remembers: the present one and those before it.
pub(crate) const STARTS: usize = 8;

/// Words of a slot; the rest of its page is zero. They lie in two cache lines and one sector.
pub(crate) const SLOT_WORDS: usize = 8 + STARTS;

/// In the last word, above the checksum: never zero, so that an empty page is no slot.
const MARK: u64 = 0x5244_4350 << 32;

/// What one checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// One more than the checkpoint before; its lowest bit says which slot it lies in.
    pub(crate) sequence: u64,
    /// Where the side was when this was written.
    pub(crate) intended: u64,
    /// How far everything was known to be on the medium when this was written.
    pub(crate) acknowledged: u64,
    /// Messages up to `intended`.
    pub(crate) messages: u64,
    /// Payload bytes of those.
    pub(crate) bytes: u64,
    /// Messages up to `acknowledged`.
    pub(crate) acknowledged_messages: u64,
    /// Cold recoveries of the ring so far.
    pub(crate) incarnation: u64,
    /// Where the present incarnation starts, the one before it, and so on.
    pub(crate) starts: [u64; STARTS],
}

impl Checkpoint {
    /// The first one, of a ring that starts at `base`.
    pub(crate) const fn first(base: u64) -> Self {
        Self {
            sequence: 1,
            intended: base,
            acknowledged: base,
            messages: 0,
            bytes: 0,
            acknowledged_messages: 0,
            incarnation: 0,
            starts: [base; STARTS],
        }
    }

    /// The later of two checkpoints of a role. Sequences are compared as positions are: no number
    /// that somebody forged is later than all that come.
    pub(crate) const fn later(self, other: Self) -> Self {
        if position::at_or_after(self.sequence, other.sequence) {
            self
        } else {
            other
        }
    }

    /// Whether it lies in the second slot.
    pub(crate) const fn in_second(&self) -> bool {
        self.sequence & 1 == 0
    }

    /// The words of the slot. `seed` is the checksum of the ring's uuid.
    pub(crate) fn encode(&self, seed: u32, role: Role) -> [u64; SLOT_WORDS] {
        let mut words = [0; SLOT_WORDS];
        let fields = [
            self.sequence,
            self.intended,
            self.acknowledged,
            self.messages,
            self.bytes,
            self.acknowledged_messages,
            self.incarnation,
        ];
        for (to, from) in words.iter_mut().zip(fields.iter().chain(&self.starts)) {
            *to = *from;
        }
        let mark = MARK | u64::from(checksum(&words, seed, role));
        if let Some(last) = words.last_mut() {
            *last = mark;
        }
        words
    }

    /// Reads a slot; `None` unless it is whole and belongs to this ring, role and place.
    pub(crate) fn decode(
        words: &[u64; SLOT_WORDS],
        seed: u32,
        role: Role,
        second: bool,
    ) -> Option<Self> {
        let [
            sequence,
            intended,
            acknowledged,
            messages,
            bytes,
            acknowledged_messages,
            incarnation,
            starts @ ..,
            mark,
        ] = *words;
        let found = Self {
            sequence,
            intended,
            acknowledged,
            messages,
            bytes,
            acknowledged_messages,
            incarnation,
            starts,
        };
        let sound = mark == MARK | u64::from(checksum(words, seed, role))
            && found.in_second() == second
            && position::is_aligned(intended)
            && position::is_aligned(acknowledged)
            && position::at_or_after(intended, acknowledged);
        sound.then_some(found)
    }

    /// The incarnation in which the record at `position` was published.
    ///
    /// Of more than [`STARTS`] incarnations that no consumer's checkpoint has passed, the oldest
    /// count as one: their messages may be taken for new ones, never the other way round.
    pub(crate) fn incarnation_of(&self, position: u64) -> u64 {
        let later = self
            .starts
            .iter()
            .take_while(|start| !position::at_or_after(position, **start))
            .count()
            .min(STARTS.wrapping_sub(1)); // STARTS is 8
        self.incarnation.saturating_sub(later as u64)
    }

    /// The next incarnation, which starts at `start`.
    pub(crate) fn begin_incarnation(&mut self, start: u64) {
        self.incarnation = self.incarnation.wrapping_add(1);
        self.starts.rotate_right(1);
        if let Some(first) = self.starts.first_mut() {
            *first = start;
        }
    }
}

/// Over the ring's uuid (the seed), the role and all words but the last.
fn checksum(words: &[u64; SLOT_WORDS], seed: u32, role: Role) -> u32 {
    let role = match role {
        Role::Producer => 0,
        Role::Consumer => 1,
    };
    // In one piece: a call of the library costs as much as all these bytes.
    let mut bytes = [0; 1 + SLOT_WORDS * 8];
    if let Some((first, rest)) = bytes.split_first_mut() {
        *first = role;
        for (to, word) in rest.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }
    let (fields, _) = bytes.split_at(1 + (SLOT_WORDS - 1) * 8);
    crc32c::crc32c_append(seed, fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        Checkpoint {
            sequence: 7,
            intended: 4096,
            acknowledged: 1024,
            messages: 30,
            bytes: 900,
            acknowledged_messages: 7,
            incarnation: 2,
            starts: [512, 256, 0, 0, 0, 0, 0, 0],
        }
    }

    /// Goal: what is written is what is read, in its own place only.
    #[test]
    fn a_slot_round_trips() {
        let words = sample().encode(9, Role::Producer);
        let read = |seed, role, second| Checkpoint::decode(&words, seed, role, second);
        assert_eq!(read(9, Role::Producer, false), Some(sample()));
        assert_eq!(read(8, Role::Producer, false), None, "another ring");
        assert_eq!(read(9, Role::Consumer, false), None, "another role");
        assert_eq!(read(9, Role::Producer, true), None, "another place");
        let empty = [0; SLOT_WORDS];
        assert_eq!(Checkpoint::decode(&empty, 9, Role::Producer, true), None);
    }

    /// Goal: the sum is the one that the format describes. Method: the bytes one after the other.
    #[test]
    fn the_sum_is_over_uuid_role_and_fields() {
        let uuid = *b"0123456789abcdef";
        let words = sample().encode(crc32c::crc32c(&uuid), Role::Consumer);
        let (mark, fields) = words.split_last().unwrap();
        let mut bytes = uuid.to_vec();
        bytes.push(1);
        bytes.extend(fields.iter().flat_map(|word| word.to_le_bytes()));
        assert_eq!(bytes.len(), 16 + 1 + 120);
        assert_eq!(*mark, MARK | u64::from(crc32c::crc32c(&bytes)));
    }

    /// Goal: no torn slot is taken for a whole one. Method: every word replaced by that of another
    /// checkpoint, alone and as a prefix; every bit flipped.
    #[test]
    fn torn_slots_are_refused() {
        let other = Checkpoint {
            sequence: 5,
            intended: 2048,
            acknowledged: 512,
            messages: 20,
            bytes: 600,
            acknowledged_messages: 4,
            incarnation: 1,
            starts: [256, 0, 0, 0, 0, 0, 0, 0],
        };
        let new = sample().encode(9, Role::Producer);
        let old = other.encode(9, Role::Producer);
        for index in 0..SLOT_WORDS {
            let (mut one, mut prefix) = (new, old);
            one[index] = old[index];
            prefix[..index].copy_from_slice(&new[..index]);
            for words in [one, prefix] {
                if words != new && words != old {
                    let read = Checkpoint::decode(&words, 9, Role::Producer, false);
                    assert_eq!(read, None, "torn at word {index}");
                }
            }
        }
        for bit in 0..SLOT_WORDS * 64 {
            let mut words = new;
            words[bit / 64] ^= 1 << (bit % 64);
            let read = Checkpoint::decode(&words, 9, Role::Producer, false);
            assert_eq!(read, None, "bit {bit}");
        }
    }

    /// Goal: the one that is written over the older of two slots is the newest from then on,
    /// whatever their sequences were.
    #[test]
    fn the_next_one_is_the_latest() {
        let of = |sequence| Checkpoint {
            sequence,
            ..sample()
        };
        for first in [1, 7, i64::MAX as u64, u64::MAX] {
            for second in [2, 8, 1 << 63, 0] {
                let newest = of(first).later(of(second));
                assert_eq!(newest, of(second).later(of(first)));
                let next = of(newest.sequence.wrapping_add(1));
                assert_eq!(newest.later(next), next, "{first} {second}");
                assert_eq!(next.later(newest), next, "{first} {second}");
            }
        }
    }

    /// Goal: each position belongs to the incarnation that was there when it was published last.
    #[test]
    fn positions_have_incarnations() {
        let mut slot = Checkpoint::first(0);
        assert_eq!(slot.incarnation_of(0), 0);
        slot.begin_incarnation(100);
        slot.begin_incarnation(100); // nothing of the second one is left
        slot.begin_incarnation(200);
        assert_eq!(slot.incarnation, 3);
        for (position, expected) in [(0, 0), (99, 0), (100, 2), (199, 2), (200, 3), (900, 3)] {
            assert_eq!(slot.incarnation_of(position), expected, "at {position}");
        }
        for start in 3..20 {
            slot.begin_incarnation(start * 100);
        }
        assert_eq!(slot.incarnation_of(1900), 20);
        assert_eq!(slot.incarnation_of(1899), 19);
        assert_eq!(slot.incarnation_of(0), 13, "the oldest eight count as one");
    }
}
