//! A page of words that the processes of a test share: what each did, written by itself, without
//! the library. A killed process leaves its words as they were at its last instruction.
#![expect(unsafe_code, reason = "shares words through a mapping of a file")]
#![expect(
    clippy::disallowed_types,
    reason = "the oracle must not go through the library's own door"
)]

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

const PAGE: usize = 4096;

/// Incarnations of a ring that have a word in the table behind the page.
const INCARNATIONS: usize = 1 << 16;

const BYTES: usize = PAGE + 8 * INCARNATIONS;

/// Words by name. Each has one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Producer: messages below this may be published any moment now.
    Intended,
    /// Producer: messages below this are published.
    Published,
    /// Producer: attaches that went through.
    ProducerSessions,
    /// Consumer: messages below this were received and checked, in this session or the one before.
    Seen,
    /// Consumer: messages below this were released.
    Released,
    /// Consumer: attaches that went through.
    ConsumerSessions,
    /// Test: leave cleanly.
    Stop,
    /// Whose turn it is, where two processes take turns.
    Turn,
    /// Producer: messages below this are covered by a checkpoint that has returned.
    SentDurably,
    /// Producer: the incarnation of the ring that it knows of.
    ProducerIncarnation,
    /// Producer: checkpoints.
    ProducerCheckpoints,
    /// Producer: attaches behind a cold recovery, and the messages that those recoveries dropped.
    Cold,
    Dropped,
    /// Consumer: messages below this are never to come again.
    ReleasedDurably,
    /// Consumer: the incarnation of the ring that it knows of.
    ConsumerIncarnation,
    /// Consumer: checkpoints, and messages checked.
    ConsumerCheckpoints,
    Checked,
}

#[derive(Debug)]
pub(crate) struct Oracle {
    map: MmapRaw,
}

impl Oracle {
    /// Opens the page at `path`, and makes it if it is not there.
    pub(crate) fn open(path: &Path) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .unwrap();
        file.set_len(BYTES as u64).unwrap();
        let map = MmapOptions::new().len(BYTES).map_raw(&file).unwrap();
        Self { map }
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        self.word_at(word as usize * 128) // the named ones lie 128 bytes apart
    }

    /// Producer: the first message of an incarnation. What comes before it is of earlier ones.
    pub(crate) fn first_of(&self, incarnation: u64) -> u64 {
        self.start_word(incarnation).load(Ordering::SeqCst)
    }

    pub(crate) fn set_first_of(&self, incarnation: u64, number: u64) {
        self.start_word(incarnation).store(number, Ordering::SeqCst);
    }

    fn start_word(&self, incarnation: u64) -> &AtomicU64 {
        let index = usize::try_from(incarnation).unwrap();
        assert!(index < INCARNATIONS);
        self.word_at(PAGE + 8 * index)
    }

    fn word_at(&self, offset: usize) -> &AtomicU64 {
        assert!(offset % 8 == 0 && offset < BYTES);
        let start = self.map.as_mut_ptr().wrapping_add(offset);
        #[expect(
            clippy::cast_ptr_alignment,
            reason = "a mapping is page-aligned, and 8 divides the offset"
        )]
        let start = start.cast::<u64>();
        // SAFETY: inside what the map keeps, aligned, and only ever used as an atomic.
        unsafe { AtomicU64::from_ptr(start) }
    }

    pub(crate) fn get(&self, word: Word) -> u64 {
        self.word(word).load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, word: Word, value: u64) {
        self.word(word).store(value, Ordering::SeqCst);
    }
}
