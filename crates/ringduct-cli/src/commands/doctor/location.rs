//! The file system of a ring, and whether the ring can be opened.

use std::path::Path;

use ringduct::{Location, OpenError, Options};
use serde_json::{Value, json};

use super::{Finding, Level};
use crate::place::{self, Place};

/// Kinds of file systems by the number that statfs(2) gives.
const KINDS: [(u64, &str); 17] = [
    (0xEF53, "ext2/3/4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0xF2F5_2010, "f2fs"),
    (0x2FC1_2FC1, "zfs"),
    (0xCA45_1A4E, "bcachefs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58F6, "ramfs"),
    (0x9584_58F6, "hugetlbfs"),
    (0x794C_7630, "overlay"),
    (0x6573_5546, "FUSE"),
    (0x6969, "NFS"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x0102_1997, "9p"),
    (0x00C3_6400, "Ceph"),
    (0x4D44, "FAT"),
];

/// The findings about a location; about the current folder if there is none.
pub(super) fn findings(place: Option<&Place>) -> Vec<Finding> {
    let Some(place) = place else {
        return vec![file_system(Path::new("."))];
    };
    let mut findings = Vec::new();
    if let Location::File(path) = place.location() {
        // A folder is where rings are going to be.
        if path.is_dir() {
            return vec![file_system(path)];
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        findings.push(file_system(folder));
    }
    findings.push(ring(place));
    findings
}

/// The kind, and what the library says when a durable ring is made there.
fn file_system(folder: &Path) -> Finding {
    let shown = folder.display();
    let number = match rustix::fs::statfs(folder) {
        Ok(facts) => u64::from_le_bytes(facts.f_type.to_le_bytes()) & 0xFFFF_FFFF,
        Err(errno) => {
            let data = facts(folder, None, false, None);
            let finding = Finding::new("file_system", format!("{shown}: {errno}"), data);
            return finding.at(Level::Problem, "make the folder, or choose another");
        }
    };
    let known = KINDS.iter().find(|(magic, _)| *magic == number);
    let kind = known.map_or_else(|| format!("{number:#x}"), |(_, kind)| (*kind).to_owned());
    let (doubt, made) = match probe(folder, true) {
        // An ordinary ring can still be refused.
        Err(OpenError::NotDurable { why, .. }) => (Some(why), probe(folder, false)),
        made => (None, made),
    };
    let durable = doubt.is_none() && made.is_ok();
    let data = facts(folder, Some(&kind), durable, doubt);
    let finding = |what: String| {
        let found = format!("{shown}: {kind}; {what}");
        Finding::new("file_system", found, data)
    };
    match (made, doubt) {
        (Err(error), _) => finding(format!("no ring can be made there: {error}")).at(
            Level::Problem,
            "make it writable and free some space, or choose another",
        ),
        (Ok(()), None) => finding("durable rings outlive power cuts there".to_owned()),
        (Ok(()), Some(why)) => finding(format!("no durable rings there: it is {why}")).at(
            Level::Note,
            "for --durable choose a folder on ext4, xfs, btrfs or f2fs, mounted with barriers",
        ),
    }
}

fn facts(folder: &Path, kind: Option<&str>, durable: bool, why: Option<&str>) -> Value {
    json!({ "folder": folder.to_string_lossy(), "kind": kind, "durable": durable, "why": why })
}

/// Makes the smallest ring under a name of its own and removes it: the library's own answer.
fn probe(folder: &Path, durable: bool) -> Result<(), OpenError> {
    let name = format!(".ringduct-doctor-{}", std::process::id());
    let place = Location::File(folder.join(name));
    let options = Options::new().capacity_at_least_bytes(1).durable(durable);
    options.create(&place)?.remove()
}

/// Whether what is at the location can be opened.
fn ring(place: &Place) -> Finding {
    match place::options().observe(place.location()) {
        Ok(observer) => {
            let waiting = observer.snapshot().backlog_messages;
            let found = format!("{place}: is a ring; {waiting} messages wait in it");
            Finding::new("ring", found, json!({ "opens": true, "waiting": waiting }))
        }
        Err(OpenError::NotFound { .. }) => {
            let found = format!("{place}: there is no ring yet");
            let finding = Finding::new("ring", found, json!({ "opens": null, "waiting": null }));
            finding.at(Level::Note, "`ringduct send`, `recv` and `create` make one")
        }
        Err(error) => {
            let data = json!({ "opens": false, "waiting": null });
            let finding = Finding::new("ring", error.to_string(), data);
            finding.at(
                Level::Problem,
                "as it says; `ringduct verify` looks closer at a damaged one",
            )
        }
    }
}
