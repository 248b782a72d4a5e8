//! A word that is another one at each look.
//!
//! A watchpoint stops the victim after each access to the commit word it waits for, and the liar
//! changes it there: for every pattern of up to five looks, over and over. So whatever a call does
//! between two looks, one of the patterns shows it a message when it asks whether there is one, and
//! none when it comes to take it.

use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::calls::{CAPACITY, Call, Outcome, rx};
use crate::raw::DATA;
use crate::stage::{Scene, Stage};
use crate::trace::Stop;

/// How long the calls here may wait.
const LIMIT: Duration = Duration::from_millis(3);

/// Looks at the word within which a call must have given up: each takes ten microseconds or more.
const MOST_LOOKS: u64 = 20_000;

/// The longest pattern.
const LONGEST: u32 = 5;

/// What the liar shows: an empty message, in a ring without checksums.
const LURE: u64 = 1;

fn deadline() -> Instant {
    Instant::now().checked_add(LIMIT).unwrap()
}

/// Calls that wait.
pub(crate) const CALLS: [Call; 4] = [
    Call {
        name: "recv_timeout",
        role: "consumer",
        run: |end, board| match rx(end).recv_timeout(board.buffer(), LIMIT) {
            Ok(length) => Outcome::Done(length as u64),
            Err(error) => error.into(),
        },
    },
    Call {
        name: "recv_vec_until",
        role: "consumer",
        run: |end, _| match rx(end).recv_vec(&mut Vec::new(), Some(deadline())) {
            Ok(()) => Outcome::Done(0),
            Err(error) => error.into(),
        },
    },
    Call {
        name: "peek_vec_until",
        role: "consumer",
        run: |end, _| match rx(end).peek_vec(&mut Vec::new(), Some(deadline())) {
            Ok(()) => Outcome::Done(0),
            Err(error) => error.into(),
        },
    },
    Call {
        name: "wait_for_message",
        role: "consumer",
        run: |end, _| match rx(end).wait_for_message(Some(deadline())) {
            Ok(()) => Outcome::Done(0),
            Err(error) => error.into(),
        },
    },
];

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for call in CALLS {
        let name = format!("deadlines_are_kept::{}", call.name);
        trials.push(Trial::test(name, move || {
            under_every_pattern(&call);
            Ok::<(), Failed>(())
        }));
    }
}

/// Goal: a peer that shows a message and takes it back cannot keep a call past its deadline.
fn under_every_pattern(call: &Call) {
    let mut stage = Stage::new(call.name, call.role, Scene::Empty);
    let word = DATA + usize::try_from(stage.head % CAPACITY).unwrap();
    let (mut timed_out, mut received, mut looks, mut most) = (0, 0, 0, 0);
    for period in 1..=LONGEST {
        for pattern in 0..1_u64 << period {
            let seen = run(&mut stage, word, |look| {
                pattern >> (look % u64::from(period)) & 1 == 1
            });
            match stage.board.noted(0) {
                Outcome::Nothing => timed_out += 1,
                Outcome::Done(_) => received += 1,
                other => panic!("pattern {pattern:#b} of {period}: {other:?}"),
            }
            looks += seen;
            most = most.max(seen);
        }
    }
    println!(
        "{}: {timed_out} timed out, {received} received, {looks} looks, {most} in one call",
        call.name
    );
    assert!(timed_out >= 5 && received >= 5);
}

/// Runs the call with a word that shows what `lures` says at each look; how many there were.
fn run(stage: &mut Stage, word: usize, lures: impl Fn(u64) -> bool) -> u64 {
    stage.reset();
    let show = |look| if lures(look) { LURE } else { 0 };
    stage.ring.store(word, show(0));
    stage.traced.watch(&[stage.base + word], false);
    let mut looks = 0;
    loop {
        match stage.traced.go_on() {
            Stop::Trap => {
                looks += 1;
                stage.ring.store(word, show(looks));
                assert!(looks < MOST_LOOKS, "the call goes on past its deadline");
            }
            Stop::Done => return looks,
            other => panic!("{other:?}"),
        }
    }
}
