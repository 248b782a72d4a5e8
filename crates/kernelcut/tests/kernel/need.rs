//! What the tests need of the machine. Where it is missing they fail in CI, and elsewhere say so.

use std::fs::File;

use libtest_mimic::Failed;

type Outcome = Result<(), Failed>;

/// Runs a test that mounts file systems.
pub(crate) fn root_and_loop(test: impl FnOnce() -> Outcome) -> Outcome {
    with(&["/dev/loop-control"], test)
}

/// Runs a test that also serves a disk.
pub(crate) fn fuse(test: impl FnOnce() -> Outcome) -> Outcome {
    with(&["/dev/loop-control", "/dev/fuse"], test)
}

fn with(devices: &[&str], test: impl FnOnce() -> Outcome) -> Outcome {
    let open = |device: &&str| File::options().read(true).write(true).open(device);
    let missing = if rustix::process::geteuid().is_root() {
        devices
            .iter()
            .find_map(|device| open(device).err().map(|error| format!("{device}: {error}")))
    } else {
        Some("only root may mount".to_owned())
    };
    match missing {
        None => test(),
        Some(why) if std::env::var_os("CI").is_some() => Err(why.into()),
        Some(why) => {
            eprintln!("SKIPPED: {why}");
            Ok(())
        }
    }
}
