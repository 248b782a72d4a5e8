//! The identity page as it is written, believed by nobody: for people who look at a ring.

use super::UncheckedHeader;
use super::header::at;

/// The fields of a ring's identity page as they are written, checked or not.
///
/// Only [`Header::magic`] is known to be right. Whether the rest is, [`Header::fault`] tells; the
/// fields are described in [`format`](mod@crate::format).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::struct_field_names,
    reason = "`header_bytes` is the format's name for it"
)]
pub struct Header {
    /// Bytes of the file or segment, as the kernel has it.
    pub total_bytes: u64,
    /// The first eight bytes: `RINGDUCT`.
    pub magic: [u8; 8],
    /// Format version, major.
    pub major: u32,
    /// Format version, minor.
    pub minor: u32,
    /// Features that may be ignored.
    pub compatible_features: u64,
    /// Features that bar writing where they are not known.
    pub read_only_compatible_features: u64,
    /// Features that bar everything where they are not known.
    pub incompatible_features: u64,
    /// Where the data starts.
    pub header_bytes: u64,
    /// Bytes of the data area.
    pub capacity_bytes: u64,
    /// Bytes of a page of the region.
    pub unit_bytes: u64,
    /// Bytes of a page of the kernel that made it.
    pub kernel_page_bytes: u64,
    /// What a record's start is a multiple of.
    pub record_align_bytes: u64,
    /// Bytes of the longest message.
    pub max_message_bytes: u64,
    /// The ring's own random id.
    pub uuid: [u8; 16],
    /// The tag its creator chose.
    pub application_tag: [u8; 16],
    /// Device of the file its creator made.
    pub device: u64,
    /// Inode of that file.
    pub inode: u64,
    /// When it was made, nanoseconds since 1970.
    pub created_unix_ns: u64,
    /// The checksum over all of this.
    pub checksum: u32,
    /// The first thing that is wrong with it, if something is.
    pub fault: Option<crate::examine::Fault>,
}

impl UncheckedHeader {
    /// All fields, as they are.
    pub(crate) fn fields(&self, total_bytes: u64) -> Header {
        Header {
            total_bytes,
            magic: self.bytes_at(at::MAGIC),
            major: self.u32_at(at::MAJOR),
            minor: self.u32_at(at::MINOR),
            compatible_features: self.u64_at(at::COMPATIBLE),
            read_only_compatible_features: self.u64_at(at::READ_ONLY_COMPATIBLE),
            incompatible_features: self.u64_at(at::INCOMPATIBLE),
            header_bytes: self.u64_at(at::HEADER_BYTES),
            capacity_bytes: self.u64_at(at::CAPACITY),
            unit_bytes: self.u64_at(at::UNIT),
            kernel_page_bytes: self.u64_at(at::KERNEL_PAGE),
            record_align_bytes: self.u64_at(at::RECORD_ALIGN),
            max_message_bytes: self.u64_at(at::MAX_MESSAGE),
            uuid: self.bytes_at(at::UUID),
            application_tag: self.bytes_at(at::TAG),
            device: self.u64_at(at::DEVICE),
            inode: self.u64_at(at::INODE),
            created_unix_ns: self.u64_at(at::CREATED),
            checksum: self.u32_at(at::CHECKSUM),
            fault: None,
        }
    }
}

impl Header {
    /// Whether it says that records carry checksums.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// use ringduct::Options;
    /// Options::new().checksum(true).create(&place)?;
    /// assert!(Options::new().header(&place)?.checksummed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn checksummed(&self) -> bool {
        self.incompatible_features & super::Features::CHECKSUM != 0
    }

    /// Whether it says that the ring was made to outlive a power cut.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let place = ringduct::Location::from(dir.path().join("x.ring"));
    /// use ringduct::Options;
    /// Options::new().create(&place)?;
    /// assert!(!Options::new().header(&place)?.is_durable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn is_durable(&self) -> bool {
        self.incompatible_features & super::Features::DURABLE != 0
    }
}
