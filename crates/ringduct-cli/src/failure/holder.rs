//! Who holds a role, as far as can be told: hints for people.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringduct::Holder;

/// Names the holder: pid, program, and since when. All of it but the program's name, which the
/// kernel knows if the process is visible here, is what the holder's own page says.
pub(crate) fn describe(holder: &Holder) -> String {
    let Holder { pid, .. } = holder;
    let since = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_nanos(holder.attached_unix_ns))
        .unwrap_or(UNIX_EPOCH);
    let since = humantime::format_rfc3339_seconds(since);
    let (program, visible) = match program(*pid) {
        Some(program) => (program, ""),
        None => (holder.program.clone(), "; not visible from here"),
    };
    format!("pid {pid}, program {program:?}, since {since} (hints from its own page{visible})")
}

/// The name the kernel has for the program of this process.
pub(crate) fn program(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let name = String::from_utf8_lossy(&name);
    Some(name.trim_end_matches('\n').to_owned())
}
