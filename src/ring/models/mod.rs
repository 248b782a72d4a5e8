//! The protocol under loom: every order of steps, and every value that the orderings allow.
//!
//! Each file tests some labels of the table in `ring`. A test runs its model as it is, which must
//! pass, and once for each side of each label with that side weakened, which must fail with the
//! message that the test names: a label whose weakening no test notices would be a claim without
//! proof. The models are as small as the failure allows, and explored to the end but for one, whose
//! preemptions are bounded; run them with
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --lib loom_
//! ```
#![cfg(loom)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "small numbers, and a test may panic"
)]

mod closing;
mod counting;
mod observing;
mod parking;
mod publishing;
mod restart;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use super::{ConsumerCore, Geometry, ProducerCore, Record, Taken};
use crate::layout::{Role, word};
use crate::memory::{Memory, Model, Order, Weak};
use crate::recovery;

/// Explores a model, with at most `preemptions` in one run, and returns each kind of ending that it
/// can have: a model that never comes where it matters proves nothing.
fn endings(
    preemptions: Option<usize>,
    body: impl Fn() -> &'static str + Sync + Send + 'static,
) -> BTreeSet<&'static str> {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    let (report, reports) = mpsc::channel();
    builder.check(move || report.send(body()).expect("the receiver lives"));
    reports.into_iter().collect()
}

/// Explores every run of a model, which must be able to end in exactly these ways.
fn holds(expected: &[&str], body: impl Fn() -> &'static str + Sync + Send + 'static) {
    let found = endings(None, body);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
}

/// Explores a model that must fail, and requires that it fails for the reason named.
fn finds(reason: &str, body: impl Fn() -> &'static str + Sync + Send + 'static) {
    let outcome = catch_unwind(AssertUnwindSafe(|| endings(None, body)));
    let payload = outcome.expect_err("the weakened model passes");
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("");
    assert!(text.contains(reason), "failed for another reason: {text}");
}

/// What loom says of payload accesses that nothing keeps apart.
const RACE: &str = "Causality violation";

/// What loom says when everybody sleeps: a wake was lost.
const LOST_WAKE: &str = "deadlock";

fn geometry(capacity_bytes: u64) -> Geometry {
    Geometry::for_tests(capacity_bytes, false)
}

/// The producer that continues on a ring of `capacity_bytes`, as an attach makes it.
fn producer(model: &Model, capacity_bytes: u64, fences: bool) -> ProducerCore<Model> {
    let (model, geometry) = (model.held_by(Role::Producer), geometry(capacity_bytes));
    let found = recovery::producer(&model, &geometry, true).expect("a sound ring");
    let head = found.head;
    let mut core = ProducerCore::new(model, geometry, found.own, head, fences);
    core.store_progress();
    core
}

/// The consumer that continues on a ring of `capacity_bytes`, as an attach makes it.
fn consumer(model: &Model, capacity_bytes: u64, fences: bool) -> ConsumerCore<Model> {
    let (model, geometry) = (model.held_by(Role::Consumer), geometry(capacity_bytes));
    let found = recovery::consumer(&model, &geometry, true).expect("a sound ring");
    ConsumerCore::new(model, geometry, found.own, fences)
}

/// A message of whole words, each of which is `value`.
fn message(value: u64, words: usize) -> Vec<u8> {
    value.to_le_bytes().repeat(words)
}

/// Copies a record and returns the value that each of its words must have.
fn value_of(core: &ConsumerCore<Model>, record: Record, words: usize) -> u64 {
    assert_eq!(record.message_bytes() as usize, 8 * words, "torn length");
    let mut out = vec![0; 8 * words];
    core.copy(record, &mut out).expect("no checksums here");
    same_word(&out)
}

/// The word that a message consists of.
fn same_word(bytes: &[u8]) -> u64 {
    let mut words = bytes
        .chunks(8)
        .map(|chunk| u64::from_le_bytes(chunk.try_into().expect("whole words")));
    let first = words.next().expect("a word");
    assert!(words.all(|word| word == first), "torn message");
    first
}

/// The record after a run; a corrupt one fails the model.
fn next(core: &ConsumerCore<Model>, taken: &Taken) -> Option<Record> {
    core.next(taken).expect("torn record")
}

/// Fills the data with commit words of an earlier lap, except the first word, which is empty.
fn fill_with_old_lap(model: &Model, capacity_bytes: u64) {
    let old = crate::layout::Commit::new(8, 0).encode();
    for at in (8..capacity_bytes).step_by(8) {
        model.store_data(at, old, Order::RELAXED);
    }
}

/// Sets both roles of a ring that nobody uses to `position`.
fn start_at(model: &Model, position: u64) {
    for role in [Role::Producer, Role::Consumer] {
        model.store(word::POSITION.of(role), position, Order::RELAXED);
        for slot in word::ACCOUNT {
            model.store(slot.position.of(role), position, Order::RELAXED);
        }
    }
}
