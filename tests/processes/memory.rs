//! An allocator that ends the process where nothing may be allocated.
#![expect(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::kernel;

/// What a process ends with that allocates where it may not.
pub(crate) const FORBIDDEN_CODE: i32 = 99;

static FORBIDDEN: AtomicI32 = AtomicI32::new(0);

/// Every allocation of this process is its last, from now on.
pub(crate) fn forbid() {
    FORBIDDEN.store(1, Ordering::SeqCst);
}

struct Watched;

#[global_allocator]
static WATCHED: Watched = Watched;

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if FORBIDDEN.load(Ordering::Relaxed) != 0 {
            kernel::exit_at_once(FORBIDDEN_CODE);
        }
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
