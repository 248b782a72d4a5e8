//! Pages that a role maps read-only.

use std::os::unix::process::ExitStatusExt;

use libtest_mimic::{Failed, Trial};
use ringduct::{Location, Options};

use crate::calls::CAPACITY;
use crate::myself;
use crate::raw::{DATA, PAGE, poke};
use crate::stage::attach;
use crate::trace::maps;

/// Pages of the header, and whether each is writable for the producer and for the consumer: see
/// `FORMAT.md`. The data is the producer's.
const PAGES: [(&str, bool, bool); 8] = [
    ("identity", false, false),
    ("producer's", true, false),
    ("consumer's", false, true),
    ("producer's first slot", true, false),
    ("producer's second slot", true, false),
    ("consumer's first slot", false, true),
    ("consumer's second slot", false, true),
    ("reserved", false, false),
];

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for role in ["producer", "consumer", "observer"] {
        trials.push(Trial::test(format!("stores_fault::{role}"), move || {
            every_page(role);
            Ok::<(), Failed>(())
        }));
    }
}

/// Goal: a store to a page that is not this role's ends the process with SIGSEGV, a store to its
/// own does not, and the addresses around the mapping belong to nobody. Method: a process for each
/// page that attaches, looks up where it has mapped the ring and stores there.
fn every_page(role: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ring");
    let options = Options::new().capacity_bytes(CAPACITY);
    let _ring = options.create(&Location::from(path.as_path())).unwrap();
    let data = ("data", role == "producer");
    let again = ("the same data again", role == "producer");
    let pages = PAGES.map(|(name, tx, rx)| match role {
        "producer" => (name, tx),
        "consumer" => (name, rx),
        _ => (name, false),
    });
    let all = pages.into_iter().chain([data, again]);
    let around = [("in front of it", false), ("behind it", false)];
    let (mut faults, mut stores) = (0, 0);
    for (index, (name, writable)) in all.chain(around).enumerate() {
        let words = format!("rights {role} {} {index}", path.display());
        let status = myself(&words).status().unwrap();
        if writable {
            assert!(status.success(), "{role}: {name}: {status}");
            stores += 1;
        } else {
            assert_eq!(status.signal(), Some(libc::SIGSEGV), "{role}: {name}");
            faults += 1;
        }
    }
    println!("{role}: {faults} stores fault, {stores} do not");
    assert_eq!(faults + stores, 12);
}

/// Attaches and stores to one page.
pub(crate) fn child(words: &[&str]) {
    let [role, place, index] = *words else {
        panic!("rights ROLE PLACE INDEX: {words:?}")
    };
    let index: usize = index.parse().unwrap();
    let _end = attach(role, place);
    let me = i32::try_from(std::process::id()).unwrap();
    let base = crate::trace::base_of(me, place);
    let data_pages = usize::try_from(CAPACITY).unwrap() / PAGE;
    let whole = DATA / PAGE + 2 * data_pages;
    let address = match index {
        10 => base - 1,
        11 => base + whole * PAGE,
        page => base + page * PAGE,
    };
    let covered = maps(me)
        .iter()
        .any(|map| (map.start..map.end).contains(&address) && map.rights.starts_with("---"));
    assert_eq!(covered, index >= 10, "guards are around it, and only there");
    poke(address);
}
