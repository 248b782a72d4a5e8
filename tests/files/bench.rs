//! A ring in a file, and hands that change the file.

use std::fs::File;
#[cfg(feature = "guard")]
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ringduct::{Location, Options, Ring};
use rustix::fs::FallocateFlags;
use tempfile::TempDir;

use crate::driver::Agent;

/// Pages in front of the data.
pub(crate) const HEADER_PAGES: u64 = 8;

/// Bytes of a page.
pub(crate) fn page() -> u64 {
    rustix::param::page_size() as u64
}

/// A ring in a directory of its own.
#[derive(Debug)]
pub(crate) struct Bench {
    directory: TempDir,
    data_pages: u64,
    /// As it was created.
    pub(crate) ring: Ring,
}

impl Bench {
    pub(crate) fn new(data_pages: u64, checksum: bool) -> Self {
        Self::beneath(&std::env::temp_dir(), data_pages, checksum)
    }

    /// The same in another directory.
    pub(crate) fn beneath(parent: &Path, data_pages: u64, checksum: bool) -> Self {
        let directory = tempfile::tempdir_in(parent).unwrap();
        let place = Location::from(directory.path().join("test.ring"));
        let ring = Options::new()
            .capacity_bytes(data_pages * page())
            .checksum(checksum)
            .create(&place)
            .unwrap();
        Self {
            directory,
            data_pages,
            ring,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("test.ring")
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn pages(&self) -> u64 {
        HEADER_PAGES + self.data_pages
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.pages() * page()
    }

    fn file(&self) -> File {
        let path = self.path();
        File::options().read(true).write(true).open(path).unwrap()
    }

    /// Gives the file another size: cuts it off, or extends it.
    pub(crate) fn resize(&self, bytes: u64) {
        self.file().set_len(bytes).unwrap();
    }

    /// Takes one page out of the file, which keeps its size.
    pub(crate) fn punch(&self, index: u64) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(self.file(), flags, index * page(), page()).unwrap();
    }

    /// The commit word at a position, as it is in the file.
    #[cfg(feature = "guard")]
    pub(crate) fn commit_word(&self, position: u64) -> u64 {
        let offset = HEADER_PAGES * page() + position % (self.data_pages * page());
        let mut word = [0; 8];
        self.file().read_exact_at(&mut word, offset).unwrap();
        u64::from_le_bytes(word)
    }

    /// A process that has the ring open.
    pub(crate) fn agent(&self) -> Agent {
        let mut agent = Agent::start();
        agent.does(&format!("open {}", self.path().display()));
        agent
    }

    /// A process in the producer's role and one in the consumer's.
    pub(crate) fn pair(&self) -> (Agent, Agent) {
        let (mut tx, mut rx) = (self.agent(), self.agent());
        tx.does("producer");
        rx.does("consumer");
        (tx, rx)
    }

    /// What an agent answers that finds the file cut off to `bytes`.
    pub(crate) fn truncated(&self, bytes: u64) -> String {
        format!("FileTruncated {} {bytes}", self.bytes())
    }
}

/// Lets a pair go round: then every page was used, half of the ring waits, and half is free. With
/// `shift` these are the other halves.
pub(crate) fn go_round(tx: &mut Agent, rx: &mut Agent, shift: bool) {
    let before = rx.does("count");
    let filled = tx.does("fill");
    let taken = rx.does(&format!("take {}", filled - before));
    let mut waiting = tx.does("fill") - taken;
    let mut taken = rx.does(&format!("take {}", waiting / 2));
    if shift {
        waiting = tx.does("fill") - taken;
        taken = rx.does(&format!("take {}", waiting / 2));
    }
    assert!(taken > filled);
}
