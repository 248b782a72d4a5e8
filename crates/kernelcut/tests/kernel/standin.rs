//! The test of the tests: a file that does what a ring does at a checkpoint, and two that do it
//! wrong. If the harness does not see those lose data, it would not see a ring lose any.
//!
//! The file has a count in its first page and a record in each page after. A checkpoint writes the
//! records and syncs, then writes the count and syncs. One of the wrong ones does not sync the
//! records; the other writes the count first.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use ringduct_kernelcut::FileSystem;

use crate::child::{Event, Reporter};
use crate::cuts::Cuts;
use crate::images::{Recording, judge};
use crate::need;
use crate::random::Random;

const PAGE: u64 = 4096;

/// Cycles of each kind, and images.
const CUTS: u64 = 30;
const IMAGES: usize = 60;

/// Records that a file takes.
const RECORDS: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Right,
    NoSync,
    CountFirst,
}

const WAYS: [Way; 3] = [Way::Right, Way::NoSync, Way::CountFirst];

fn record(number: u64) -> [u8; 4096] {
    let mut random = Random::new(number ^ 0xF11E);
    let mut page = [0; 4096];
    for word in page.chunks_exact_mut(8) {
        word.copy_from_slice(&random.next().to_le_bytes());
    }
    page
}

/// Appends records until it is killed, the file is full or the disk fails.
pub(crate) fn child(words: &[&str]) {
    let [path, way, seed, moments] = words else {
        panic!("four words")
    };
    let way = WAYS
        .into_iter()
        .find(|known| format!("{known:?}") == *way)
        .unwrap();
    let mut random = Random::new(seed.parse().unwrap());
    let reporter = Reporter::new(moments);
    let path = Path::new(path);
    let Ok(file) = File::options().read(true).write(true).open(path) else {
        return; // the power is cut already
    };
    let mut count = counted(&file);
    while count < RECORDS {
        let next = RECORDS.min(count + 1 + random.below(4));
        reporter.say("sends", &[next]);
        if checkpoint(&file, way, count..next).is_err() {
            reporter.say("error", &[]);
            return;
        }
        reporter.say("sent", &[next]);
        count = next;
    }
}

fn checkpoint(file: &File, way: Way, numbers: std::ops::Range<u64>) -> std::io::Result<()> {
    let records = || {
        numbers
            .clone()
            .try_for_each(|number| file.write_all_at(&record(number), (number + 1) * PAGE))
    };
    let count = || file.write_all_at(&numbers.end.to_le_bytes(), 0);
    match way {
        Way::Right => {
            records()?;
            file.sync_data()?;
            count()?;
            file.sync_data()
        }
        Way::NoSync => {
            records()?;
            count()
        }
        Way::CountFirst => {
            count()?;
            file.sync_data()?;
            records()?;
            file.sync_data()
        }
    }
}

fn counted(file: &File) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0).unwrap();
    u64::from_le_bytes(bytes)
}

/// An empty file, complete and durable.
fn make(root: &Path) {
    let file = File::create_new(root.join("file")).unwrap();
    file.write_all_at(&[0; 4096], 0).unwrap();
    file.sync_all().unwrap();
    File::open(root).unwrap().sync_all().unwrap();
}

/// What is wrong with the file, given what was said before the cut.
fn audit(root: &Path, events: &[Event]) -> Result<(), String> {
    let file = File::open(root.join("file")).map_err(|error| error.to_string())?;
    let count = counted(&file);
    let last = |what: &str| {
        let said = events.iter().rev().find(|event| event.what == what);
        said.map_or(0, |event| event.numbers[0])
    };
    if count < last("sent") || count > last("sends").max(last("sent")) {
        return Err(format!("counts {count}, {} acknowledged", last("sent")));
    }
    let mut page = [0; 4096];
    for number in 0..count {
        let read = file.read_exact_at(&mut page, (number + 1) * PAGE);
        if read.is_err() || page != record(number) {
            return Err(format!("counts {count}, lacks record {number}"));
        }
    }
    Ok(())
}

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for way in WAYS {
        trials.push(Trial::test(format!("control::cuts::{way:?}"), move || {
            need::root_and_loop(|| cuts(way))
        }));
        trials.push(Trial::test(
            format!("control::images::{way:?}"),
            move || need::fuse(|| images(way)),
        ));
    }
}

/// Goal: cuts find the wrong ways and not the right one.
fn cuts(way: Way) -> Result<(), Failed> {
    let mut random = Random::for_test("control of cuts");
    let mut losses = Vec::new();
    for kind in [FileSystem::Ext4, FileSystem::Xfs] {
        let mut cuts = Cuts::new(kind);
        for _ in 0..CUTS {
            make(cuts.root());
            let path = cuts.root().join("file");
            let role = format!("standin {} {way:?} {} -", path.display(), random.next());
            let said = cuts.cut(&role, &path, &mut random, 200);
            losses.extend(audit(cuts.root(), &said).err());
            cuts.remove(&path);
        }
    }
    verdict(way, &losses)
}

/// Goal: images find the wrong ways and not the right one.
fn images(way: Way) -> Result<(), Failed> {
    let mut random = Random::for_test("control of images");
    let recording = Recording::of(
        FileSystem::Ext4NoJournal,
        make,
        |root, moments| {
            let path = root.join("file");
            format!("standin {} {way:?} 1 {}", path.display(), moments.display())
        },
        400,
    );
    let mut losses = Vec::new();
    judge(recording, IMAGES, &mut random, |root, events, _| {
        losses.extend(audit(root, events).err());
    });
    verdict(way, &losses)
}

fn verdict(way: Way, losses: &[String]) -> Result<(), Failed> {
    println!("{way:?}: {} losses: {:?}", losses.len(), losses.first());
    if (way == Way::Right) == losses.is_empty() {
        Ok(())
    } else {
        Err(format!("{way:?}: {} losses: {losses:?}", losses.len()).into())
    }
}
