//! The model of the medium against what is known of it, case by case.

use super::*;
use crate::disk::Disk;
use crate::protocol::Carrier;
use std::collections::BTreeSet;
use std::rc::Rc;

fn versions_of(disk: &Rc<Disk>) -> Versions {
    let mut versions = Versions::new(disk.len());
    for event in disk.log().iter() {
        versions.step(event);
    }
    versions
}

/// What word `word` may hold.
fn values(versions: &Versions, word: u32) -> Vec<u64> {
    versions.of(word).iter().map(|version| version.1).collect()
}

#[test]
fn without_a_sync_a_word_may_hold_anything_it_ever_held() {
    let disk = Disk::new(4096);
    let file = disk.open();
    file.store(0, 1);
    file.store(0, 2);
    file.store(8, 3);
    let versions = versions_of(&disk);
    assert_eq!(values(&versions, 0), [0, 1, 2]);
    assert_eq!(values(&versions, 1), [0, 3]);
    assert!(versions.of(2).is_empty());
}

#[test]
fn a_sync_fixes_what_was_stored_before_it_began_where_it_reaches() {
    let disk = Disk::new(4096);
    let file = disk.open();
    file.store(0, 1);
    file.store(64, 7);
    let other = file.clone();
    disk.during_sync(Box::new(move || other.store(0, 2)));
    file.sync(0, 8).unwrap();
    file.store(0, 3);
    let versions = versions_of(&disk);
    assert_eq!(values(&versions, 0), [1, 2, 3]);
    assert_eq!(values(&versions, 8), [0, 7]);
}

#[test]
fn a_sync_that_did_not_come_back_fixes_nothing() {
    let disk = Disk::new(4096);
    let file = disk.open();
    file.store(0, 1);
    file.sync(0, 4096).unwrap();
    let mut versions = Versions::new(disk.len());
    for event in disk.log().iter().take(2) {
        versions.step(event);
    }
    assert_eq!(values(&versions, 0), [0, 1]);
}

#[test]
fn a_process_that_dies_in_a_sync_never_hears_of_it() {
    let disk = Disk::new(4096);
    let file = disk.open();
    file.die_after(1);
    file.store(0, 1);
    assert!(file.sync(0, 4096).is_err());
    assert!(file.is_dead());
    file.store(0, 2);
    assert_eq!(disk.word(0), 1);
    assert_eq!(values(&versions_of(&disk), 0), [0, 1]);
}

#[test]
fn a_failed_sync_fixes_nothing_and_leaves_its_pages_clean() {
    let disk = Disk::new(4096);
    let file = disk.open();
    file.store(0, 1);
    file.store(2048, 1);
    disk.fail_sync(0, 28);
    assert_eq!(file.sync(0, 1024), Err(28));
    file.sync(0, 4096).unwrap();
    let versions = versions_of(&disk);
    assert_eq!(
        values(&versions, 0),
        [0, 1],
        "nothing was dirty, nothing was written"
    );
    assert!(
        versions.of(256).is_empty(),
        "the failed sync did not reach this page"
    );
    file.store(8, 5); // makes the page dirty again
    file.sync(0, 4096).unwrap();
    assert!(versions_of(&disk).loose().is_empty());
}

#[test]
fn storing_the_same_value_makes_a_page_dirty_too() {
    let disk = Disk::new(4096);
    let file = disk.open();
    file.store(0, 1);
    disk.fail_sync(0, 5);
    assert_eq!(file.sync(0, 4096), Err(5));
    file.store(0, 1);
    file.sync(0, 4096).unwrap();
    assert!(versions_of(&disk).loose().is_empty());
}

#[test]
fn an_error_is_told_once_to_those_who_had_the_file_open() {
    let disk = Disk::new(4096);
    let (one, two) = (disk.open(), disk.open());
    one.store(0, 1);
    disk.fail_sync(0, 5);
    assert_eq!(one.sync(0, 4096), Err(5));
    let late = disk.open();
    assert_eq!(late.sync(0, 4096), Ok(()));
    assert_eq!(two.sync(0, 4096), Err(5));
    assert_eq!(two.sync(0, 4096), Ok(()));
    assert_eq!(values(&versions_of(&disk), 0), [0, 1]);
}

#[test]
fn who_syncs_while_a_sync_fails_hears_of_it_once() {
    let disk = Disk::new(4096);
    let (one, two) = (disk.open(), disk.open());
    one.store(0, 1);
    disk.fail_sync(0, 5);
    let inner = two.clone();
    disk.during_sync(Box::new(move || assert_eq!(inner.sync(0, 4096), Err(5))));
    assert_eq!(one.sync(0, 4096), Err(5));
    assert_eq!(two.sync(0, 4096), Ok(()));
}

/// Two words of two stores each, in one line and in two.
fn two_words() -> Versions {
    let disk = Disk::new(4096);
    let file = disk.open();
    for value in 1..3 {
        file.store(0, value);
        file.store(8, value);
    }
    versions_of(&disk)
}

fn all_images(versions: &Versions, unit_bytes: u32) -> BTreeSet<(u64, u64)> {
    let mut random = Random::new(1);
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for _ in 0..2000 {
        let choice = Choice {
            unit_bytes,
            policy: Policy::Any,
            damage: Damage::None,
        };
        choice.image(versions, &mut random, &mut out);
        let value = |word| {
            let last = out.iter().rev().find(|at| at.0 == word);
            last.map_or_else(|| versions.at(word, 0), |at| at.1)
        };
        seen.insert((value(0), value(1)));
    }
    seen
}

#[test]
fn the_words_of_a_unit_share_a_moment() {
    let versions = two_words();
    assert_eq!(all_images(&versions, 8).len(), 9);
    let moments = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2)];
    assert_eq!(all_images(&versions, 64), BTreeSet::from(moments));
}

#[test]
fn a_unit_is_never_older_than_what_was_synced_of_it() {
    let disk = Disk::new(4096);
    let file = disk.open();
    file.store(0, 1);
    file.store(8, 1);
    file.sync(0, 8).unwrap();
    file.store(0, 2);
    let images = all_images(&versions_of(&disk), 64);
    assert!(images.iter().all(|image| image.0 >= 1));
    assert!(images.contains(&(1, 0)) && images.contains(&(2, 1)));
}

#[test]
fn damage_hits_nothing_that_is_certain() {
    let disk = Disk::new(4096);
    let file = disk.open();
    file.store(0, 1);
    file.store(8, 1);
    file.sync(0, 4096).unwrap();
    file.store(0, 2);
    let versions = versions_of(&disk);
    let (mut random, mut out, mut noise) = (Random::new(2), Vec::new(), 0);
    for _ in 0..1000 {
        let choice = Choice {
            unit_bytes: 64,
            policy: Policy::Any,
            damage: Damage::Garbage,
        };
        choice.image(&versions, &mut random, &mut out);
        assert!(out.iter().all(|at| at.0 == 0));
        noise += usize::from(out.last().is_some_and(|at| at.1 > 2));
    }
    assert!(noise > 100);
}

#[test]
fn rewinding_gives_back_what_was() {
    let disk = Disk::new(4096);
    let file = disk.open();
    disk.set_word(3, 9);
    file.store(24, 1);
    file.store(24, 2);
    disk.rewind();
    assert_eq!((disk.word(3), disk.events()), (9, 0));
}
