//! The test of the test: every hole of the toy is found, and the toy without one is whole.
//!
//! A simulator that finds nothing proves nothing. Each known mistake of a durable ring must be
//! found within a bounded number of cases; a mistake that is not found is a hole of the simulator.

use ringduct_powercut::case::{self, Effort};
use ringduct_powercut::toy::{HOLES, Hole, Toy};

/// Cases within which a hole must be found.
const CASES: u64 = 2000;

#[test]
fn every_hole_is_found() {
    let mut missed = Vec::new();
    for hole in HOLES {
        let (mut found, mut images) = (None, 0);
        for seed in 0..CASES {
            match case::run(
                &Toy(hole),
                seed,
                Effort {
                    images: 400,
                    ..Effort::default()
                },
                None,
            ) {
                Ok(tally) => images += tally.images,
                Err(failure) => {
                    found = Some(failure);
                    break;
                }
            }
        }
        match found {
            Some(failure) => println!(
                "{hole:?}: seed {}, after {images} images: {}",
                failure.seed, failure.wrong
            ),
            None => missed.push((hole, images)),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn a_failure_is_seen_again_by_its_seed_and_image_alone() {
    let effort = Effort::default();
    let toy = Toy(Hole::SlotBeforeData);
    let mut again = 0;
    for seed in 0..20 {
        let Err(failure) = case::run(&toy, seed, effort, None) else {
            continue;
        };
        let alone = case::run(&toy, seed, effort, Some(failure.image)).unwrap_err();
        assert_eq!(
            (alone.seed, alone.image, &alone.wrong),
            (seed, failure.image, &failure.wrong)
        );
        again += 1;
    }
    assert!(again >= 5, "only {again} failures");
}

#[test]
fn without_a_hole_the_toy_is_whole() {
    for seed in 0..150 {
        if let Err(failure) = case::run(&Toy(Hole::None), seed, Effort::default(), None) {
            panic!("{failure}");
        }
    }
}
