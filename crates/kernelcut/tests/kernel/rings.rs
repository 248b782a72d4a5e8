//! Durable rings under the two means: cuts of real file systems, and images of a disk.

use std::path::Path;

use libtest_mimic::Trial;
use ringduct::{Location, RecoveryState};
use ringduct_kernelcut::FileSystem;

use crate::account::{Account, Shape, message};
use crate::cuts::Cuts;
use crate::images::{Recording, judge};
use crate::random::Random;
use crate::{amount, need, victim};

/// Cycles for each kind of file system and ring.
const CUTS: u64 = 100;

/// Images for each kind of file system and ring, and recordings that they are made from.
const IMAGES: usize = 60;
const RECORDINGS: usize = 3;

/// Things that a victim says before a cut at most, and before the end of a recording.
const TALK: u64 = 120;

const SHAPES: [Shape; 2] = [
    Shape {
        capacity: 16384,
        checksum: false,
    },
    Shape {
        capacity: 8192,
        checksum: true,
    },
];

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for kind in FileSystem::ALL {
        for shape in SHAPES {
            let sum = if shape.checksum { "checked" } else { "plain" };
            if kind.can_be_cut_at_work() {
                trials.push(Trial::test(
                    format!("ring::cuts::{kind:?}::{sum}"),
                    move || {
                        need::root_and_loop(|| {
                            cuts(kind, shape);
                            Ok(())
                        })
                    },
                ));
            }
            trials.push(Trial::test(
                format!("ring::images::{kind:?}::{sum}"),
                move || {
                    need::fuse(|| {
                        images(kind, shape);
                        Ok(())
                    })
                },
            ));
        }
    }
}

fn place_of(path: &Path) -> Location {
    path.display().to_string().parse().unwrap()
}

/// Goal: whatever a cut leaves, everything acknowledged is there, nothing else appears, and the
/// ring works on, for many lives of one ring. Method: see the heads of `account` and `victim`. In
/// a third of the cycles the next victim recovers, so that cuts fall into recoveries.
fn cuts(kind: FileSystem, shape: Shape) {
    let mut random = Random::for_test("cuts of rings");
    let mut cuts = Cuts::new(kind);
    let path = cuts.file("test.ring");
    let place = place_of(&path);
    drop(shape.options().create(&place).unwrap());
    let mut account = Account::new(shape);
    let cycles = amount("RINGDUCT_CUTS", CUTS);
    for epoch in 1..=cycles {
        let role = victim::role(
            &path.display().to_string(),
            shape,
            epoch,
            random.next(),
            "-",
        );
        let talk = if random.percent(25) { 4 } else { TALK };
        let said = cuts.cut(&role, &path, &mut random, talk);
        account.book(&said);
        if random.percent(67) {
            account.recover(&place, shape);
        }
    }
    let laps = account.positions.of(account.acknowledged()) / shape.capacity;
    let Account {
        in_checkpoint,
        extra,
        lost,
        ..
    } = account;
    println!(
        "{cycles} cuts, {laps} laps, {in_checkpoint} in a checkpoint, {extra} extra, {lost} lost"
    );
    assert!(laps >= cycles / 10, "{laps} laps are too few");
    assert!(
        lost > 0 && in_checkpoint > 0,
        "the cuts fall at dull moments only"
    );
}

/// Goal: the same for all that a disk may have kept. Method: images of a recorded life.
fn images(kind: FileSystem, shape: Shape) {
    let mut random = Random::for_test("images of rings");
    let count = usize::try_from(amount("RINGDUCT_IMAGES", IMAGES as u64)).unwrap();
    let (mut done, mut extra, mut lost, mut inside) = (0, 0, 0, 0);
    for _ in 0..RECORDINGS {
        let mut before = Account::new(shape);
        let seed = random.next();
        let recording = Recording::of(
            kind,
            |root| fill(&place_of(&root.join("test.ring")), shape, &mut before),
            |root, moments| {
                let path = root.join("test.ring").display().to_string();
                victim::role(&path, shape, 1, seed, &moments.display().to_string())
            },
            usize::try_from(4 * TALK).unwrap(),
        );
        judge(
            recording,
            count.div_ceil(RECORDINGS),
            &mut random,
            |root, said, _| {
                let place = place_of(&root.join("test.ring"));
                let mut account = before.clone();
                account.book(said);
                account.recover(&place, shape);
                go_on(&place, shape, &mut account);
                done += 1;
                extra += account.extra;
                lost += account.lost;
                inside += account.in_checkpoint;
            },
        );
    }
    println!("{done} images, {inside} in a checkpoint, {extra} extra, {lost} lost");
    assert!(
        done >= count && lost > 0 && inside > 0,
        "the cuts fall at dull moments only"
    );
}

/// Makes a ring that has gone round, and is full of records of earlier laps.
fn fill(place: &Location, shape: Shape, account: &mut Account) {
    let ring = shape.options().create(place).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    assert_eq!(producer.recovery().state, RecoveryState::New);
    let (mut bytes, mut number) = (Vec::new(), 0);
    while account.positions.of(number) < 3 * shape.capacity {
        message(number, 0, &mut bytes);
        producer.try_send(&bytes).unwrap();
        consumer.try_recv_vec(&mut bytes).unwrap();
        number += 1;
        if number % 8 == 0 {
            consumer.checkpoint().unwrap();
        }
    }
    producer.checkpoint().unwrap();
    consumer.checkpoint().unwrap();
    account.start_at(number);
}

/// The ring takes and gives messages, and makes checkpoints.
fn go_on(place: &Location, shape: Shape, account: &mut Account) {
    let ring = shape.options().open(place).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    assert_eq!(producer.recovery().state, RecoveryState::SameBoot);
    let mut bytes = Vec::new();
    while consumer.try_recv_vec(&mut bytes).is_ok() {}
    consumer.checkpoint().unwrap();
    let first = account.acknowledged();
    let mut expected = Vec::new();
    for number in first..first + 5 {
        message(number, 99, &mut expected);
        producer.try_send(&expected).unwrap();
        consumer.try_recv_vec(&mut bytes).unwrap();
        assert_eq!(bytes, expected);
    }
    let done = producer.checkpoint().unwrap();
    assert_eq!(done.messages, first + 5);
    assert_eq!(done.position, account.positions.of(first + 5));
}
