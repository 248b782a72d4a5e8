//! Cycles of work, power cut, and the next start.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringduct_kernelcut::{FileSystem, LoopFs};
use tempfile::TempDir;

use crate::child::{self, Child, Event};
use crate::random::Random;

/// The cut comes so long after a random word of the victim at most.
const MAX_DELAY_US: u64 = 400;

/// A file system that is cut again and again.
#[derive(Debug)]
pub(crate) struct Cuts {
    fs: LoopFs,
    _directory: TempDir,
}

/// A directory for images, in memory: what is under test is above the loop device.
pub(crate) fn directory() -> TempDir {
    tempfile::Builder::new()
        .prefix("kernelcut-")
        .tempdir_in("/dev/shm")
        .unwrap()
}

impl Cuts {
    pub(crate) fn new(kind: FileSystem) -> Self {
        let directory = directory();
        let fs = LoopFs::create(kind, directory.path()).unwrap();
        Self {
            fs,
            _directory: directory,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.fs.root()
    }

    /// Lets a child work in `role` until it has said a random number of things below `talk`, cuts
    /// the power a random moment later, and starts again. Returns what the child had said.
    ///
    /// In half of the cases, some of the file at `path` reaches the disk early.
    pub(crate) fn cut(
        &mut self,
        role: &str,
        path: &Path,
        random: &mut Random,
        talk: u64,
    ) -> Vec<Event> {
        let nudger = random
            .percent(50)
            .then(|| child::start(&format!("nudge {} {}", path.display(), random.next())));
        let mut victim = child::start(role);
        let mut said = Vec::new();
        victim.hear_some(random.below_len(usize::try_from(talk).unwrap()), &mut said);
        let delay = Duration::from_micros(random.below(MAX_DELAY_US));
        let start = Instant::now();
        while start.elapsed() < delay {
            std::hint::spin_loop();
        }
        self.fs.cut().unwrap();
        said.extend(victim.kill());
        drop(nudger);
        self.fs.remount().unwrap();
        said
    }

    /// Cuts the power now, while `victim` is stopped or at work, and starts again. Returns what the
    /// victim had said and nobody had read.
    pub(crate) fn cut_with(&mut self, victim: Child) -> Vec<Event> {
        self.fs.cut().unwrap();
        let said = victim.kill();
        self.fs.remount().unwrap();
        said
    }

    /// Removes a file for good: the next cut does not bring it back.
    #[expect(clippy::unused_self, reason = "the file is one of this file system's")]
    pub(crate) fn remove(&self, path: &Path) {
        std::fs::remove_file(path).unwrap();
        File::open(path.parent().unwrap())
            .unwrap()
            .sync_all()
            .unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }
}
