//! The kernel, and what it shows.

use std::path::Path;

use rustix::thread::{MembarrierCommand, membarrier_query};
use serde_json::json;

use super::{Finding, Level};

/// Nothing older was tried.
const OLDEST: (u32, u32) = (5, 14);

pub(super) fn version() -> Finding {
    let names = rustix::system::uname();
    let release = names.release().to_string_lossy().into_owned();
    let found = format!("Linux {release}");
    let finding = Finding::new("kernel", found, json!({ "release": release }));
    match parse(&release) {
        Some(version) if version >= OLDEST => finding,
        _ => finding.at(
            Level::Warning,
            "rings are tried on Linux 5.14 and later; run the tests of the library on this one",
        ),
    }
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// A ring is opened anew for each role through `/proc`; durable rings tell mounts by `/sys`.
pub(super) fn proc_and_sys() -> Finding {
    let proc = Path::new("/proc/thread-self/fd").is_dir();
    let sys = Path::new("/sys/fs").is_dir();
    let shown = |there| if there { "there" } else { "missing" };
    let found = format!("/proc is {}, /sys is {}", shown(proc), shown(sys));
    let finding = Finding::new("proc_and_sys", found, json!({ "proc": proc, "sys": sys }));
    match (proc, sys) {
        (true, true) => finding,
        (false, _) => finding.at(
            Level::Problem,
            "mount /proc: no ring can be opened without it",
        ),
        (true, false) => finding.at(
            Level::Warning,
            "mount /sys: without it no ring can be durable, since mounts can not be told apart",
        ),
    }
}

/// Lets a sleeping peer cost a spinning one nothing.
pub(super) fn membarrier() -> Finding {
    let known = membarrier_query();
    let has = |command| known.contains_command(command);
    let usable =
        has(MembarrierCommand::RegisterGlobalExpedited) && has(MembarrierCommand::GlobalExpedited);
    let found = if usable {
        "offered: who never sleeps pays nothing for a peer that may"
    } else {
        "not offered here (an old kernel, nohz_full, or a seccomp filter)"
    };
    let finding = Finding::new("membarrier", found.to_owned(), json!({ "usable": usable }));
    if usable {
        return finding;
    }
    finding.at(
        Level::Note,
        "rings work, and each message costs a fence more; allow membarrier(2) in the seccomp profile",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        assert_eq!(parse("6.18.5-fc"), Some((6, 18)));
        assert_eq!(parse("5.4"), Some((5, 4)));
        assert_eq!(parse("x"), None);
    }
}
