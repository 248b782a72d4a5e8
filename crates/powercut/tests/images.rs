//! A million images and more, and all images of tiny rings.
//!
//! The seed is fixed and printed; `RINGDUCT_SEED` sets another. What was covered is counted and
//! asserted, since a run that never cuts in the window proves nothing.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests fail by panicking, and print what they covered"
)]

use ringduct_powercut::case::{self, Effort, Tally};
use ringduct_powercut::exhaust::{self, Reach};
use ringduct_powercut::lazy::{Explorer, Search};
use ringduct_powercut::library::Library;

/// Images judged at least, unless `RINGDUCT_IMAGES` says how many: fewer where a seeded bug shows
/// soon or not at all.
const IMAGES: u64 = 1_500_000;

fn images() -> u64 {
    std::env::var("RINGDUCT_IMAGES").map_or(IMAGES, |text| {
        text.parse().expect("RINGDUCT_IMAGES is a number")
    })
}

fn seed() -> u64 {
    let seed = std::env::var("RINGDUCT_SEED").map_or(0x5eed, |text| {
        text.parse().expect("RINGDUCT_SEED is a number")
    });
    println!("RINGDUCT_SEED={seed}");
    seed
}

#[test]
fn random_images_keep_every_promise() {
    let first = seed();
    let images = images();
    let shares: Vec<Tally> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2_u64)
            .map(|thread| {
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    while tally.images < images / 2 {
                        let seed = first.wrapping_add(2 * tally.cases + thread);
                        let found = case::run(&Library, seed, Effort::default(), None);
                        tally.add(&found.unwrap_or_else(|failure| panic!("{failure}")));
                    }
                    tally
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no promise is broken"))
            .collect()
    });
    let mut all = Tally::default();
    for share in &shares {
        all.add(share);
    }
    println!("{all:#?}");
    let Tally {
        between_syncs,
        one_sync,
        consumer_checkpoint,
        in_recovery,
        ..
    } = all;
    assert!(all.images >= images);
    assert!(
        between_syncs >= images / 30,
        "between the syncs of a full checkpoint"
    );
    assert!(
        one_sync >= images / 60,
        "in the window of a one-sync checkpoint"
    );
    assert!(consumer_checkpoint >= images / 30);
    assert!(in_recovery >= images / 5);
    assert!(all.second_cut >= images / 10 && all.third_cut >= images / 30);
    assert!(all.damaged >= images / 20);
    assert!(all.kept_more >= images / 10 && all.dropped >= images / 10);
    assert!(
        all.images - all.first_lap >= images / 2,
        "rings that have been around"
    );
}

fn exhausted(reach: Reach, scripts: u64) -> Search {
    let first = seed();
    let mut all = Search::default();
    for seed in (0..scripts).map(|script| first.wrapping_add(script)) {
        let found = exhaust::run(&Library, seed, reach);
        let found = found.unwrap_or_else(|failure| panic!("{failure}"));
        all.images += found.images;
        all.whole += found.whole;
        all.cut_short += found.cut_short;
    }
    println!("{reach:?}: {all:?}");
    all
}

#[test]
fn all_images_of_tiny_rings_word_by_word() {
    let explorer = Explorer {
        unit_bytes: 8,
        depth: 1,
        budget: 5000,
    };
    let all = exhausted(
        Reach {
            capacity_bytes: 64,
            steps: 10,
            explorer,
        },
        150,
    );
    assert!(all.images >= 100_000 && all.whole >= 500, "{all:?}");
}

#[test]
fn all_images_of_tiny_rings_line_by_line_and_cut_again() {
    let explorer = Explorer {
        unit_bytes: 64,
        depth: 2,
        budget: 100,
    };
    let all = exhausted(
        Reach {
            capacity_bytes: 128,
            steps: 8,
            explorer,
        },
        6,
    );
    assert!(all.images >= 100_000 && all.whole >= 500, "{all:?}");
}
