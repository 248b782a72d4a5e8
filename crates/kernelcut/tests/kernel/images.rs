//! Work on a disk that logs, and the states that a power cut could have left it in.

use std::path::Path;

use ringduct_kernelcut::{Disk, FileSystem, LoopFs, Replay};

use crate::child::{self, Event};
use crate::cuts::directory;
use crate::random::Random;

/// What a victim did, and what the disk saw of it.
#[derive(Debug)]
pub(crate) struct Recording {
    kind: FileSystem,
    replay: Replay,
    said: Vec<Event>,
}

impl Recording {
    /// Makes a file system on a disk that logs, lets `prepare` work in its root, and then lets a
    /// child work in the role that `role` names, given the root and the file that tells the
    /// moment, until it has said `talk` things.
    pub(crate) fn of(
        kind: FileSystem,
        prepare: impl FnOnce(&Path),
        role: impl FnOnce(&Path, &Path) -> String,
        talk: usize,
    ) -> Self {
        let place = directory();
        let image = place.path().join("new.img");
        kind.make(&image).unwrap();
        let disk = Disk::serve(&image).unwrap();
        let mut fs = LoopFs::over(kind, &disk.file()).unwrap();
        prepare(fs.root());
        fs.unmount().unwrap(); // everything is on the disk
        let before = disk.begin_log();
        fs.mount().unwrap();
        let mut said = Vec::new();
        let mut victim = child::start(&role(fs.root(), &disk.moment_file()));
        victim.hear_some(talk, &mut said);
        said.extend(victim.kill());
        let replay = Replay::new(before, disk.log());
        Self { kind, replay, said }
    }
}

/// Which share of the sectors written since the last flush survives, in percent.
const SHARES: [u64; 6] = [0, 10, 50, 50, 90, 100];

/// Builds `count` images, in order of time, each cut at a random moment; mounts each, and calls
/// `audit` with its root, with what the victim had said by then, and with what it said it was about
/// to do. The last is everything said before the cut: an event is in the first list only if the log
/// was no longer than the cut when it was said.
pub(crate) fn judge(
    mut recording: Recording,
    count: usize,
    random: &mut Random,
    mut audit: impl FnMut(&Path, &[Event], usize),
) {
    let moments = recording.replay.moments();
    let mut cuts: Vec<usize> = (0..count).map(|_| random.below_len(moments)).collect();
    cuts.sort_unstable();
    let place = directory();
    for (number, moment) in cuts.into_iter().enumerate() {
        let share = SHARES[random.below_len(SHARES.len())];
        // Some disks write whole requests, some sectors in any order.
        let whole = random.percent(50);
        let (mut last, mut verdict) = (usize::MAX, false);
        let pages = recording.replay.cut_before(moment, |entry| {
            if !whole || entry != last {
                last = entry;
                verdict = random.percent(share);
            }
            verdict
        });
        let image = place.path().join("cut.img");
        pages.store(&image).unwrap();
        let fs = LoopFs::over(recording.kind, &image).unwrap();
        let moment = u64::try_from(moment).unwrap();
        let said: Vec<Event> = recording
            .said
            .iter()
            .filter(|event| event.moment <= moment)
            .cloned()
            .collect();
        audit(fs.root(), &said, number);
        drop(fs);
        std::fs::remove_file(&image).unwrap();
    }
}
