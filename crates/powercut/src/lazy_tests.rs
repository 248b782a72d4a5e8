//! The search against counting by hand, and against the holes of the toy.

use super::*;
use crate::protocol::Carrier;
use std::collections::BTreeSet;

/// Three words of 3, 2 and 2 values; the third is read only if the first is 1.
fn medium() -> (Rc<Disk>, Versions) {
    let disk = Disk::new(2048);
    let file = disk.open();
    let mut versions = Versions::new(disk.len());
    for (offset, value) in [(0, 1), (0, 2), (64, 5), (128, 7)] {
        file.store(offset, value);
    }
    for event in disk.log().iter() {
        versions.step(event);
    }
    disk.rewind();
    (disk, versions)
}

#[test]
fn it_branches_where_it_reads_and_nowhere_else() {
    let (disk, versions) = medium();
    let mut seen = BTreeSet::new();
    let explorer = Explorer {
        unit_bytes: 8,
        depth: 1,
        budget: 100,
    };
    let search = explorer.explore(&disk, &versions, &mut |disk, _| {
        let file = disk.open();
        let first = file.load(0);
        assert_eq!(file.load(0), first, "a version is chosen once");
        let third = if first == 1 {
            Some(file.load(128))
        } else {
            None
        };
        seen.insert((first, third));
        Ok(0)
    });
    let all = [(0, None), (1, Some(0)), (1, Some(7)), (2, None)];
    assert_eq!(seen, BTreeSet::from(all));
    assert_eq!(
        search,
        Ok(Search {
            images: 4,
            cut_short: 0,
            whole: 1
        })
    );
}

#[test]
fn words_of_a_unit_are_chosen_together() {
    let disk = Disk::new(2048);
    let file = disk.open();
    file.store(0, 1);
    file.store(8, 1);
    let mut versions = Versions::new(disk.len());
    for event in disk.log().iter() {
        versions.step(event);
    }
    disk.rewind();
    let mut seen = BTreeSet::new();
    let explorer = Explorer {
        unit_bytes: 64,
        depth: 1,
        budget: 100,
    };
    let search = explorer.explore(&disk, &versions, &mut |disk, _| {
        let file = disk.open();
        seen.insert((file.load(8), file.load(0)));
        Ok(0)
    });
    assert_eq!(seen, BTreeSet::from([(0, 0), (0, 1), (1, 1)]));
    assert_eq!(search.unwrap().images, 3);
}

#[test]
fn a_second_cut_may_hold_what_the_first_recovery_did_not_read() {
    let (disk, versions) = medium();
    let mut seen = BTreeSet::new();
    let explorer = Explorer {
        unit_bytes: 8,
        depth: 2,
        budget: 100,
    };
    let search = explorer.explore(&disk, &versions, &mut |disk, _| {
        let file = disk.open();
        if file.load(64) == 5 {
            file.store(64, 6);
            return Ok(disk.events());
        }
        seen.insert((file.load(0), file.load(64)));
        Ok(disk.events())
    });
    // The word at 64 is 0, or it was 5 and may be 6 by the second cut; the one at 0 is any.
    let all = (0..3).flat_map(|first| [(first, 0), (first, 6)]);
    assert_eq!(seen, all.collect());
    assert_eq!(search.unwrap().cut_short, 0);
}

#[test]
fn a_budget_is_kept_and_told() {
    let (disk, versions) = medium();
    let explorer = Explorer {
        unit_bytes: 8,
        depth: 1,
        budget: 2,
    };
    let search = explorer.explore(&disk, &versions, &mut |disk, _| {
        disk.open().load(0);
        Ok(0)
    });
    assert_eq!(
        search,
        Ok(Search {
            images: 2,
            cut_short: 1,
            whole: 0
        })
    );
}

#[test]
fn what_is_judged_wrong_is_told_with_its_path() {
    let (disk, versions) = medium();
    let explorer = Explorer {
        unit_bytes: 8,
        depth: 1,
        budget: 100,
    };
    let search = explorer.explore(&disk, &versions, &mut |disk, _| {
        if disk.open().load(0) == 1 {
            Err("it is one".into())
        } else {
            Ok(0)
        }
    });
    assert!(search.unwrap_err().contains("it is one"));
    assert_eq!(disk.word(0), 0, "the file is as it was");
}
