//! The checksum of a record, as `FORMAT.md` has it: CRC-32C over the ring's id, the record's
//! position, its length and its payload. Position and length go in so that no record of an earlier
//! lap passes for one of this.
//!
//! The library's call costs as much as a whole message before its first byte. Short payloads, which
//! feel that, are summed here by the processor's own instruction where it has one; long ones go to
//! the library, which keeps three sums going at once.
#![expect(unsafe_code, reason = "an instruction that not every processor has")]

/// Payloads up to this length are summed here.
#[cfg(target_arch = "x86_64")]
const SHORT_BYTES: usize = 256;

/// Where the checksums of one ring begin, and how they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    /// The sum over the ring's id.
    seed: u32,
    /// Whether the processor has the instruction: asked once.
    #[cfg(target_arch = "x86_64")]
    in_hardware: bool,
}

impl Checksum {
    /// Starts from the ring's id.
    pub(crate) fn new(uuid: &[u8; 16]) -> Self {
        Self {
            seed: crc32c::crc32c(uuid),
            #[cfg(target_arch = "x86_64")]
            in_hardware: std::arch::is_x86_feature_detected!("sse4.2"),
        }
    }

    /// The checksum of the record at `position` with this payload.
    #[inline]
    pub(crate) fn of(self, position: u64, payload: &[u8]) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if self.in_hardware && payload.len() <= SHORT_BYTES {
            // SAFETY: the processor was asked whether it has the instruction.
            return unsafe { hardware::sum(self.seed, position, payload) };
        }
        crc32c::crc32c_append(self.head(position, payload.len() as u64), payload)
    }

    /// What it is before the payload, to be continued by the library.
    pub(crate) fn head(self, position: u64, message_bytes: u64) -> u32 {
        let mut head = [0; 16];
        let (first, second) = head.split_at_mut(8);
        first.copy_from_slice(&position.to_le_bytes());
        second.copy_from_slice(&message_bytes.to_le_bytes());
        crc32c::crc32c_append(self.seed, &head)
    }
}

#[cfg(target_arch = "x86_64")]
mod hardware {
    use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};

    /// Continues `seed` over a position, the payload's length and the payload.
    #[inline]
    #[target_feature(enable = "sse4.2")]
    pub(super) fn sum(seed: u32, position: u64, payload: &[u8]) -> u32 {
        let mut sum = _mm_crc32_u64(u64::from(!seed), position);
        sum = _mm_crc32_u64(sum, payload.len() as u64);
        let mut rest = payload;
        while let Some((word, more)) = rest.split_first_chunk::<8>() {
            sum = _mm_crc32_u64(sum, u64::from_le_bytes(*word));
            rest = more;
        }
        let [mut sum, _] = crate::layout::halves(sum);
        for byte in rest {
            sum = _mm_crc32_u8(sum, *byte);
        }
        !sum
    }
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    /// Goal: both ways give the sum that the format describes. Method: all lengths around the limit
    /// between them, against the library's sum over the bytes one after the other.
    #[test]
    fn both_ways_agree() {
        let uuid = *b"0123456789abcdef";
        let checksum = Checksum::new(&uuid);
        let bytes: Vec<u8> = (0..600_u32)
            .map(|at| (at * 7 + at / 251).to_le_bytes()[0])
            .collect();
        for length in 0..=bytes.len() {
            for position in [0, 8, u64::MAX - 7] {
                let (payload, _) = bytes.split_at(length);
                let mut all = uuid.to_vec();
                all.extend(position.to_le_bytes());
                all.extend((length as u64).to_le_bytes());
                all.extend(payload);
                let expected = crc32c::crc32c(&all);
                assert_eq!(checksum.of(position, payload), expected, "{length}");
                let head = checksum.head(position, length as u64);
                assert_eq!(crc32c::crc32c_append(head, payload), expected, "{length}");
            }
        }
    }
}
