//! The ranges that are guarded, where a signal handler can read them.
//!
//! Pages of slots, in a chain that only grows. A page is wiped by the kernel in every forked child,
//! and begins with a word that says that it was not: so a child begins a chain of its own, and no
//! slot that its parent used is ever used there. A slot is taken, filled and published with one
//! word, its version, and read between two looks at that word.

use core::mem::ManuallyDrop;
use std::io;

use crate::fork::{self, ForkToken};
use crate::sync::{LocalPointer, LocalWord};

/// What a page begins with unless it was wiped.
const ALIVE: u64 = fork::ALIVE;

/// The first page of this process, or of an ancestor.
static FIRST: LocalPointer = LocalPointer::null();

/// As many as fit a page of any machine, with a slot's room for what comes before them.
const SLOTS: usize = 63;

/// A page of the table.
#[derive(Debug)]
#[repr(C)]
struct Page {
    alive: LocalWord,
    next: LocalPointer,
    reserved: [u64; 6],
    slots: [Slot; SLOTS],
}

const _: () = assert!(size_of::<Page>() == 4096, "no page is smaller");

/// One guarded range.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Slot {
    /// Counts up; two low bits: [`FREE`], [`CHANGING`] or [`LIVE`].
    version: LocalWord,
    /// [`ALIVE`] until a fault was met: what tokens look at.
    intact: LocalWord,
    start: LocalWord,
    end: LocalWord,
    /// Bytes of a page of what is mapped.
    unit: LocalWord,
    /// The address of the first fault; zero for none.
    fault: LocalWord,
    reserved: [u64; 2],
}

const _: () = assert!(size_of::<Slot>() == 64);

const FREE: u64 = 0;
const CHANGING: u64 = 1;
const LIVE: u64 = 2;
const STATE: u64 = 3;

impl Page {
    /// The page behind a pointer of the chain, if it was not wiped.
    fn at(pointer: &LocalPointer) -> Option<&'static Self> {
        let start = pointer.load().cast::<Self>();
        // SAFETY: the chain holds nothing but the starts of pages that are never unmapped, page
        // aligned and as long as this. All zeros, which is how they begin and what the kernel wipes
        // them to, is a valid value; everything in them is atomic, or never looked at.
        let page = unsafe { start.as_ref() }?;
        (page.alive.load() == ALIVE).then_some(page)
    }

    /// The page behind a pointer of the chain; a new one where there is none that is alive.
    fn at_or_new(pointer: &LocalPointer) -> io::Result<&'static Self> {
        loop {
            if let Some(page) = Self::at(pointer) {
                return Ok(page);
            }
            let current = pointer.load();
            let (page, word) = fork::wiped_on_fork()?;
            if pointer.replace(current, word.as_ptr()) {
                let _forever = ManuallyDrop::new(page);
            }
            // Otherwise another thread was faster, and ours goes away, never seen.
        }
    }
}

impl Slot {
    /// Takes the slot for a range, if it is free.
    fn take(&self, start: usize, end: usize, unit: u64) -> bool {
        let version = self.version.load();
        let changing = version.wrapping_add(CHANGING);
        if version & STATE != FREE || !self.version.replace(version, changing) {
            return false;
        }
        self.intact.store(ALIVE);
        self.fault.store(0);
        self.start.store(start as u64);
        self.end.store(end as u64);
        self.unit.store(unit);
        self.version.store(version.wrapping_add(LIVE));
        true
    }

    fn give_back(&self) {
        let version = self.version.load() & !STATE;
        self.version.store(version.wrapping_add(STATE + 1)); // the next one that is free
    }

    /// The range, if there is one and `address` lies in it.
    fn covers(&'static self, address: u64) -> Option<Hit> {
        let version = self.version.load();
        if version & STATE != LIVE {
            return None;
        }
        let (start, end, unit) = (self.start.load(), self.end.load(), self.unit.load());
        // Each of these loads keeps its place before this one: they are acquire loads.
        let same = self.version.load() == version;
        (same && start <= address && address < end).then_some(Hit {
            slot: self,
            start,
            end,
            unit,
        })
    }
}

/// A fault that lies in a guarded range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    slot: &'static Slot,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) unit: u64,
}

impl Hit {
    /// Says that what is mapped there is not what it should be: before it is changed.
    pub(super) fn note(&self, address: u64) {
        self.slot.fault.replace(0, address);
        self.slot.intact.store(0);
    }
}

/// The guarded range that `address` lies in. Only loads: for the handler.
pub(super) fn find(address: u64) -> Option<Hit> {
    let mut page = Page::at(&FIRST);
    while let Some(this) = page {
        for slot in &this.slots {
            if let Some(hit) = slot.covers(address) {
                return Some(hit);
            }
        }
        page = Page::at(&this.next);
    }
    None
}

/// A range that is guarded as long as this lives: give it back before the range is unmapped.
#[derive(Debug)]
pub(crate) struct Region {
    slot: &'static Slot,
    start: u64,
    /// Of the process that mapped it.
    token: ForkToken,
}

impl Region {
    /// Guards `length` bytes from `start` on, mapped in pages of `unit` bytes.
    pub(crate) fn new(start: *mut u8, length: usize, unit: u64) -> io::Result<Self> {
        let token = ForkToken::get()?;
        let end = start.addr().saturating_add(length);
        let mut page = Page::at_or_new(&FIRST)?;
        loop {
            for slot in &page.slots {
                if slot.take(start.addr(), end, unit) {
                    return Ok(Self {
                        slot,
                        start: start.addr() as u64,
                        token,
                    });
                }
            }
            page = Page::at_or_new(&page.next)?;
        }
    }

    /// Alive in the process that mapped the range, until a fault was met in it.
    pub(crate) fn intact(&self) -> ForkToken {
        ForkToken::over(&self.slot.intact)
    }

    /// How many bytes behind its start the first fault was met. Never seen in a forked child.
    pub(crate) fn fault(&self) -> Option<u64> {
        let address = self.slot.fault.load();
        (address != 0).then(|| address.wrapping_sub(self.start))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.token.is_owner() {
            self.slot.give_back();
        }
    }
}
