//! What a liar writes.

/// Numbers that are the same in every run with one seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// Values in [`lies`].
pub(crate) const LIES: usize = 22;

/// Values to replace a word by: its neighbours, those of other laps, the edges of what a length or
/// a position can be, powers of two, all ones, and two random ones.
pub(crate) fn lies(old: u64, capacity: u64, random: &mut Random) -> [u64; LIES] {
    [
        0,
        1,
        9,
        old.wrapping_add(1),
        old.wrapping_sub(1),
        old.wrapping_add(8),
        old.wrapping_sub(8),
        old.wrapping_add(capacity),
        old.wrapping_sub(capacity),
        capacity - 16,
        capacity - 15,
        capacity - 14,
        capacity - 1,
        capacity,
        capacity + 1,
        1 << 31,
        u64::from(u32::MAX),
        1 << 32,
        1 << 63,
        u64::MAX,
        old ^ (1 << (random.next() % 64)),
        random.next(),
    ]
}

/// The seed of a test: given, or always the same.
pub(crate) fn seed() -> u64 {
    std::env::var("RINGDUCT_SEED").map_or(0x0057_11E5, |text| text.parse().unwrap())
}
