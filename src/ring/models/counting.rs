//! Label "account": what is counted from it is exact, though its holder goes on meanwhile.

use super::{Model, Weak, consumer, finds, holds, message, next, producer};
use crate::layout::Role;
use crate::memory::{FenceKind, Side};
use crate::ring::account::{Account, Progress, read_account};

/// What an exact count fails with: a wrong number, or no chain of records to count.
const MISCOUNTED: &str = "sound ring";

/// Each side of the label, weakened.
const WEAKENED: [Weak; 4] = [
    &[("account", Side::Store)],
    &[("account", Side::Load)],
    &[("account", Side::Fence(FenceKind::Release))],
    &[("account", Side::Fence(FenceKind::Acquire))],
];

/// A consumer's successor counts while the producer settles and then overwrites what the dead
/// consumer has released.
fn successor(weak: Weak) -> &'static str {
    let model = Model::new(64).untracked().weakened(weak);
    let mut tx = producer(&model, 64, false);
    tx.send(&message(1, 1)).expect("room");
    tx.send(&message(2, 1)).expect("room");
    let mut dead = consumer(&model, 64, false);
    let mut taken = dead.begin();
    taken.add(next(&dead, &taken).expect("published before"));
    dead.release(taken);
    // It needs the place of the first commit word for the empty one behind it.
    let sender = loom::thread::spawn(move || tx.send(&message(3, 3)).expect("room"));
    let released = consumer(&model, 64, false).released().messages;
    assert_eq!(released, 1, "not a sound ring: miscounted");
    let settled = read_account(&model, Role::Producer).messages;
    sender.join().expect("the producer");
    if settled == 2 {
        "settled"
    } else {
        "not yet settled"
    }
}

/// Goal: "account": a successor counts from a whole account, and notices when what it counted over
/// was overwritten. Method: a live producer that settles and overwrites at any point of the count;
/// each side of the label weakened, but for the acquire fence, which the loads of the commit words
/// stand in for here.
#[test]
fn loom_account() {
    holds(&["not yet settled", "settled"], || successor(&[]));
    let [store, load, release, _] = WEAKENED;
    for weak in [store, load, release] {
        finds(MISCOUNTED, move || successor(weak));
    }
}

/// One account settled, and twice more while another thread reads it.
fn slot(weak: Weak) -> &'static str {
    let model = Model::new(32).weakened(weak);
    let mut account = Account::resume(&model, Role::Producer);
    let mut progress = Progress::default();
    progress.advance(8, 1, 0);
    account.settle(&model, Role::Producer, &progress);
    let watched = model.clone();
    let writer = loom::thread::spawn(move || {
        for end in [16, 24] {
            progress.advance(end, 1, 0);
            account.settle(&model, Role::Producer, &progress);
        }
    });
    let read = read_account(&watched, Role::Producer);
    assert_eq!(read.position, 8 * read.messages, "a torn slot");
    writer.join().expect("the writer");
    match read.messages {
        1 => "first",
        3 => "last",
        _ => "between",
    }
}

/// Goal: "account": counters that a later settling has overwritten are never taken for those of the
/// position. Method: three settlings, of which the third uses the slot of the first; each side
/// weakened.
#[test]
fn loom_account_slot() {
    holds(&["between", "first", "last"], || slot(&[]));
    for weak in WEAKENED {
        finds("a torn slot", move || slot(weak));
    }
}
