//! What the commands that look into rings have in common.

pub(crate) mod find;
pub(crate) mod show;
pub(crate) mod side;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ringduct::{Location, Options};

use crate::failure::Failure;
use crate::place::{self, Place};
use crate::signals;

/// With which a ring is mended or removed: one's own, or that of --owner, whoever else may write to
/// it.
pub(crate) fn own() -> Options {
    place::options().mode(0o666)
}

/// With which a ring is looked at, whoever it belongs to: the kernel says who may read it, and
/// nothing in it is believed.
pub(crate) fn any(place: &Place) -> Options {
    let path = match place.location() {
        Location::File(path) => Some(path.clone()),
        Location::Shm(name) => Some(Path::new(find::SHM).join(name)),
        _ => None,
    };
    match path.and_then(|path| fs::symlink_metadata(path).ok()) {
        Some(metadata) => own().owner(metadata.uid()),
        None => own(),
    }
}

/// Does something with each ring. What fails is said at once, the others are done all the same, and
/// the exit code is that of the first failure.
pub(crate) fn each(
    places: &[Place],
    mut what: impl FnMut(&Place) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut outcome = Ok(());
    for place in places {
        signals::check()?;
        match what(place) {
            Ok(()) => {}
            Err(failure) if failure.is_silent() => return Err(failure), // a signal, nobody reads
            Err(failure) => {
                let said = failure.said();
                outcome = outcome.and(Err(said));
            }
        }
    }
    outcome
}

/// Waits, unless a signal comes.
pub(crate) fn pause(duration: Duration) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        signals::check()?;
        let left = duration.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(signals::MOMENT));
    }
}
