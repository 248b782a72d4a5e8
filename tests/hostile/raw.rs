//! A ring's bytes, and a board on which processes leave notes, mapped without the library.
#![expect(
    unsafe_code,
    reason = "maps files, and touches bytes that another process touches"
)]
#![expect(
    clippy::disallowed_types,
    reason = "this program does not go through the library's door"
)]

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::process::Signal;

/// Bytes of a page of every ring in these tests.
pub(crate) const PAGE: usize = 4096;

/// Where in the file things are: see `FORMAT.md`.
pub(crate) const TX_PAGE: usize = PAGE;
pub(crate) const RX_PAGE: usize = 2 * PAGE;
pub(crate) const DATA: usize = 8 * PAGE;

/// Bytes of the identity page that have a meaning.
pub(crate) const IDENTITY_BYTES: usize = 256;

/// Bytes of a role's page that have a meaning, rounded up.
pub(crate) const ROLE_BYTES: usize = 704;

/// In a role's page.
pub(crate) const POSITION: usize = 0;
/// Consumer: whether it gives lines back.
pub(crate) const RETURNS: usize = 624;
/// Two slots of position, messages and bytes.
pub(crate) const ACCOUNT: [usize; 2] = [8, 32];
pub(crate) const PARKED: usize = 128;

/// A file, mapped shared and writable: all of it.
#[derive(Debug)]
pub(crate) struct Shared {
    start: *mut u8,
    length: usize,
}

impl Shared {
    /// Maps a file from its start to its end.
    pub(crate) fn map(file: &File) -> Self {
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a free place.
        let start = unsafe { mmap(ptr::null_mut(), length, rights, MapFlags::SHARED, file, 0) };
        Self {
            start: start.unwrap().cast(),
            length,
        }
    }

    /// Opens a file by its path and maps it.
    pub(crate) fn open(path: &str) -> Self {
        Self::map(&File::options().read(true).write(true).open(path).unwrap())
    }

    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    fn at(&self, offset: usize) -> *mut u8 {
        self.start.wrapping_add(offset)
    }

    fn cell(&self, offset: usize) -> &AtomicU64 {
        assert!(offset % 8 == 0 && offset + 8 <= self.length, "{offset}");
        // SAFETY: inside the mapping, which lives as long as `self`, and aligned; whole words are
        // all that is ever touched there while others run.
        unsafe { AtomicU64::from_ptr(self.at(offset).cast()) }
    }

    pub(crate) fn load(&self, offset: usize) -> u64 {
        self.cell(offset).load(Ordering::SeqCst)
    }

    pub(crate) fn store(&self, offset: usize, value: u64) {
        self.cell(offset).store(value, Ordering::SeqCst);
    }

    pub(crate) fn add(&self, offset: usize, more: u64) -> u64 {
        self.cell(offset).fetch_add(more, Ordering::SeqCst)
    }

    /// Copies bytes out, while nobody writes them.
    pub(crate) fn read(&self, offset: usize, out: &mut [u8]) {
        assert!(offset + out.len() <= self.length);
        // SAFETY: inside the mapping; the slice is another object.
        unsafe { ptr::copy_nonoverlapping(self.at(offset), out.as_mut_ptr(), out.len()) };
    }

    /// Copies bytes in, while nobody reads them.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length);
        // SAFETY: inside the mapping; the slice is another object.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(offset), bytes.len()) };
    }

    /// All bytes.
    pub(crate) fn all(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        self.read(0, &mut bytes);
        bytes
    }

    /// Bytes as a slice, for a victim to receive into: nobody else touches them while it runs, and
    /// it has one such slice at a time.
    #[expect(clippy::mut_from_ref, reason = "there is one at a time")]
    pub(crate) fn slice(&self, offset: usize, length: usize) -> &mut [u8] {
        assert!(offset + length <= self.length);
        // SAFETY: inside the mapping, initialised, and used by nobody else meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.at(offset), length) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: what `map` mapped; nothing borrows it any more.
        unsafe { munmap(self.start.cast(), self.length).unwrap() };
    }
}

/// A child must not outlive a test that was killed.
pub(crate) fn die_with_parent() {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
}

/// A descriptor by its number, which nobody else owns.
pub(crate) fn owned(number: i32) -> OwnedFd {
    // SAFETY: the caller took the number from a file that it gave up.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Stores to an address, whatever comes of it.
pub(crate) fn poke(address: usize) {
    let place: *mut u8 = ptr::with_exposed_provenance_mut(address);
    // SAFETY: the address is mapped; a store either works or ends this process, which is what its
    // caller is there for.
    unsafe { place.write_volatile(0) };
}

/// Takes a role for good, as `FORMAT.md` says: a lock on one byte of the file.
pub(crate) fn lock_byte(file: &File, byte: i64) {
    let wanted = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap(),
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the struct is valid and outlives the call.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &raw const wanted) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}
