//! The identity page: written once by the creator, checked by everybody before anything else.
//!
//! [`UncheckedHeader`] is what was read; [`Identity`] is what may be used. Nothing computes with a
//! number from the file before it became part of the second.

use super::{HEADER_PAGES, Shape};
use crate::position::ALIGN_BYTES;

/// First eight bytes of every ring: `RINGDUCT`.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"RINGDUCT");

/// A ring with another major version is refused.
pub(crate) const FORMAT_MAJOR: u32 = 1;

/// A higher minor version than ours is accepted: it changes nothing that we read.
pub(crate) const FORMAT_MINOR: u32 = 0;

/// Bytes that must be read to judge a header.
pub(crate) const HEADER_READ_BYTES: usize = 256;

/// Written as a number, read back as a number: any other value means another byte order.
const ENDIAN_MARK: u64 = 0x0807_0605_0403_0201;

/// Feature masks. A bit that is not known here is ignored when compatible, bars writing when
/// read-only compatible, and refuses the ring when incompatible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) compatible: u64,
    pub(crate) read_only_compatible: u64,
    pub(crate) incompatible: u64,
}

impl Features {
    /// Incompatible: the upper half of each commit word is a checksum.
    pub(crate) const CHECKSUM: u64 = 1;
    /// Incompatible: space is reused only once a checkpoint of the consumer has passed it.
    pub(crate) const DURABLE: u64 = 2;
    /// Every incompatible bit this version understands.
    pub(crate) const KNOWN_INCOMPATIBLE: u64 = Self::CHECKSUM | Self::DURABLE;
    /// Every read-only compatible bit this version understands.
    pub(crate) const KNOWN_READ_ONLY_COMPATIBLE: u64 = 0;
}

/// What a creator writes, and what a checked header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) shape: Shape,
    pub(crate) features: Features,
    pub(crate) minor: u32,
    pub(crate) uuid: [u8; 16],
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) created_unix_ns: u64,
    pub(crate) application_tag: [u8; 16],
    pub(crate) max_message_bytes: u64,
    pub(crate) kernel_page_bytes: u64,
}

/// Byte offsets of the fields; the rest of the page is zero.
pub(super) mod at {
    pub(in crate::layout) const MAGIC: usize = 0;
    pub(in crate::layout) const MAJOR: usize = 8;
    pub(in crate::layout) const MINOR: usize = 12;
    pub(in crate::layout) const COMPATIBLE: usize = 16;
    pub(in crate::layout) const READ_ONLY_COMPATIBLE: usize = 24;
    pub(in crate::layout) const INCOMPATIBLE: usize = 32;
    pub(in crate::layout) const HEADER_BYTES: usize = 40;
    pub(in crate::layout) const CAPACITY: usize = 48;
    pub(in crate::layout) const ENDIAN: usize = 56;
    pub(in crate::layout) const UNIT: usize = 64;
    pub(in crate::layout) const KERNEL_PAGE: usize = 72;
    pub(in crate::layout) const RECORD_ALIGN: usize = 80;
    pub(in crate::layout) const MAX_MESSAGE: usize = 88;
    pub(in crate::layout) const UUID: usize = 96;
    pub(in crate::layout) const TAG: usize = 112;
    pub(in crate::layout) const DEVICE: usize = 128;
    pub(in crate::layout) const INODE: usize = 136;
    pub(in crate::layout) const CREATED: usize = 144;
    pub(in crate::layout) const RESERVED: usize = 152;
    pub(in crate::layout) const CHECKSUM: usize = 252;
}

// Fields lie back to back, aligned, and the checksum covers all before it.
const _: () = {
    assert!(at::MINOR == at::MAJOR + 4 && at::COMPATIBLE == at::MINOR + 4);
    assert!(at::READ_ONLY_COMPATIBLE == at::COMPATIBLE + 8);
    assert!(at::INCOMPATIBLE == at::READ_ONLY_COMPATIBLE + 8);
    assert!(at::HEADER_BYTES == at::INCOMPATIBLE + 8 && at::CAPACITY == at::HEADER_BYTES + 8);
    assert!(at::ENDIAN == at::CAPACITY + 8 && at::UNIT == at::ENDIAN + 8);
    assert!(at::KERNEL_PAGE == at::UNIT + 8 && at::RECORD_ALIGN == at::KERNEL_PAGE + 8);
    assert!(at::MAX_MESSAGE == at::RECORD_ALIGN + 8 && at::UUID == at::MAX_MESSAGE + 8);
    assert!(at::TAG == at::UUID + 16 && at::DEVICE == at::TAG + 16);
    assert!(at::INODE == at::DEVICE + 8 && at::CREATED == at::INODE + 8);
    assert!(at::RESERVED == at::CREATED + 8 && at::RESERVED < at::CHECKSUM);
    assert!(at::CHECKSUM + 4 == HEADER_READ_BYTES);
};

/// Why a header is not one of a ring that this process can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum HeaderFault {
    /// The first eight bytes are not ours.
    Magic { found: u64 },
    /// The creator has not finished (System V only), or never will.
    Unfinished,
    /// The format has another major version.
    Version { found: u32 },
    /// Incompatible features that this version does not know.
    Features { found: u64 },
    /// The checksum over the header is not the stored one.
    Checksum { expected: u32, found: u32 },
    /// A field cannot be right.
    Field {
        field: &'static str,
        /// Where it is in the page.
        offset: usize,
        expected: u64,
        found: u64,
    },
    /// The file's size is not what the header says.
    Size { expected: u64, found: u64 },
    /// The ring was made by a kernel with pages of another size.
    KernelPage { expected: u64, found: u64 },
}

/// The first bytes of something that may be a ring.
#[derive(Clone, Copy)]
pub(crate) struct UncheckedHeader([u8; HEADER_READ_BYTES]);

impl UncheckedHeader {
    /// Takes what was read; missing bytes are zero.
    pub(crate) const fn new(bytes: [u8; HEADER_READ_BYTES]) -> Self {
        Self(bytes)
    }

    /// Whether the first bytes are those of a ring.
    pub(crate) fn has_magic(&self) -> bool {
        self.u64_at(at::MAGIC) == MAGIC
    }

    /// Turns the bytes into an identity, or names the first thing that is wrong with them.
    ///
    /// `total_bytes` is the real size of the file; `kernel_page_bytes` that of this kernel.
    pub(crate) fn check(
        &self,
        total_bytes: u64,
        kernel_page_bytes: u64,
    ) -> Result<Identity, HeaderFault> {
        self.check_kind()?;
        let shape = self.check_shape(total_bytes)?;
        let kernel_page = self.u64_at(at::KERNEL_PAGE);
        if kernel_page != kernel_page_bytes {
            return Err(HeaderFault::KernelPage {
                expected: kernel_page_bytes,
                found: kernel_page,
            });
        }
        let max_message_bytes = self.u64_at(at::MAX_MESSAGE);
        let longest = shape.longest_message_bytes();
        if max_message_bytes > longest {
            return Err(field(
                ("max_message_bytes", at::MAX_MESSAGE),
                longest,
                max_message_bytes,
            ));
        }
        Ok(Identity {
            shape,
            features: Features {
                compatible: self.u64_at(at::COMPATIBLE),
                read_only_compatible: self.u64_at(at::READ_ONLY_COMPATIBLE),
                incompatible: self.u64_at(at::INCOMPATIBLE),
            },
            minor: self.u32_at(at::MINOR),
            uuid: self.bytes_at(at::UUID),
            device: self.u64_at(at::DEVICE),
            inode: self.u64_at(at::INODE),
            created_unix_ns: self.u64_at(at::CREATED),
            application_tag: self.bytes_at(at::TAG),
            max_message_bytes,
            kernel_page_bytes: kernel_page,
        })
    }

    /// Magic, version, byte order, features and checksum, in this order.
    fn check_kind(&self) -> Result<(), HeaderFault> {
        match self.u64_at(at::MAGIC) {
            MAGIC => {}
            0 => return Err(HeaderFault::Unfinished),
            found => return Err(HeaderFault::Magic { found }),
        }
        let major = self.u32_at(at::MAJOR);
        if major != FORMAT_MAJOR {
            return Err(HeaderFault::Version { found: major });
        }
        let endian = self.u64_at(at::ENDIAN);
        if endian != ENDIAN_MARK {
            return Err(field(("byte order mark", at::ENDIAN), ENDIAN_MARK, endian));
        }
        let unknown = self.u64_at(at::INCOMPATIBLE) & !Features::KNOWN_INCOMPATIBLE;
        if unknown != 0 {
            return Err(HeaderFault::Features { found: unknown });
        }
        let (found, expected) = (self.u32_at(at::CHECKSUM), checksum_of(&self.0));
        if found != expected {
            return Err(HeaderFault::Checksum { expected, found });
        }
        Ok(())
    }

    /// The sizes: each bounded before the next is computed from it.
    fn check_shape(&self, total_bytes: u64) -> Result<Shape, HeaderFault> {
        let unit = self.u64_at(at::UNIT);
        let capacity = self.u64_at(at::CAPACITY);
        let Some(shape) = Shape::new(unit, capacity) else {
            return Err(field(("capacity_bytes", at::CAPACITY), unit, capacity));
        };
        let header = self.u64_at(at::HEADER_BYTES);
        if header != shape.header_bytes() {
            let expected = shape.header_bytes();
            return Err(field(("header_bytes", at::HEADER_BYTES), expected, header));
        }
        let align = self.u64_at(at::RECORD_ALIGN);
        if align != ALIGN_BYTES {
            return Err(field(
                ("record_align", at::RECORD_ALIGN),
                ALIGN_BYTES,
                align,
            ));
        }
        if total_bytes != shape.total_bytes() {
            return Err(HeaderFault::Size {
                expected: shape.total_bytes(),
                found: total_bytes,
            });
        }
        Ok(shape)
    }

    pub(super) fn bytes_at<const N: usize>(&self, start: usize) -> [u8; N] {
        let mut out = [0; N];
        for (to, from) in out.iter_mut().zip(self.0.iter().skip(start)) {
            *to = *from;
        }
        out
    }

    pub(super) fn u64_at(&self, start: usize) -> u64 {
        u64::from_le_bytes(self.bytes_at(start))
    }

    pub(super) fn u32_at(&self, start: usize) -> u32 {
        u32::from_le_bytes(self.bytes_at(start))
    }
}

const fn field((field, offset): (&'static str, usize), expected: u64, found: u64) -> HeaderFault {
    HeaderFault::Field {
        field,
        offset,
        expected,
        found,
    }
}

/// CRC-32C over everything in front of the checksum field.
fn checksum_of(bytes: &[u8; HEADER_READ_BYTES]) -> u32 {
    let covered: &[u8] = bytes.split_at(at::CHECKSUM).0;
    crc32c::crc32c(covered)
}

impl HeaderFault {
    /// Whether this is, or was, a ring of this format that something has damaged; otherwise it is
    /// none that this process could read.
    pub(crate) const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Checksum { .. } | Self::Field { .. } | Self::Size { .. }
        )
    }

    /// Whether what was found begins as a ring does.
    pub(crate) const fn has_magic(&self) -> bool {
        !matches!(self, Self::Magic { .. } | Self::Unfinished)
    }

    /// The field's name, its offset in the ring, what is expected there and what was found.
    pub(crate) const fn place(&self) -> (&'static str, u64, u64, u64) {
        match *self {
            Self::Magic { found } => ("magic", at::MAGIC as u64, MAGIC, found),
            Self::Unfinished => ("magic", at::MAGIC as u64, MAGIC, 0),
            Self::Version { found } => (
                "format version",
                at::MAJOR as u64,
                FORMAT_MAJOR as u64,
                found as u64,
            ),
            Self::Features { found } => {
                let known = Features::KNOWN_INCOMPATIBLE;
                ("features", at::INCOMPATIBLE as u64, known, found)
            }
            Self::Checksum { expected, found } => (
                "header checksum",
                at::CHECKSUM as u64,
                expected as u64,
                found as u64,
            ),
            Self::Field {
                field,
                offset,
                expected,
                found,
            } => (field, offset as u64, expected, found),
            // What is there ends at the lesser of the two.
            Self::Size { expected, found } => {
                let end = if found < expected { found } else { expected };
                ("size in bytes", end, expected, found)
            }
            Self::KernelPage { expected, found } => {
                ("page size", at::KERNEL_PAGE as u64, expected, found)
            }
        }
    }
}

impl Identity {
    /// Whether records carry checksums.
    pub(crate) const fn checksummed(&self) -> bool {
        self.features.incompatible & Features::CHECKSUM != 0
    }

    /// Whether space is reused only once a checkpoint of the consumer has passed it.
    pub(crate) const fn durable(&self) -> bool {
        self.features.incompatible & Features::DURABLE != 0
    }

    /// The bytes of the identity page, as whole words to be stored in any order with the first
    /// one, the magic, last.
    pub(crate) fn encode(&self) -> [u64; HEADER_READ_BYTES / 8] {
        let mut bytes = [0_u8; HEADER_READ_BYTES];
        let mut put = |start: usize, field: &[u8]| {
            for (to, from) in bytes.iter_mut().skip(start).zip(field) {
                *to = *from;
            }
        };
        put(at::MAGIC, &MAGIC.to_le_bytes());
        put(at::MAJOR, &FORMAT_MAJOR.to_le_bytes());
        put(at::MINOR, &self.minor.to_le_bytes());
        put(at::COMPATIBLE, &self.features.compatible.to_le_bytes());
        put(
            at::READ_ONLY_COMPATIBLE,
            &self.features.read_only_compatible.to_le_bytes(),
        );
        put(at::INCOMPATIBLE, &self.features.incompatible.to_le_bytes());
        put(at::HEADER_BYTES, &self.shape.header_bytes().to_le_bytes());
        put(at::CAPACITY, &self.shape.capacity_bytes().to_le_bytes());
        put(at::ENDIAN, &ENDIAN_MARK.to_le_bytes());
        put(at::UNIT, &self.shape.unit_bytes().to_le_bytes());
        put(at::KERNEL_PAGE, &self.kernel_page_bytes.to_le_bytes());
        put(at::RECORD_ALIGN, &ALIGN_BYTES.to_le_bytes());
        put(at::MAX_MESSAGE, &self.max_message_bytes.to_le_bytes());
        put(at::UUID, &self.uuid);
        put(at::TAG, &self.application_tag);
        put(at::DEVICE, &self.device.to_le_bytes());
        put(at::INODE, &self.inode.to_le_bytes());
        put(at::CREATED, &self.created_unix_ns.to_le_bytes());
        let checksum = checksum_of(&bytes).to_le_bytes();
        for (to, from) in bytes.iter_mut().skip(at::CHECKSUM).zip(checksum) {
            *to = from;
        }
        let mut words = [0; HEADER_READ_BYTES / 8];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            for (index, byte) in (0_u32..).zip(chunk) {
                *word |= u64::from(*byte) << index.wrapping_mul(8); // index < 8
            }
        }
        words
    }
}

const _: () = assert!(HEADER_PAGES == 8);

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            shape: Shape::new(4096, 65536).unwrap(),
            features: Features {
                incompatible: Features::CHECKSUM,
                ..Features::default()
            },
            minor: FORMAT_MINOR,
            uuid: *b"0123456789abcdef",
            device: 7,
            inode: 8,
            created_unix_ns: 9,
            application_tag: *b"orders v3\0\0\0\0\0\0\0",
            max_message_bytes: 4096,
            kernel_page_bytes: 4096,
        }
    }

    fn bytes(identity: &Identity) -> [u8; HEADER_READ_BYTES] {
        let mut out = [0; HEADER_READ_BYTES];
        for (chunk, word) in out.chunks_exact_mut(8).zip(identity.encode()) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Goal: what is written is what is read.
    #[test]
    fn an_identity_round_trips() {
        let identity = identity();
        let header = UncheckedHeader::new(bytes(&identity));
        assert_eq!(header.check(98304, 4096), Ok(identity));
    }

    /// Goal: no single flipped bit is accepted. Method: flip each of the 2,048 in turn.
    #[test]
    fn every_flipped_bit_is_refused() {
        let good = bytes(&identity());
        for bit in 0..HEADER_READ_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            let verdict = UncheckedHeader::new(bad).check(98304, 4096);
            assert!(verdict.is_err(), "bit {bit} flipped and accepted");
        }
    }

    /// Goal: a size or page size that differs from the header's is its own fault.
    #[test]
    fn real_size_and_page_size_are_compared() {
        let header = UncheckedHeader::new(bytes(&identity()));
        for size in [0, 4096, 98303, 98305, u64::MAX] {
            let fault = HeaderFault::Size {
                expected: 98304,
                found: size,
            };
            assert_eq!(header.check(size, 4096), Err(fault));
        }
        let fault = HeaderFault::KernelPage {
            expected: 16384,
            found: 4096,
        };
        assert_eq!(header.check(98304, 16384), Err(fault));
    }
}
