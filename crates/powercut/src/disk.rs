//! A file of words in a page cache that can lose power: every store and every sync is recorded.
//!
//! Memory always holds the newest words, as a page cache does. What a disk may hold is worked out
//! from the record by [`crate::image`].

use crate::lazy::Undecided;
use crate::protocol::{Carrier, UNIT_BYTES};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Something that happened to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A word changed, or was stored again with the value it had.
    Store {
        /// Which word.
        word: u32,
        /// Its value before.
        old: u64,
        /// Its value since.
        new: u64,
    },
    /// A sync was asked for; it writes the pages that are dirty now.
    Begin {
        /// First word asked for.
        from: u32,
        /// First word after those asked for.
        to: u32,
        /// Whether the medium refuses: then the pages are clean and the words are not on it.
        fails: bool,
    },
    /// A sync came back.
    End {
        /// The number of the event that began it.
        begin: u32,
        /// Whether it said so.
        ok: bool,
    },
}

/// One opening of the file, by one process.
#[derive(Debug)]
struct Opening {
    /// Events the process still lives for.
    left: u32,
    /// An error of another opening's sync, to be told once.
    pending: Option<i32>,
}

/// The file.
pub struct Disk {
    words: Box<[Cell<u64>]>,
    log: RefCell<Vec<Event>>,
    openings: RefCell<Vec<Opening>>,
    /// Some process of this record is dead or going to die.
    mortal: Cell<bool>,
    /// Syncs to come until one fails, and how.
    failure: Cell<Option<(u32, i32)>>,
    /// A failing sync is on its way: whoever syncs meanwhile hears of it.
    failing: Cell<Option<i32>>,
    hook: RefCell<Option<Box<dyn FnOnce()>>>,
    /// Words of which no version was chosen yet.
    lazy: RefCell<Option<Undecided>>,
    is_lazy: Cell<bool>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("words", &self.words.len())
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// A file of zeros.
    pub fn new(total_bytes: u64) -> Rc<Self> {
        let count = total_bytes.div_ceil(8);
        Rc::new(Self {
            words: (0..count).map(|_| Cell::new(0)).collect(),
            log: RefCell::default(),
            openings: RefCell::default(),
            mortal: Cell::new(false),
            failure: Cell::new(None),
            failing: Cell::new(None),
            hook: RefCell::default(),
            lazy: RefCell::default(),
            is_lazy: Cell::new(false),
        })
    }

    /// Opens the file, as a process does.
    pub fn open(self: &Rc<Self>) -> Handle {
        let mut openings = self.openings.borrow_mut();
        openings.push(Opening {
            left: u32::MAX,
            pending: None,
        });
        Handle {
            disk: Rc::clone(self),
            opening: openings.len() - 1,
        }
    }

    /// Words of the file.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether the file has no word.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// A word as the page cache has it.
    pub fn word(&self, word: u32) -> u64 {
        self.words[word as usize].get()
    }

    /// Sets a word of the medium, outside the record.
    pub fn set_word(&self, word: u32, value: u64) {
        self.words[word as usize].set(value);
    }

    /// Makes this file's words those of another of the same size.
    pub fn copy_from(&self, other: &Self) {
        for (mine, its) in self.words.iter().zip(&other.words) {
            mine.set(its.get());
        }
    }

    /// Events recorded so far.
    pub fn events(&self) -> usize {
        self.log.borrow().len()
    }

    /// The record.
    pub fn log(&self) -> std::cell::Ref<'_, Vec<Event>> {
        self.log.borrow()
    }

    /// Begins a new record: everything so far is on the medium. No error is left to be told.
    pub fn settle(&self) {
        self.log.borrow_mut().clear();
        self.openings.borrow_mut().clear();
        self.mortal.set(false);
        self.failure.set(None);
        self.failing.set(None);
        *self.hook.borrow_mut() = None;
    }

    /// Begins a new record: everything so far is on the medium. The openings stay.
    pub fn forget_log(&self) {
        self.log.borrow_mut().clear();
    }

    /// Undoes the record, newest event first, and forgets it.
    pub fn rewind(&self) {
        let mut log = self.log.borrow_mut();
        for event in log.drain(..).rev() {
            if let Event::Store { word, old, .. } = event {
                self.words[word as usize].set(old);
            }
        }
        drop(log);
        self.settle();
    }

    /// The sync after `after` more fails with `errno`.
    pub fn fail_sync(&self, after: u32, errno: i32) {
        self.failure.set(Some((after, errno)));
    }

    /// No sync is going to fail; whether one still was.
    pub fn heal(&self) -> bool {
        self.failure.take().is_some()
    }

    /// Runs `hook` inside the next sync, between its beginning and its end.
    pub fn during_sync(&self, hook: Box<dyn FnOnce()>) {
        *self.hook.borrow_mut() = Some(hook);
    }

    /// Forgets a hook that did not run.
    pub fn no_hook(&self) {
        *self.hook.borrow_mut() = None;
    }

    /// From now on some words have no version until they are read.
    pub fn set_undecided(&self, undecided: Undecided) {
        *self.lazy.borrow_mut() = Some(undecided);
        self.is_lazy.set(true);
    }

    /// Ends what [`Disk::set_undecided`] began.
    pub fn take_undecided(&self) -> Option<Undecided> {
        self.is_lazy.set(false);
        self.lazy.borrow_mut().take()
    }

    /// Chooses the version of a word that is about to be read, and of its unit.
    #[cold]
    fn decide(&self, word: u32) {
        if let Some(lazy) = self.lazy.borrow_mut().as_mut() {
            lazy.read(word, |word, value| self.words[word as usize].set(value));
        }
    }

    fn record(&self, event: Event) -> u32 {
        let mut log = self.log.borrow_mut();
        let number = u32::try_from(log.len()).expect("a record has few events");
        log.push(event);
        number
    }
}

/// One process's view of a [`Disk`]. Clones are the same process.
#[derive(Clone, Debug)]
pub struct Handle {
    disk: Rc<Disk>,
    opening: usize,
}

impl Handle {
    /// The file behind it.
    pub fn disk(&self) -> &Rc<Disk> {
        &self.disk
    }

    /// The process dies after `events` more stores or ends of syncs: the rest never happens.
    pub fn die_after(&self, events: u32) {
        self.disk.mortal.set(true);
        self.disk.openings.borrow_mut()[self.opening].left = events + 1;
    }

    /// The process dies now.
    pub fn kill(&self) {
        self.disk.mortal.set(true);
        self.disk.openings.borrow_mut()[self.opening].left = 0;
    }

    /// Takes back [`Handle::die_after`] if the process still lives.
    pub fn spare(&self) {
        let mut openings = self.disk.openings.borrow_mut();
        let left = &mut openings[self.opening].left;
        if *left != 0 {
            *left = u32::MAX;
        }
    }

    /// Whether the process has died.
    pub fn is_dead(&self) -> bool {
        self.disk.openings.borrow()[self.opening].left == 0
    }

    /// Counts an event of this process; false if it is dead.
    fn live(&self) -> bool {
        if !self.disk.mortal.get() {
            return true;
        }
        let mut openings = self.disk.openings.borrow_mut();
        let left = &mut openings[self.opening].left;
        if *left != u32::MAX && *left != 0 {
            *left -= 1;
            return *left != 0;
        }
        *left != 0
    }

    /// What the sync that begins now will come to.
    fn outcome(&self) -> Result<(), i32> {
        if let Some(errno) = self.disk.failing.get() {
            return Err(errno); // the pages it waits for are being refused
        }
        match self.disk.failure.get() {
            Some((0, errno)) => {
                self.disk.failure.set(None);
                for (number, opening) in self.disk.openings.borrow_mut().iter_mut().enumerate() {
                    if number != self.opening {
                        opening.pending = Some(errno);
                    }
                }
                return Err(errno);
            }
            Some((after, errno)) => self.disk.failure.set(Some((after - 1, errno))),
            None => {}
        }
        Ok(())
    }
}

impl Carrier for Handle {
    #[inline]
    fn load(&self, offset: u64) -> u64 {
        let word = word_of(offset);
        if self.disk.is_lazy.get() {
            self.disk.decide(word);
        }
        self.disk.words[word as usize].get()
    }

    #[inline]
    fn store(&self, offset: u64, value: u64) {
        let word = word_of(offset);
        if !self.live() {
            return;
        }
        if self.disk.is_lazy.get() {
            if let Some(lazy) = self.disk.lazy.borrow_mut().as_mut() {
                lazy.overwritten(word);
            }
        }
        let old = self.disk.words[word as usize].replace(value);
        self.disk.log.borrow_mut().push(Event::Store {
            word,
            old,
            new: value,
        });
    }

    fn sync(&self, from: u64, to: u64) -> Result<(), i32> {
        if self.is_dead() {
            return Err(DEAD);
        }
        let bytes = self.disk.words.len() as u64 * 8;
        assert!(
            from <= to && to <= bytes,
            "sync of {from}..{to} in a file of {bytes} bytes"
        );
        let outcome = self.outcome();
        let fails = outcome.is_err();
        let (from, to) = (word_of(from & !7), word_of(to.next_multiple_of(8)));
        let begin = self.disk.record(Event::Begin { from, to, fails });
        if let Err(errno) = outcome {
            self.disk.failing.set(Some(errno));
        }
        let hook = self.disk.hook.borrow_mut().take();
        if let Some(hook) = hook {
            hook();
        }
        if fails {
            self.disk.failing.set(None);
        }
        if !self.live() {
            return Err(DEAD);
        }
        let told = self.disk.openings.borrow_mut()[self.opening].pending.take();
        let outcome = outcome.and(told.map_or(Ok(()), Err));
        self.disk.record(Event::End {
            begin,
            ok: outcome.is_ok(),
        });
        outcome
    }
}

/// What a dead process's sync gives to the code that still runs; nobody sees it.
const DEAD: i32 = 5;

/// The number of the word at `offset`.
fn word_of(offset: u64) -> u32 {
    debug_assert_eq!(offset % 8, 0, "a word lies at a multiple of eight");
    u32::try_from(offset / 8).expect("the file is small")
}

/// The page of dirty tracking that a word lies in.
pub fn page_of(word: u32) -> u32 {
    let words = u32::try_from(UNIT_BYTES / 8).expect("a page is small");
    word / words
}
