//! Messages that follow from their number. None has a byte that is zero.

const MAX_BYTES: u64 = 600;

/// The next number of a known sequence (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// Makes message number `number`: 1 to 600 bytes, every third one short.
pub(crate) fn message(number: u64, out: &mut Vec<u8>) {
    let mut state = number;
    let most = if number % 3 == 0 { 24 } else { MAX_BYTES };
    let length = usize::try_from(next(&mut state) % most + 1).unwrap();
    out.clear();
    while out.len() < length {
        out.extend_from_slice(&next(&mut state).to_le_bytes().map(|byte| byte | 1));
    }
    out.truncate(length);
}
