//! The hammer's victim: attaches, calls everything in turn, attaches anew.

use std::fs::File;
use std::os::fd::IntoRawFd;
use std::time::Duration;

use ringduct::{OpenError, Options};

use crate::calls::{BUFFER, Board, CALLS, Call, End, Outcome, look, run, rx, tx};
use crate::raw::{PAGE, Shared};
use crate::toggling;

/// On the board: what the hammer's processes tell each other.
pub(crate) mod note {
    /// Odd while the victim is in a call.
    pub(crate) const SEQUENCE: usize = 2048;
    /// The number of that call.
    pub(crate) const CALL: usize = 2056;
    /// Times the victim could not attach and asked for a sound ring.
    pub(crate) const WANTED: usize = 2064;
    /// Times the liar made one.
    pub(crate) const HEALED: usize = 2072;
    /// Not zero: the end.
    pub(crate) const STOP: usize = 2080;
    /// Lies, and those that landed between the start and the end of one call.
    pub(crate) const LIES: usize = 2088;
    pub(crate) const LANDED: usize = 2096;
    /// Messages that the liar published, or took, as it should.
    pub(crate) const HONEST: usize = 2104;
    /// How often each call ended in each way.
    pub(crate) const COUNTS: usize = 2304;
    pub(crate) const KINDS: usize = 8;
}

/// Numbers of what is no entry of [`all`].
pub(crate) const ATTACH: usize = CALLS.len() + toggling::CALLS.len();
const FACTS: usize = ATTACH + 1;

/// The counts end where the buffer's surroundings begin.
const _: () = assert!(note::COUNTS + 8 * note::KINDS * (FACTS + 1) <= PAGE);

/// Calls between two attaches, if nothing goes wrong.
const CALLS_OF_A_LIFE: usize = 400;

/// Everything that a role calls.
pub(crate) fn all(role: &str) -> Vec<(usize, Call)> {
    let all = CALLS.into_iter().chain(toggling::CALLS);
    all.enumerate()
        .filter(|(_, call)| call.role == role)
        .collect()
}

pub(crate) fn child(words: &[&str]) {
    let [role, place, board] = *words else {
        panic!("victim ROLE PLACE BOARD: {words:?}")
    };
    let board = Board(Shared::open(board));
    while board.0.load(note::STOP) == 0 {
        let attached = inside(&board, ATTACH, || attach(role, place));
        match attached {
            Ok(mut end) => {
                count(&board, ATTACH, Outcome::Done(0));
                live(role, &mut end, &board);
                inside(&board, ATTACH, || drop(end));
            }
            Err(error) => {
                count(&board, ATTACH, error.into());
                ask_for_a_sound_ring(&board);
            }
        }
    }
}

fn attach(role: &str, place: &str) -> Result<End, OpenError> {
    // A memory file is opened anew by the name that its maker's descriptor has.
    let place = if place.starts_with("/proc/") {
        let file = File::options().read(true).write(true).open(place).unwrap();
        format!("fd:{}", Kept(file.into_raw_fd()).0)
    } else {
        place.to_owned()
    };
    let location = place.parse().unwrap();
    let end = (|| {
        if role == "observer" {
            return Ok(End::Look(Options::new().observe(&location)?));
        }
        let options = Options::new()
            .attach_timeout(Duration::from_secs(1))
            .writable_data(true);
        let ring = options.open(&location)?;
        Ok(match role {
            "producer" => End::Tx(ring.producer()?),
            _ => End::Rx(ring.consumer()?),
        })
    })();
    if let Some(number) = place.strip_prefix("fd:") {
        close(number.parse().unwrap());
    }
    end
}

/// A descriptor that somebody closes by its number.
struct Kept(i32);

fn close(number: i32) {
    drop(crate::raw::owned(number));
}

/// Calls until something is found to be wrong, or for a while.
fn live(role: &str, end: &mut End, board: &Board) {
    let calls = all(role);
    for turn in 0..CALLS_OF_A_LIFE {
        if board.0.load(note::STOP) != 0 {
            return;
        }
        let (index, call) = &calls[turn % calls.len()];
        board.wipe();
        inside(board, *index, || run(call, end, board, 0));
        let outcome = board.noted(0);
        count(board, *index, outcome);
        let length = match outcome {
            Outcome::Done(length) if call.role != "producer" => usize::try_from(length).unwrap(),
            _ => BUFFER,
        };
        board.received(length);
        if matches!(outcome, Outcome::Corrupt(_)) && role != "observer" {
            inside(board, *index, || run(call, end, board, 1));
            assert_eq!(board.noted(1), outcome, "damage is forgotten");
            return;
        }
        if turn % 16 == 0 {
            inside(board, FACTS, || facts(end));
            count(board, FACTS, Outcome::Done(0));
        }
    }
}

/// What can be asked besides.
fn facts(end: &mut End) {
    let (backlog, capacity) = match end {
        End::Tx(_) => {
            let tx = tx(end);
            let _who = (tx.peer_state(), tx.peer_holder(), tx.totals());
            (tx.backlog_bytes(), tx.capacity_bytes())
        }
        End::Rx(_) => {
            let rx = rx(end);
            let _who = (rx.peer_state(), rx.peer_holder(), rx.totals());
            (rx.backlog_bytes(), rx.capacity_bytes())
        }
        End::Look(_) => {
            let look = look(end);
            (look.snapshot().backlog_bytes, look.capacity_bytes())
        }
    };
    assert!(backlog <= capacity, "{backlog} bytes in {capacity}");
}

fn inside<T>(board: &Board, call: usize, what: impl FnOnce() -> T) -> T {
    board.0.store(note::CALL, call as u64);
    board.0.add(note::SEQUENCE, 1);
    let result = what();
    board.0.add(note::SEQUENCE, 1);
    result
}

fn count(board: &Board, call: usize, outcome: Outcome) {
    let index = call * note::KINDS + outcome.kind();
    board.0.add(note::COUNTS + 8 * index, 1);
}

fn ask_for_a_sound_ring(board: &Board) {
    let wanted = board.0.add(note::WANTED, 1) + 1;
    while board.0.load(note::HEALED) < wanted && board.0.load(note::STOP) == 0 {
        std::thread::yield_now();
    }
}
