//! Messages that follow from their number, so that the other side knows them without being told.

/// A small generator with a known sequence (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number below `bound`, as a length.
    pub(crate) fn below_len(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }
}

/// Makes message number `number`: 0 to `max` bytes, with both ends of the range often hit.
pub(crate) fn any(number: u64, max: usize, out: &mut Vec<u8>) {
    let mut random = Random::new(number ^ 0x5EED);
    let length = match random.below(32) {
        0 => 0,
        1 => max,
        2..18 => random.below_len(max.min(64) + 1),
        _ => random.below_len(max + 1),
    };
    fill(&mut random, length, out);
}

/// Makes message number `number`: it begins with the number, and has 8 to `max` bytes.
pub(crate) fn numbered(number: u64, max: usize, out: &mut Vec<u8>) {
    let mut random = Random::new(number ^ 0xFACE);
    let length = random.below_len(max - 7) + 8;
    fill(&mut random, length, out);
    out[..8].copy_from_slice(&number.to_le_bytes());
}

/// Makes message number `number` of an incarnation: it begins with both, and has 16 to `max` bytes.
pub(crate) fn incarnate(number: u64, incarnation: u64, max: usize, out: &mut Vec<u8>) {
    let mut random = Random::new(number ^ incarnation << 40 ^ 0xC01D);
    let length = random.below_len(max - 15) + 16;
    fill(&mut random, length, out);
    out[..8].copy_from_slice(&number.to_le_bytes());
    out[8..16].copy_from_slice(&incarnation.to_le_bytes());
}

/// The number and the incarnation that a message of [`incarnate`] begins with.
pub(crate) fn incarnation_of(message: &[u8]) -> Option<(u64, u64)> {
    let incarnation = message.get(8..16)?.try_into().ok()?;
    Some((number_of(message)?, u64::from_le_bytes(incarnation)))
}

/// The number that a message of [`numbered`] begins with.
pub(crate) fn number_of(message: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(message.get(..8)?.try_into().ok()?))
}

fn fill(random: &mut Random, length: usize, out: &mut Vec<u8>) {
    out.clear();
    while out.len() < length {
        out.extend_from_slice(&random.next().to_le_bytes());
    }
    out.truncate(length);
}
