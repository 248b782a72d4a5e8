//! Anonymous memory that a process shares with the child it forks.
#![expect(unsafe_code, reason = "maps memory")]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// A mapping shared with a forked child.
#[derive(Debug)]
pub struct Shared {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is reached through atomics and raw pointers only.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    /// Maps `bytes` of zeros, every page present.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self { start, bytes })
    }

    /// The start of the bytes.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The word at the start of cache-line pair `index`.
    ///
    /// # Panics
    ///
    /// When the memory is shorter.
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!((index + 1) * 128 <= self.bytes, "word outside the mapping");
        // SAFETY: inside the mapping, just checked.
        let at = unsafe { self.start.as_ptr().add(index * 128) };
        // SAFETY: aligned, as 128 divides the offset and pages are aligned; zeros are a valid
        // atomic; mapped as long as `self` lives; only accessed as an atomic.
        unsafe { AtomicU64::from_ptr(at.cast()) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; nobody borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
