//! Death in durable rings: at every store, at random instants, and in a forked child.
//!
//! These tests end processes, never the power: what the dead stored is in the page cache and stays.
//! A cold recovery is asked for ([`Options::distrust_memory`]), so they check what it decides and
//! does, and that dying in it changes nothing, not what a sync brings to the medium.
#![expect(
    clippy::print_stderr,
    reason = "says what was skipped, and where a check failed"
)]

mod audit;
mod fork;
mod scenario;
mod step;
mod storm;

use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use ringduct::{Location, OpenError, Options};
use tempfile::TempDir;

pub(crate) fn add(trials: &mut Vec<Trial>) {
    step::add(trials);
    fork::add(trials);
    storm::add(trials);
}

/// One of the other processes.
pub(crate) fn child(words: &[&str]) {
    match *words {
        ["prepare", index, place] => scenario::prepare(index.parse().unwrap(), place),
        ["victim", index, place] => step::victim(index.parse().unwrap(), place),
        ["audit", index, place, images] => audit::audit(index.parse().unwrap(), place, images),
        ["fork", checksum, place] => fork::child(checksum, place),
        ["storm", ref rest @ ..] => storm::child(rest),
        _ => panic!("no such role: {words:?}"),
    }
}

/// Adds a test that needs a folder on a disk. Where the machine has none, that is said and the test
/// passes; under `CI` it fails.
fn on_disk(trials: &mut Vec<Trial>, name: String, body: impl FnOnce(&Disk) + Send + 'static) {
    trials.push(Trial::test(name.clone(), move || {
        if let Some(disk) = Disk::new(&name) {
            body(&disk);
        }
        Ok::<(), Failed>(())
    }));
}

/// A folder on a disk, which goes away with the test.
struct Disk(TempDir);

impl Disk {
    fn new(test: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir_in("/var/tmp").unwrap());
        let probe = Location::from(disk.path("probe.ring"));
        match Options::new().durable(true).create(&probe) {
            Ok(_) => Some(disk),
            Err(error @ OpenError::NotDurable { .. }) => {
                assert!(std::env::var_os("CI").is_none(), "{error}");
                eprintln!("SKIPPED {test}: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
