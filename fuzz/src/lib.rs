//! What the fuzz targets share: small rings, and a hostile peer that writes any word of them.
//!
//! The peer holds a descriptor of the ring's memory file and writes through it, which every mapping
//! sees at once. It needs no unsafe code, and it is deterministic: it writes between the library's
//! calls, and in the middle of those that call back.

mod limit;
pub mod medium;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use arbitrary::Arbitrary;
use ringduct::{Location, Options, Ring, Role};
use rustix::fs::{MemfdFlags, SealFlags};

/// Bytes of a page, of which the header of a ring has eight.
pub const PAGE_BYTES: u64 = 4096;

/// Offset of the data area.
pub const DATA_OFFSET: u64 = 8 * PAGE_BYTES;

/// The data area of the rings used here: the smallest, so that positions wrap soon.
pub const CAPACITY_BYTES: u64 = PAGE_BYTES;

/// The longest message that fits such a ring.
pub const LONGEST_BYTES: usize = 4096 - 16;

/// The longest message of a ring that was made with a limit of its own.
pub const LIMITED_BYTES: usize = 1001;

/// At most so many steps of one input are run.
pub const MOST_STEPS: usize = 96;

/// Offsets of words in a role's page, as `FORMAT.md` has them.
pub mod word {
    /// A side's position.
    pub const POSITION: u64 = 0;
    /// Position, messages and bytes: the two slots of its account.
    pub const ACCOUNT: [[u64; 3]; 2] = [[8, 16, 24], [32, 40, 48]];
    /// Session that closed.
    pub const CLOSED_SESSION: u64 = 520;
    /// Of the boot, the low half.
    pub const BOOT_ID: u64 = 560;
    /// The number of the mount.
    pub const MOUNT: u64 = 688;
    /// Every word that has a meaning.
    pub const ALL: [u64; 27] = [
        0, 8, 16, 24, 32, 40, 48, 128, 136, 256, 384, 392, 400, 512, 520, 528, 552, 560, 568, 576,
        584, 592, 600, 608, 616, 640, 1016,
    ];
    /// Those, and the ones that only durable rings have.
    pub const DURABLE_TOO: [u64; 34] = [
        0, 8, 16, 24, 32, 40, 48, 128, 136, 256, 384, 392, 400, 512, 520, 528, 536, 544, 552, 560,
        568, 576, 584, 592, 600, 608, 616, 640, 648, 656, 664, 672, 680, 688,
    ];
}

/// A ring to begin with.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Fresh {
    /// Whether records carry checksums.
    pub checksum: bool,
    /// Whether its longest message is [`LIMITED_BYTES`].
    pub limited: bool,
    /// Where both ends begin, rounded down to a multiple of eight.
    pub start: u64,
}

impl Fresh {
    /// Makes it in a memory file, with a descriptor to play the hostile peer with.
    pub fn make(self) -> (Ring, Region) {
        let options = Options::new()
            .capacity_bytes(CAPACITY_BYTES)
            .max_message_bytes(self.longest_bytes() as u64)
            .checksum(self.checksum)
            .writable_data(!self.limited);
        let ring = options.create_memfd("fuzz").expect("a ring can be made");
        let region = Region::of(&ring);
        region.start_at(self.position());
        (ring, region)
    }

    /// The position of the first record.
    pub fn position(self) -> u64 {
        self.start & !7
    }

    /// Bytes of its longest message.
    pub fn longest_bytes(self) -> usize {
        if self.limited {
            LIMITED_BYTES
        } else {
            LONGEST_BYTES
        }
    }
}

/// The bytes of a ring, as somebody sees them who can write all of them.
#[derive(Debug)]
pub struct Region {
    file: File,
    uuid: [u8; 16],
    checksum: bool,
}

impl Region {
    /// Opens the memory of a ring.
    pub fn of(ring: &Ring) -> Self {
        Self {
            file: File::from(ring.descriptor().expect("a descriptor can be had")),
            uuid: ring.uuid(),
            checksum: ring.checksum(),
        }
    }

    /// Makes a memory file of these bytes and this size, sealed as told.
    pub fn raw(bytes: &[u8], size: u64, seals: SealFlags) -> File {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("fuzz-raw", flags).expect("a memory file can be made");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::fchmod(&file, mode).expect("its mode can be set");
        let file = File::from(file);
        file.set_len(size).expect("it can be extended");
        let fits = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len());
        file.write_all_at(&bytes[..fits], 0)
            .expect("it can be written");
        rustix::fs::fcntl_add_seals(&file, seals).expect("it can be sealed");
        file
    }

    /// Everything, header and data.
    pub fn image(&self) -> Vec<u8> {
        image_of(&self.file)
    }

    /// Writes everything again from an offset on.
    pub fn set_image(&self, image: &[u8], from: u64) {
        self.write(from, &image[usize::try_from(from).expect("small")..]);
    }

    /// Whether records carry checksums.
    pub fn checksum(&self) -> bool {
        self.checksum
    }

    /// Where others open it.
    pub fn location(&self) -> Location {
        Location::Fd(self.file.as_raw_fd())
    }

    /// Reads one word at any offset of the file.
    pub fn get(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file
            .read_exact_at(&mut bytes, offset)
            .expect("a word inside the region");
        u64::from_le_bytes(bytes)
    }

    /// Writes one word at any offset of the file.
    pub fn set(&self, offset: u64, value: u64) {
        self.write(offset, &value.to_le_bytes());
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.file
            .write_all_at(bytes, offset)
            .expect("bytes inside the region");
    }

    /// Reads data from a position on, round the end of the data area.
    pub fn data(&self, position: u64, bytes: usize) -> Vec<u8> {
        let mut area = [0; 4096];
        self.file
            .read_exact_at(&mut area, DATA_OFFSET)
            .expect("the data area");
        let start = usize::try_from(position % CAPACITY_BYTES).expect("small");
        area.iter()
            .cycle()
            .skip(start)
            .take(bytes)
            .copied()
            .collect()
    }

    /// Writes data from a position on, round the end of the data area.
    pub fn set_data(&self, position: u64, bytes: &[u8]) {
        let start = position % CAPACITY_BYTES;
        let before_end = usize::try_from(CAPACITY_BYTES - start).expect("small");
        let (first, second) = bytes.split_at(before_end.min(bytes.len()));
        self.write(DATA_OFFSET + start, first);
        self.write(DATA_OFFSET, second);
    }

    /// The commit word of an intact record at a position, checksummed if the ring is.
    pub fn commit_word(&self, position: u64, payload: &[u8]) -> u64 {
        let stored_length = payload.len() as u64 + 1;
        if !self.checksum {
            return stored_length;
        }
        let sum = crc32c::crc32c(&self.uuid);
        let sum = crc32c::crc32c_append(sum, &position.to_le_bytes());
        let sum = crc32c::crc32c_append(sum, &(payload.len() as u64).to_le_bytes());
        let sum = crc32c::crc32c_append(sum, payload);
        stored_length | (u64::from(sum) << 32)
    }

    /// Writes an intact record at a position, and an empty word behind it; gives its end.
    pub fn put_record(&self, position: u64, payload: &[u8]) -> u64 {
        let end = position.wrapping_add(record_bytes(payload.len()));
        self.set_data(position.wrapping_add(8), payload);
        self.set_data(end, &[0; 8]);
        self.set_data(position, &self.commit_word(position, payload).to_le_bytes());
        end
    }

    /// Fills the whole ring with records of one size, 8 bytes to 2 KiB, that meet round its end: no
    /// empty word is left to stop at.
    pub fn put_chain(&self, position: u64, size: u8) {
        let record = 8_u64 << (size % 9);
        let message = vec![size; usize::try_from(record - 8).expect("small")];
        let starts = (0..CAPACITY_BYTES).step_by(message.len() + 8);
        for at in starts.map(|offset| position.wrapping_add(offset)) {
            self.set_data(at.wrapping_add(8), &message);
            self.set_data(at, &self.commit_word(at, &message).to_le_bytes());
        }
    }

    /// Makes both ends start here instead of at zero, while nobody is attached yet.
    fn start_at(&self, position: u64) {
        for page in [PAGE_BYTES, 2 * PAGE_BYTES] {
            self.set(page + word::POSITION, position);
            for [offset, ..] in word::ACCOUNT {
                self.set(page + offset, position);
            }
        }
    }
}

/// Everything that a file holds.
pub fn image_of(file: &File) -> Vec<u8> {
    let size = file.metadata().expect("a size").len();
    let mut bytes = vec![0; usize::try_from(size).expect("small")];
    file.read_exact_at(&mut bytes, 0).expect("readable");
    bytes
}

/// Makes the checksum of a header right again.
pub fn seal_header(image: &mut [u8]) {
    if let Some((header, _)) = image.split_at_mut_checked(256) {
        let (covered, checksum) = header.split_at_mut(252);
        checksum.copy_from_slice(&crc32c::crc32c(covered).to_le_bytes());
    }
}

/// Bytes that a record with this payload takes.
pub fn record_bytes(message_bytes: usize) -> u64 {
    (message_bytes as u64).next_multiple_of(8) + 8
}

/// A payload that differs from its neighbours in length and in bytes.
pub fn payload(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|index| seed.wrapping_add((index % 251) as u8))
        .collect()
}

/// A word of the region.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Place {
    /// A field of the identity page.
    Identity(u8),
    /// A word with a meaning in the producer's page.
    Producer(u8),
    /// A word with a meaning in the consumer's page.
    Consumer(u8),
    /// A word of the data.
    Data(u16),
    /// A word of the data, so many words behind a position of interest.
    Ahead(u8),
}

impl Place {
    /// The offset of the word; `here` is the position of interest.
    pub fn offset(self, here: u64) -> u64 {
        let words = CAPACITY_BYTES / 8;
        let known = |number: u8| word::ALL[usize::from(number) % word::ALL.len()];
        match self {
            Self::Identity(number) => u64::from(number % 32) * 8,
            Self::Producer(number) => PAGE_BYTES + known(number),
            Self::Consumer(number) => 2 * PAGE_BYTES + known(number),
            Self::Data(number) => DATA_OFFSET + (u64::from(number) % words) * 8,
            Self::Ahead(number) => {
                let index = (here / 8).wrapping_add(u64::from(number)) % words;
                DATA_OFFSET + index * 8
            }
        }
    }

    /// Confines the place to what one role may write, as far as the kernel enforces it.
    #[must_use]
    pub fn of(self, role: Role) -> Self {
        match (self, role) {
            (Self::Identity(n) | Self::Consumer(n), Role::Producer) => Self::Producer(n),
            (Self::Identity(n) | Self::Producer(n) | Self::Ahead(n), Role::Consumer) => {
                Self::Consumer(n)
            }
            (Self::Data(n), Role::Consumer) => Self::Consumer((n % 256) as u8),
            (place, _) => place,
        }
    }
}

/// What a word becomes.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Value {
    /// Any number.
    Set(u64),
    /// A small number.
    Small(u8),
    /// What was there, one bit changed.
    Flip(u8),
    /// What was there, and a little more or less.
    Add(i16),
    /// What was there, and some capacities more or less.
    Laps(i8),
    /// A power of two.
    Power(u8),
    /// The position of interest, and some words more or less.
    Near(i8),
}

/// One word written by somebody hostile.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Edit {
    /// Which one.
    pub place: Place,
    /// What is written.
    pub value: Value,
}

impl Edit {
    /// Writes it; `here` is the position of interest.
    pub fn apply(self, region: &Region, here: u64) {
        let offset = self.place.offset(here);
        let value = self.value.of(region.get(offset), here);
        region.set(offset, value);
    }

    /// Writes it to a copy of a region.
    pub fn apply_to(self, image: &mut [u8], here: u64) {
        let offset = usize::try_from(self.place.offset(here)).expect("small");
        let old = image[offset..].first_chunk().copied().expect("inside");
        let value = self.value.of(u64::from_le_bytes(old), here);
        image[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
}

impl Value {
    /// The new value; `here` is the position of interest.
    pub fn of(self, old: u64, here: u64) -> u64 {
        match self {
            Self::Set(value) => value,
            Self::Small(value) => u64::from(value),
            Self::Flip(bit) => old ^ (1 << (bit % 64)),
            Self::Add(more) => old.wrapping_add_signed(i64::from(more)),
            Self::Laps(laps) => old.wrapping_add_signed(i64::from(laps) * 4096),
            Self::Power(exponent) => 1 << (exponent % 64),
            Self::Near(words) => here.wrapping_add_signed(i64::from(words) * 8),
        }
    }
}
