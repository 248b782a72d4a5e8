//! Arithmetic on positions: pure functions, right at every edge of `u64`.
//!
//! A position is a count of bytes since the ring was made. It only grows, is always a multiple of
//! eight, and never wraps in practice (at 100 GB/s it would take six years); the arithmetic wraps
//! anyway, so that a ring started near `u64::MAX` works like any other.

/// Every record starts on a multiple of this many bytes.
pub(crate) const ALIGN_BYTES: u64 = 8;

/// Bytes from `earlier` to `later`, when `later` really is at or after it.
pub(crate) const fn distance(earlier: u64, later: u64) -> u64 {
    later.wrapping_sub(earlier)
}

/// The position `bytes` after `position`.
pub(crate) const fn advance(position: u64, bytes: u64) -> u64 {
    position.wrapping_add(bytes)
}

/// Whether `a` is at or after `b`, for positions less than half the number space apart.
pub(crate) const fn at_or_after(a: u64, b: u64) -> bool {
    a.wrapping_sub(b) <= u64::MAX / 2
}

/// The later of two positions of the same ring.
pub(crate) const fn later(a: u64, b: u64) -> u64 {
    if at_or_after(a, b) { a } else { b }
}

/// The earlier of two positions of the same ring.
pub(crate) const fn earlier(a: u64, b: u64) -> u64 {
    if at_or_after(a, b) { b } else { a }
}

/// Whether `position` lies in `first..=last`, where `last` is at or after `first`.
///
/// This is the check for every position read from the peer: one unsigned comparison that a lie in
/// either direction fails.
pub(crate) const fn is_between(first: u64, position: u64, last: u64) -> bool {
    distance(first, position) <= distance(first, last)
}

/// Whether a record may start here.
pub(crate) const fn is_aligned(position: u64) -> bool {
    position & (ALIGN_BYTES - 1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every predicate agrees with plain arithmetic, whatever the starting position.
    /// Method: all pairs and triples of small offsets from starts at the edges of the number
    /// space, compared with the same question asked of the offsets themselves.
    #[test]
    fn predicates_agree_with_offsets_at_every_edge() {
        let starts = [0, 1 << 31, 1 << 32, 1 << 63, u64::MAX - 40, u64::MAX - 7];
        for start in starts {
            for a in 0..48_u64 {
                for b in 0..48_u64 {
                    let (pa, pb) = (advance(start, a), advance(start, b));
                    assert_eq!(at_or_after(pa, pb), a >= b, "{start} {a} {b}");
                    assert_eq!(later(pa, pb), advance(start, a.max(b)));
                    assert_eq!(earlier(pa, pb), advance(start, a.min(b)));
                    if a <= b {
                        assert_eq!(distance(pa, pb), b - a);
                    }
                    for c in 0..48_u64 {
                        if a <= c {
                            let pc = advance(start, c);
                            assert_eq!(is_between(pa, pb, pc), a <= b && b <= c);
                        }
                    }
                }
            }
        }
    }

    /// Goal: only multiples of eight may start a record.
    #[test]
    fn alignment_is_eight_bytes() {
        for position in 0..64 {
            assert_eq!(is_aligned(position), position % 8 == 0);
        }
    }
}
