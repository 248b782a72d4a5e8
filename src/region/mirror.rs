//! One address range for a ring: guard, header, data, the same data again, guard.
//!
//! ```text
//! PROT_NONE | header, 8 units | data, capacity bytes | the same data once more | PROT_NONE
//! ```
//!
//! Because the second copy follows the first without a gap, every record is contiguous. The range
//! is reserved first, so that nothing else can be mapped in between, and then mapped over at fixed
//! addresses; whatever fails on the way, dropping the reservation unmaps all of it.
#![expect(
    unsafe_code,
    reason = "maps, protects and locks ranges inside a reservation it owns"
)]

use core::ffi::c_void;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{MapFlags, MprotectFlags, MsyncFlags, ProtFlags};
use rustix::process::Resource;

use super::{Access, sysv, to_usize};
use crate::error::OpenError;
use crate::fork::{ForkToken, OwnMapping};
#[cfg(feature = "guard")]
use crate::guard::Region;
use crate::layout::{Page, Role, Shape, Slot};
use crate::memory::Extent;
use crate::options::{HugePages, MapExtras};

/// What a transparent huge page is aligned to on the machines we know.
const HUGE_ALIGN_BYTES: u64 = 2 << 20;

/// What to map.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    File(BorrowedFd<'a>),
    Segment(i32),
}

/// A ring in this process's memory, as raw bytes that others may change at any time.
///
/// It only hands out addresses. It can be shared between threads because nothing here reads or
/// writes what is mapped; those who do are in charge of how.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Header and both copies of the data. Before the range, since it goes first.
    #[cfg(feature = "guard")]
    guarded: Region,
    range: OwnMapping,
    /// From the start of the reservation to the header: at least one page of guard.
    start: usize,
    shape: Shape,
    /// The description that was mapped, where checkpoints are made through it. Each end has one of
    /// its own: the kernel tells each description of a lost write once.
    medium: Option<OwnedFd>,
}

impl Mapping {
    /// The sizes it was mapped with.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Keeps the description that was mapped, so that checkpoints can be made through it.
    pub(super) fn with_medium(mut self, medium: OwnedFd) -> Self {
        self.medium = Some(medium);
        self
    }

    /// The token of the process that mapped it. In a forked child nothing is mapped here.
    pub(crate) fn token(&self) -> ForkToken {
        self.range.token()
    }

    /// Alive in the process that mapped it, until a page of it was found missing.
    pub(crate) fn intact(&self) -> ForkToken {
        #[cfg(feature = "guard")]
        return self.guarded.intact();
        #[cfg(not(feature = "guard"))]
        self.token()
    }

    /// The offset in the ring of the access that found a page missing first.
    #[cfg(feature = "guard")]
    pub(crate) fn fault(&self) -> Option<u64> {
        let offset = self.guarded.fault()?;
        let again = offset.checked_sub(self.shape.total_bytes());
        Some(again.map_or(offset, |again| {
            again.saturating_add(self.shape.header_bytes())
        }))
    }

    /// Without the guard a missing page is a signal, and nothing is left to tell of it.
    #[cfg(not(feature = "guard"))]
    #[expect(clippy::unused_self, reason = "with the guard it knows")]
    pub(crate) fn fault(&self) -> Option<u64> {
        None
    }

    /// The address of a page of the header: `unit_bytes` long, aligned to it.
    pub(crate) fn page(&self, page: Page) -> *mut u8 {
        self.at(self.shape.page_offset(page))
    }

    /// The address of the data: `capacity_bytes` long, followed by the same bytes once more.
    pub(crate) fn data(&self) -> *mut u8 {
        self.at(self.shape.header_bytes())
    }

    /// The address of a checkpoint slot: a page of the header.
    pub(crate) fn slot(&self, slot: Slot) -> *mut u8 {
        self.at(slot.offset(self.shape))
    }

    /// Brings a part of the ring to the medium and waits for it; the kernel's number on failure.
    ///
    /// A range that is one piece goes through a ranged `msync`. Data that reaches round the end of
    /// the ring would need two of them, each with a flush of the device: then one `fdatasync` of
    /// the file does it, as for everything.
    pub(crate) fn sync(&self, extent: Extent) -> Result<(), i32> {
        let Some(medium) = self.medium.as_ref().filter(|_| self.token().is_owner()) else {
            return Err(Errno::OPNOTSUPP.raw_os_error());
        };
        let piece = match extent {
            Extent::Slot(slot) => Some((slot.offset(self.shape), self.shape.unit_bytes())),
            Extent::Data { from, to } => data_piece(self.shape, from, to),
            Extent::Everything => None,
        };
        let outcome = match piece {
            Some((offset, length)) => {
                let address = self.at(offset).cast();
                // SAFETY: whole pages of the header or of the first copy of the data, which this
                // value keeps mapped; writing back does not change what is in memory.
                unsafe { rustix::mm::msync(address, to_usize(length), MsyncFlags::SYNC) }
            }
            None => retry_on_intr(|| rustix::fs::fdatasync(medium)),
        };
        outcome.map_err(Errno::raw_os_error)?;
        // Neither call minds that pages are missing: there is nothing to write then. Only the size
        // is asked for: whoever asks for the times as well makes the kernel note a new one with the
        // next store, which is one more thing to journal in every sync.
        let found = rustix::fs::statx(medium, c"", AtFlags::EMPTY_PATH, StatxFlags::SIZE);
        let size = found.map_err(Errno::raw_os_error)?.stx_size;
        let is_whole = size >= self.shape.total_bytes();
        if !is_whole || !self.intact().is_owner() {
            return Err(Errno::IO.raw_os_error());
        }
        Ok(())
    }

    /// Takes the whole pages of the data between two positions, at most a capacity apart, out of
    /// this mapping. What was stored stays in the page cache, dirty if it was; who comes back there
    /// faults the page in again. Only saves time, so a refusal (locked memory) is none.
    pub(crate) fn let_go(&self, from: u64, to: u64) {
        let capacity = self.shape.capacity_bytes();
        let page = super::kernel_page_bytes();
        let mask = capacity.wrapping_sub(1);
        let (first, last) = (from & page.wrapping_neg(), to & page.wrapping_neg());
        let length = last.wrapping_sub(first);
        if !self.token().is_owner() || length > capacity {
            return;
        }
        let start = first & mask;
        // Round the end both copies may be mapped: the first runs on into the second.
        let round = start.wrapping_add(length).saturating_sub(capacity);
        for (at, length) in [(start, length), (0, round)] {
            if length == 0 {
                continue;
            }
            let address = self.at(self.shape.header_bytes().wrapping_add(at)).cast();
            let advice = rustix::mm::Advice::LinuxDontNeed;
            // SAFETY: whole pages of the data, which this value keeps mapped, in both copies. They
            // are a shared mapping of a file or segment: dropping its pages from the page table
            // changes no byte, and addresses stay valid.
            let _outcome = unsafe { rustix::mm::madvise(address, to_usize(length), advice) };
        }
    }

    /// Passes header and data, once, to `msync`. What that means depends on the backing.
    pub(crate) fn flush(&self, flags: MsyncFlags) -> io::Result<()> {
        let length = to_usize(self.shape.total_bytes());
        if !self.token().is_owner() {
            return Err(Errno::NOMEM.into()); // what the kernel says of unmapped addresses
        }
        // SAFETY: the range is the header and the first copy of the data, which this value keeps
        // mapped; writing back does not change what is in memory.
        unsafe { rustix::mm::msync(self.at(0).cast(), length, flags)? };
        Ok(())
    }

    /// The address `offset` bytes behind the start of the header: inside the range for every
    /// offset up to `total_bytes + capacity_bytes`.
    fn at(&self, offset: u64) -> *mut u8 {
        self.range
            .as_mut_ptr()
            .wrapping_add(self.start)
            .wrapping_add(to_usize(offset))
    }
}

/// Offset in the ring and length of the whole pages with the data from one position to another,
/// unless they reach round the end.
fn data_piece(shape: Shape, from: u64, to: u64) -> Option<(u64, u64)> {
    let capacity = shape.capacity_bytes();
    let page = super::kernel_page_bytes();
    let start = from & capacity.wrapping_sub(1);
    let first = start & page.wrapping_neg();
    let length = to
        .wrapping_sub(from)
        .checked_add(start.wrapping_sub(first))?;
    let length = length.checked_next_multiple_of(page)?;
    let fits = first.checked_add(length).is_some_and(|end| end <= capacity);
    fits.then(|| (shape.header_bytes().wrapping_add(first), length)) // inside the ring
}

/// Maps a ring. `shape` is at most as large as the object: the caller checked that.
pub(super) fn map(
    name: &str,
    source: Source<'_>,
    shape: Shape,
    access: Access,
    extras: MapExtras,
) -> Result<Mapping, OpenError> {
    let page_bytes = rustix::param::page_size();
    let kernel_page_bytes = u64::try_from(page_bytes).unwrap_or(u64::MAX);
    if shape.unit_bytes() < kernel_page_bytes {
        return Err(OpenError::Unsupported {
            name: name.to_owned(),
            property: "page size",
            expected: kernel_page_bytes,
            found: shape.unit_bytes(),
        });
    }
    let align = match extras.huge {
        HugePages::Try => shape.unit_bytes().max(HUGE_ALIGN_BYTES),
        HugePages::Never | HugePages::Always => shape.unit_bytes(),
    };
    let mapping = reserve(shape, to_usize(align), page_bytes)
        .map_err(|error| reserve_error(name, shape, error))?;
    let os = |action| move |error: io::Error| OpenError::os(name, action, error);
    match source {
        Source::File(file) => mapping.map_file(file, access),
        Source::Segment(id) => mapping.map_segment(id, access),
    }
    .map_err(os("map it"))?;
    if access != Access::Observe {
        // An observer's mapping writes nothing and pins no lock: a forked child may look on too.
        mapping
            .range
            .advise(Advice::DontFork)
            .map_err(os("keep its mapping out of forked children"))?;
    }
    mapping
        .protect(access, extras.writable_data)
        .map_err(os("protect its pages"))?;
    if extras.huge == HugePages::Try {
        // Only a wish: kernels and filesystems without such pages refuse it.
        let _outcome = mapping.range.advise_range(
            Advice::HugePage,
            mapping.start,
            to_usize(shape.total_bytes()).saturating_add(to_usize(shape.capacity_bytes())),
        );
    }
    if extras.lock_memory {
        mapping.lock(name)?;
    }
    if extras.prefault || extras.lock_memory {
        mapping.prefault(name, access, extras.writable_data)?;
    }
    Ok(mapping)
}

/// Reserves addresses for everything and a guard on each side.
fn reserve(shape: Shape, align: usize, page_bytes: usize) -> io::Result<Mapping> {
    let token = ForkToken::get()?;
    // At most 2^44 + 2^40 + 2^41: no sum here can wrap.
    let used = to_usize(shape.total_bytes()).saturating_add(to_usize(shape.capacity_bytes()));
    let length = used
        .saturating_add(align)
        .saturating_add(page_bytes.saturating_mul(2));
    let mut options = MmapOptions::new();
    let reserved = MmapRaw::from(options.len(length).no_reserve_swap().map_anon()?);
    let range = OwnMapping::new(reserved, token);
    let address = range.as_mut_ptr();
    // SAFETY: exactly the private mapping made above, which nobody else knows of.
    unsafe { rustix::mm::mprotect(address.cast(), length, MprotectFlags::empty())? };
    // One page of guard, then up to the next multiple of `align`, a power of two.
    let behind_guard = address.addr().saturating_add(page_bytes);
    let aligned = behind_guard.saturating_add(align.wrapping_sub(1)) & align.wrapping_neg();
    let start = aligned.wrapping_sub(address.addr());
    Ok(Mapping {
        #[cfg(feature = "guard")]
        guarded: Region::new(address.wrapping_add(start), used, shape.unit_bytes())?,
        start,
        range,
        shape,
        medium: None,
    })
}

fn reserve_error(name: &str, shape: Shape, error: io::Error) -> OpenError {
    if error.kind() == io::ErrorKind::OutOfMemory {
        OpenError::NoSpace {
            name: name.to_owned(),
            needed_bytes: shape.total_bytes(),
            source: error,
        }
    } else {
        OpenError::os(name, "reserve addresses for it", error)
    }
}

/// A piece of the range that one party writes.
struct Section {
    offset: u64,
    length: u64,
    writable: bool,
}

/// The eight pages of the header and both copies of the data.
fn sections(shape: Shape, access: Access) -> [Section; 10] {
    let by = |writer: Option<Role>| match access {
        Access::Create | Access::Pair => true,
        Access::Observe => false,
        Access::End(role) => writer == Some(role),
    };
    let (producer, consumer) = (Some(Role::Producer), Some(Role::Consumer));
    let unit = shape.unit_bytes();
    let page = |page: Page, after: u64, writer| Section {
        offset: shape
            .page_offset(page)
            .wrapping_add(after.wrapping_mul(unit)), // below 8 units
        length: unit,
        writable: by(writer),
    };
    let data = |offset| Section {
        offset,
        length: shape.capacity_bytes(),
        writable: by(producer),
    };
    [
        page(Page::Identity, 0, None),
        page(Page::Producer, 0, producer),
        page(Page::Consumer, 0, consumer),
        page(Page::ProducerCheckpoint, 0, producer),
        page(Page::ProducerCheckpoint, 1, producer),
        page(Page::ConsumerCheckpoint, 0, consumer),
        page(Page::ConsumerCheckpoint, 1, consumer),
        page(Page::ConsumerCheckpoint, 2, None), // the spare one
        data(shape.header_bytes()),
        data(shape.total_bytes()),
    ]
}

impl Mapping {
    fn map_file(&self, file: BorrowedFd<'_>, access: Access) -> io::Result<()> {
        let rights = match access {
            // A read-only description cannot be mapped any other way.
            Access::Observe => ProtFlags::READ,
            Access::Create | Access::Pair | Access::End(_) => ProtFlags::READ | ProtFlags::WRITE,
        };
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        let total = to_usize(self.shape.total_bytes());
        // SAFETY: replaces the first `total` bytes behind the guard of our own reservation, in
        // which nothing lives yet; the reservation is longer than that by a capacity and a guard.
        unsafe { rustix::mm::mmap(self.at(0).cast(), total, rights, flags, file, 0)? };
        let header_bytes = self.shape.header_bytes();
        let again = self.at(self.shape.total_bytes()).cast();
        let capacity = to_usize(self.shape.capacity_bytes());
        // SAFETY: replaces the `capacity` bytes that follow in the same reservation, where
        // nothing lives either; a guard of at least a page stays behind them.
        unsafe { rustix::mm::mmap(again, capacity, rights, flags, file, header_bytes)? };
        Ok(())
    }

    /// A segment can only be attached whole. So it goes to the upper place first, where its data
    /// is the second copy, and then to the lower one, over the header of the first attach.
    fn map_segment(&self, id: i32, access: Access) -> io::Result<()> {
        let read_only = access == Access::Observe;
        for offset in [self.shape.capacity_bytes(), 0] {
            let address: *mut c_void = self.at(offset).cast();
            // SAFETY: the segment is `total_bytes` long, which the caller checked (a segment never
            // changes its size), and both places end before the guard of our own reservation, in
            // which nothing lives yet but the other attach of the same segment.
            unsafe { sysv::attach_over(id, address, read_only)? };
        }
        Ok(())
    }

    /// Takes away the right to write what this access does not write; the right to write the data
    /// may be left to a consumer, who does not need it.
    fn protect(&self, access: Access, writable_data: bool) -> io::Result<()> {
        for section in sections(self.shape, access) {
            if self.is_writable(&section, access, writable_data) {
                continue;
            }
            let (address, length) = self.extent(&section);
            // SAFETY: whole pages of the range that this value keeps mapped; taking away the right
            // to write cannot break a reference, because nothing refers to mapped bytes yet.
            unsafe { rustix::mm::mprotect(address.cast(), length, MprotectFlags::READ)? };
        }
        Ok(())
    }

    fn is_writable(&self, section: &Section, access: Access, writable_data: bool) -> bool {
        let is_data = section.offset >= self.shape.header_bytes();
        section.writable || is_data && writable_data && access == Access::End(Role::Consumer)
    }

    /// Allocates every page, where the object has not done so: writes nothing.
    pub(super) fn populate(&self, name: &str) -> Result<(), OpenError> {
        self.prefault(name, Access::Create, true)
    }

    fn prefault(&self, name: &str, access: Access, writable_data: bool) -> Result<(), OpenError> {
        for section in sections(self.shape, access) {
            let advice = if self.is_writable(&section, access, writable_data) {
                Advice::PopulateWrite
            } else {
                Advice::PopulateRead
            };
            let length = to_usize(section.length);
            let offset = self.start.wrapping_add(to_usize(section.offset)); // inside the range
            self.range
                .advise_range(advice, offset, length)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::OutOfMemory => OpenError::NoSpace {
                        name: name.to_owned(),
                        needed_bytes: self.shape.total_bytes(),
                        source: error,
                    },
                    io::ErrorKind::InvalidInput => {
                        OpenError::os(name, "prefault its pages (Linux 5.14 or newer)", error)
                    }
                    _ => OpenError::os(
                        name,
                        "prefault its pages (plain use would have raised SIGBUS)",
                        error,
                    ),
                })?;
        }
        Ok(())
    }

    /// Locks header and data once: the second copy is the same memory and needs no second lock.
    fn lock(&self, name: &str) -> Result<(), OpenError> {
        let total_bytes = self.shape.total_bytes();
        let address = self.at(0).cast();
        // SAFETY: the range is the header and the first copy of the data, which this value keeps
        // mapped; locking changes no byte.
        let Err(errno) = (unsafe { rustix::mm::mlock(address, to_usize(total_bytes)) }) else {
            return Ok(());
        };
        let limit = rustix::process::getrlimit(Resource::Memlock).current;
        match (errno, limit) {
            (Errno::PERM | Errno::NOMEM | Errno::AGAIN, Some(limit)) => {
                Err(OpenError::InvalidOption {
                    option: "lock_memory",
                    found: format!("true, which takes {total_bytes} bytes"),
                    expected: format!(
                        "false, or true under a higher memlock limit: it is {limit} bytes for all \
                         that this process locks (ulimit -l, LimitMEMLOCK)"
                    ),
                })
            }
            _ => Err(super::space_error(
                name,
                total_bytes,
                "lock its memory",
                errno,
            )),
        }
    }

    fn extent(&self, section: &Section) -> (*mut u8, usize) {
        (self.at(section.offset), to_usize(section.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is synced covers what was asked for, in whole pages, and a range that reaches
    /// round the end of the ring is not cut off there. Method: every pair of word positions in two
    /// laps of a ring of two pages, from several laps on, compared with the pages of each byte.
    #[test]
    fn synced_pieces_cover_the_range() {
        let shape = Shape::new(4096, 8192).unwrap();
        for lap in [0, 1, 1 << 40] {
            for from in (0..8192_u64).step_by(8 * 31) {
                for length in (8..=8192_u64).step_by(8 * 29) {
                    let base = 8192 * lap + from;
                    let found = data_piece(shape, base, base + length);
                    let first = from / 4096 * 4096;
                    let end = (from + length).next_multiple_of(4096);
                    let expected = (end <= 8192).then(|| (32768 + first, end - first));
                    assert_eq!(found, expected, "{base} {length}");
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    impl Mapping {
        /// The whole reservation: its first address and its length.
        pub(in crate::region) fn reservation(&self) -> (*mut u8, usize) {
            (self.range.as_mut_ptr(), self.range.len())
        }

        /// The address `offset` bytes behind the header's start.
        pub(in crate::region) fn address(&self, offset: u64) -> *mut u8 {
            self.at(offset)
        }
    }
}
