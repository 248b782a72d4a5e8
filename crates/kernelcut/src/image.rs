//! What a disk held, and what it may hold after a power cut.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

const PAGE_BYTES: usize = 4096;
const PAGE: u64 = 4096;

/// The content of a disk: pages that are not zero. A copy shares them.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    pages: BTreeMap<u64, Arc<[u8; PAGE_BYTES]>>,
    bytes: u64,
}

impl Pages {
    /// Reads a disk from a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(image: &Path) -> io::Result<Self> {
        let file = File::open(image)?;
        let bytes = file.metadata()?.len();
        let mut pages = BTreeMap::new();
        let mut page = [0; PAGE_BYTES];
        for number in 0..bytes / PAGE {
            file.read_exact_at(&mut page, number * PAGE)?;
            if page.iter().any(|byte| *byte != 0) {
                pages.insert(number, Arc::new(page));
            }
        }
        Ok(Self { pages, bytes })
    }

    /// Writes the disk into a new, sparse file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store(&self, image: &Path) -> io::Result<()> {
        let file = File::create_new(image)?;
        file.set_len(self.bytes)?;
        for (number, page) in &self.pages {
            file.write_all_at(page.as_slice(), number * PAGE)?;
        }
        Ok(())
    }

    /// How big the disk is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads at any place; beyond the end there is nothing.
    pub fn read(&self, offset: u64, out: &mut Vec<u8>, length: u64) {
        out.clear();
        let end = self.bytes.min(offset.saturating_add(length));
        let mut at = offset;
        while at < end {
            let (number, inside, part) = place(at, end);
            match self.pages.get(&number) {
                Some(page) => out.extend_from_slice(&page[inside..inside + part]),
                None => out.resize(out.len() + part, 0),
            }
            at += part as u64;
        }
    }

    /// Writes at any place within the disk.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let end = offset + data.len() as u64;
        let (mut at, mut rest) = (offset, data);
        while at < end {
            let (number, inside, part) = place(at, end);
            let (now, later) = rest.split_at(part);
            let page = self
                .pages
                .entry(number)
                .or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[inside..inside + part].copy_from_slice(now);
            rest = later;
            at += part as u64;
        }
    }
}

/// The page that `at` is in, the offset in it, and how much of it lies before `end`.
fn place(at: u64, end: u64) -> (u64, usize, usize) {
    let inside = at % PAGE;
    let part = (PAGE - inside).min(end - at);
    let small = |bytes: u64| usize::try_from(bytes).unwrap_or(PAGE_BYTES);
    (at / PAGE, small(inside), small(part))
}

/// Something that a disk was asked to do and did.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Data that may stay in a volatile cache.
    Write {
        /// Where, in bytes.
        offset: u64,
        /// What.
        data: Arc<[u8]>,
    },
    /// All earlier writes are on the medium.
    Flush,
}

/// A disk at all the moments of its log, one after the other.
#[derive(Debug)]
pub struct Replay {
    log: Vec<Entry>,
    /// The disk as all of the log before `done` left it; there is a flush just before `done`.
    flushed: Pages,
    done: usize,
}

impl Replay {
    /// Begins with a disk as it was before the first entry of the log.
    pub fn new(before: Pages, log: Vec<Entry>) -> Self {
        Self {
            log,
            flushed: before,
            done: 0,
        }
    }

    /// How many moments there are.
    pub fn moments(&self) -> usize {
        self.log.len() + 1
    }

    /// The disk after a power cut before entry `moment`, which must not be smaller than in an
    /// earlier call: everything up to the last flush, and of each later write the sectors for which
    /// `survives`, given the number of the entry, says so.
    pub fn cut_before(&mut self, moment: usize, mut survives: impl FnMut(usize) -> bool) -> Pages {
        let flush = |entry: &Entry| matches!(entry, Entry::Flush);
        if let Some(last) = self.log[self.done..moment].iter().rposition(flush) {
            let flushed = self.done + last + 1;
            for entry in &self.log[self.done..flushed] {
                if let Entry::Write { offset, data } = entry {
                    self.flushed.write(*offset, data);
                }
            }
            self.done = flushed;
        }
        let mut cut = self.flushed.clone();
        for number in self.done..moment {
            let Entry::Write { offset, data } = &self.log[number] else {
                continue;
            };
            let mut at = *offset;
            for sector in data.chunks(SECTOR_BYTES) {
                if survives(number) {
                    cut.write(at, sector);
                }
                at += sector.len() as u64;
            }
        }
        cut
    }
}
