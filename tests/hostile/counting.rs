//! How often a call reads each word of the ring.
//!
//! The processor stops the victim after every access to one of four addresses; the same call is run
//! again from the same state until all words were watched. What a word says may be another thing at
//! each read, so what is bounded after one read must not be used after another.

use std::collections::BTreeSet;

use libtest_mimic::{Failed, Trial};

use crate::calls::{CAPACITY, Outcome};
use crate::raw::{DATA, IDENTITY_BYTES, PARKED, POSITION, RETURNS, ROLE_BYTES, RX_PAGE, TX_PAGE};
use crate::stage::{Scene, Stage};
use crate::trace::Stop;

/// A call that takes more instructions does not end.
const MAX_STEPS: u64 = 1_000_000;

/// Reads that a call may make: of the commit word of each message it takes, of each word of their
/// payloads, of the peer's position and of its ticket; of anything else none.
#[derive(Clone, Copy, Debug)]
struct Expected {
    role: &'static str,
    call: &'static str,
    scene: Scene,
    messages: usize,
    commit: u64,
    payload: u64,
    head: u64,
    tail: u64,
    ticket: u64,
}

const fn row(
    (role, call, scene): (&'static str, &'static str, Scene),
    messages: usize,
    [commit, payload, head, tail, ticket]: [u64; 5],
) -> Expected {
    Expected {
        role,
        call,
        scene,
        messages,
        commit,
        payload,
        head,
        tail,
        ticket,
    }
}

use Scene::{Checked, Plain};

/// In a ring with checksums a receive looks at the commit word twice: the way without checksums
/// sees that it is not for it, and the other one begins anew.
const ROWS: [Expected; 15] = [
    row(("consumer", "try_recv", Plain), 1, [1, 1, 0, 0, 1]),
    row(("consumer", "try_recv", Checked), 1, [2, 1, 0, 0, 1]),
    row(("consumer", "recv_deadline", Plain), 1, [1, 1, 0, 0, 1]),
    row(("consumer", "try_recv_vec", Plain), 1, [1, 1, 0, 0, 1]),
    row(("consumer", "try_recv_vec", Checked), 1, [1, 1, 0, 0, 1]),
    row(("consumer", "recv_vec", Plain), 1, [1, 1, 0, 0, 1]),
    row(("consumer", "drain", Plain), 3, [1, 1, 0, 0, 1]),
    row(("consumer", "drain", Checked), 3, [1, 1, 0, 0, 1]),
    row(("consumer", "peek", Plain), 1, [1, 1, 0, 0, 0]),
    row(("consumer", "skip", Plain), 2, [1, 0, 0, 0, 1]),
    row(("producer", "try_send", Plain), 0, [0, 0, 1, 0, 1]),
    row(("producer", "try_send_all", Plain), 0, [0, 0, 1, 0, 1]),
    row(("producer", "claim", Plain), 0, [0, 0, 1, 0, 1]),
    row(("observer", "peek", Plain), 1, [1, 1, 1, 1, 0]),
    row(("observer", "peek", Checked), 1, [1, 1, 1, 1, 0]),
];

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for expected in ROWS {
        let Expected {
            role, call, scene, ..
        } = expected;
        let name = format!("reads_are_counted::{role}::{call}::{}", scene.name());
        trials.push(Trial::test(name, move || {
            once(&expected);
            Ok::<(), Failed>(())
        }));
    }
}

/// Goal: a call reads no word of the other side's twice, and none that it need not. Method: as the
/// head of this file says; the identity, all words of both pages and those of the messages that wait.
fn once(expected: &Expected) {
    let mut stage = Stage::new(expected.call, expected.role, expected.scene);
    let words = words_of(&stage);
    let counts = reads(&mut stage, &words);
    let data = |position: u64| DATA + usize::try_from(position % CAPACITY).unwrap();
    let (mut commits, mut payloads) = (Vec::new(), Vec::new());
    let mut at = stage.head;
    for message in stage.waiting.iter().take(expected.messages) {
        commits.push(data(at));
        let words = (message.len() as u64).div_ceil(8);
        payloads.extend((1..=words).map(|word| data(at + 8 * word)));
        at += 8 * (1 + words);
    }
    let looked_behind = data(at);
    let mut total = 0;
    for (word, found) in words.iter().zip(&counts) {
        let most = match *word {
            word if commits.contains(&word) => expected.commit,
            word if payloads.contains(&word) => expected.payload,
            word if word == RX_PAGE + POSITION => expected.head,
            // A hint, looked at with the head when that is behind; nothing is bounded by it.
            word if word == RX_PAGE + RETURNS && expected.role == "producer" => expected.head,
            word if word == TX_PAGE + POSITION => expected.tail,
            word if word == TX_PAGE + PARKED && expected.role == "consumer" => expected.ticket,
            word if word == RX_PAGE + PARKED && expected.role == "producer" => expected.ticket,
            // Whether there is one more.
            word if word == looked_behind && expected.call == "drain" => 1,
            _ => 0,
        };
        assert_eq!(*found, most, "reads of the word at {word:#x} of the file");
        total += found;
    }
    println!(
        "{} {} {}: {} words watched, {total} reads, {} messages",
        expected.role,
        expected.call,
        expected.scene.name(),
        words.len(),
        commits.len()
    );
    assert!(total > 0);
}

/// Offsets in the file of what a call could look at.
pub(crate) fn words_of(stage: &Stage) -> Vec<usize> {
    let pages = [
        (0, IDENTITY_BYTES),
        (TX_PAGE, ROLE_BYTES),
        (RX_PAGE, ROLE_BYTES),
    ];
    let mut words: Vec<usize> = pages
        .into_iter()
        .flat_map(|(page, bytes)| (0..bytes).step_by(8).map(move |at| page + at))
        .collect();
    for from in [stage.head, stage.tail] {
        let start = from.wrapping_sub(16);
        let data = |word: u64| DATA + usize::try_from((start + 8 * word) % CAPACITY).unwrap();
        words.extend((0..24).map(data));
    }
    words.sort_unstable();
    words.dedup();
    words
}

/// How often the call on the stage reads each of `words`.
pub(crate) fn reads(stage: &mut Stage, words: &[usize]) -> Vec<u64> {
    let mut counts = Vec::new();
    for four in words.chunks(4) {
        let [all, stores] = [false, true].map(|stores_only| accesses(stage, four, stores_only));
        counts.extend(all.iter().zip(stores).map(|(all, stores)| all - stores));
    }
    stage.reset();
    stage.traced.watch(&[], false);
    counts
}

/// The instructions, counted from the start of the call, that access one of `words`; and how many
/// instructions the call has.
pub(crate) fn accessing(stage: &mut Stage, words: &[usize]) -> (BTreeSet<u64>, u64) {
    let mut found = BTreeSet::new();
    let mut steps = 0;
    for four in words.chunks(4) {
        stage.reset();
        let addresses: Vec<usize> = four.iter().map(|word| stage.base + word).collect();
        stage.traced.watch(&addresses, false);
        steps = 0;
        loop {
            match stage.traced.step() {
                Stop::Trap => {}
                Stop::Done => break,
                other => panic!("{other:?} at step {steps}"),
            }
            if stage.traced.watched().contains(&true) {
                found.insert(steps);
            }
            steps += 1;
            assert!(steps < MAX_STEPS, "the call does not end");
        }
    }
    stage.reset();
    stage.traced.watch(&[], false);
    (found, steps)
}

fn accesses(stage: &mut Stage, words: &[usize], stores_only: bool) -> Vec<u64> {
    stage.reset();
    let addresses: Vec<usize> = words.iter().map(|word| stage.base + word).collect();
    stage.traced.watch(&addresses, stores_only);
    let mut counts = vec![0; words.len()];
    loop {
        match stage.traced.go_on() {
            Stop::Trap => {
                for (count, hit) in counts.iter_mut().zip(stage.traced.watched()) {
                    *count += u64::from(hit);
                }
            }
            Stop::Done => break,
            other => panic!("{other:?}"),
        }
    }
    let outcome = stage.board.noted(0);
    assert!(
        !matches!(outcome, Outcome::None | Outcome::Panic),
        "{outcome:?}"
    );
    counts
}
