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
        file.set_len(PAGE as u64).unwrap();
        let map = MmapOptions::new().len(PAGE).map_raw(&file).unwrap();
        Self { map }
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        // Words lie 128 bytes apart.
        let start = self.map.as_mut_ptr().wrapping_add(word as usize * 128);
        #[expect(
            clippy::cast_ptr_alignment,
            reason = "a mapping is page-aligned, and 8 divides 128"
        )]
        let start = start.cast::<u64>();
        // SAFETY: inside the page that the map keeps, aligned, and only ever used as an atomic.
        unsafe { AtomicU64::from_ptr(start) }
    }

    pub(crate) fn get(&self, word: Word) -> u64 {
        self.word(word).load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, word: Word, value: u64) {
        self.word(word).store(value, Ordering::SeqCst);
    }
}
