//! Calls of the library, and what became of them, noted where another process sees it.

use core::ops::ControlFlow;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use ringduct::{
    CheckpointError, Consumer, Corruption, Damage, Observer, OpenError, Producer, RecvError,
    SendError, TryRecvError, TrySendError,
};

use crate::raw::{PAGE, Shared};

/// Bytes of every ring in these tests.
pub(crate) const CAPACITY: u64 = 4096;

/// Bytes of the buffer that messages are received into: more than any message has.
pub(crate) const BUFFER: usize = 4160;

/// What surrounds it.
const CANARY: u8 = 0xC5;
const MARGIN: usize = 64;
const MARGIN_BEFORE: usize = PAGE;
const START: usize = MARGIN_BEFORE + MARGIN;

/// Bytes of a board.
const BOARD: u64 = 4 * PAGE as u64;

/// On the board, in front of the notes: a position for calls that want one.
const PLACE: usize = 1024;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not at all.
    None,
    /// With so many bytes in the buffer, or so many messages.
    Done(u64),
    /// With nothing: empty, full, timed out.
    Nothing,
    /// The other side is said to have ended.
    Ended,
    /// Too long, or a buffer too small.
    Size,
    /// Damage: kind, position, expected, found.
    Corrupt([u64; 4]),
    /// Another error of the library.
    Other,
    /// A panic, in place of an answer.
    Panic,
}

impl Outcome {
    /// A number for its kind: below eight.
    pub(crate) fn kind(self) -> usize {
        usize::try_from(self.words()[0]).unwrap()
    }

    const fn words(self) -> [u64; 5] {
        match self {
            Self::None => [0; 5],
            Self::Done(count) => [1, count, 0, 0, 0],
            Self::Nothing => [2, 0, 0, 0, 0],
            Self::Ended => [3, 0, 0, 0, 0],
            Self::Size => [4, 0, 0, 0, 0],
            Self::Corrupt([what, position, expected, found]) => {
                [5, what, position, expected, found]
            }
            Self::Other => [6, 0, 0, 0, 0],
            Self::Panic => [7, 0, 0, 0, 0],
        }
    }

    fn of_words([kind, a, b, c, d]: [u64; 5]) -> Self {
        match kind {
            0 => Self::None,
            1 => Self::Done(a),
            2 => Self::Nothing,
            3 => Self::Ended,
            4 => Self::Size,
            5 => Self::Corrupt([a, b, c, d]),
            6 => Self::Other,
            _ => Self::Panic,
        }
    }

    fn of_count(count: usize) -> Self {
        Self::Done(count as u64)
    }

    fn of_result<E: Into<Self>>(result: Result<usize, E>) -> Self {
        result.map_or_else(Into::into, Self::of_count)
    }
}

impl From<Corruption> for Outcome {
    fn from(found: Corruption) -> Self {
        Self::Corrupt([
            number_of(found.what),
            found.position,
            found.expected,
            found.found,
        ])
    }
}

/// A number for a kind of damage.
fn number_of(what: Damage) -> u64 {
    match what {
        Damage::RecordLength => 1,
        Damage::RecordReserved => 2,
        Damage::RecordChecksum => 3,
        Damage::RecordBeyondEnd => 4,
        Damage::Tail => 5,
        Damage::Head => 6,
        Damage::DurableHead => 7,
        Damage::Checkpoint => 8,
        _ => 9,
    }
}

impl From<TryRecvError> for Outcome {
    fn from(error: TryRecvError) -> Self {
        match error {
            TryRecvError::Empty => Self::Nothing,
            TryRecvError::Closed => Self::Ended,
            TryRecvError::BufferTooSmall { .. } => Self::Size,
            TryRecvError::Corrupt(corruption) => corruption.into(),
            _ => Self::Other,
        }
    }
}

impl From<RecvError> for Outcome {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::TimedOut => Self::Nothing,
            RecvError::Closed | RecvError::PeerGone => Self::Ended,
            RecvError::BufferTooSmall { .. } => Self::Size,
            RecvError::Corrupt(corruption) => corruption.into(),
            _ => Self::Other,
        }
    }
}

impl From<TrySendError> for Outcome {
    fn from(error: TrySendError) -> Self {
        match error {
            TrySendError::Full | TrySendError::WaitingForCheckpoint => Self::Nothing,
            TrySendError::TooLong { .. } => Self::Size,
            TrySendError::Corrupt(corruption) => corruption.into(),
            _ => Self::Other,
        }
    }
}

impl From<SendError> for Outcome {
    fn from(error: SendError) -> Self {
        match error {
            SendError::TimedOut | SendError::WaitingForCheckpoint => Self::Nothing,
            SendError::Closed | SendError::PeerGone => Self::Ended,
            SendError::TooLong { .. } => Self::Size,
            SendError::Corrupt(corruption) => corruption.into(),
            _ => Self::Other,
        }
    }
}

impl From<CheckpointError> for Outcome {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Corrupt(corruption) => corruption.into(),
            _ => Self::Other,
        }
    }
}

impl From<OpenError> for Outcome {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Corrupt { corruption, .. } => corruption.into(),
            _ => Self::Other,
        }
    }
}

/// A place for notes that several processes see, and for what is received.
#[derive(Debug)]
pub(crate) struct Board(pub(crate) Shared);

impl Board {
    /// Wipes notes and buffer.
    pub(crate) fn wipe(&self) {
        self.note(0, Outcome::None);
        self.note(1, Outcome::None);
        let bytes = [CANARY; BUFFER + 2 * MARGIN];
        self.0.write(MARGIN_BEFORE, &bytes);
    }

    /// Notes how the first call ended, or the second.
    pub(crate) fn note(&self, index: usize, outcome: Outcome) {
        for (word, value) in outcome.words().into_iter().enumerate() {
            self.0.store(64 * index + 8 * word, value);
        }
    }

    pub(crate) fn noted(&self, index: usize) -> Outcome {
        Outcome::of_words([0, 1, 2, 3, 4].map(|word| self.0.load(64 * index + 8 * word)))
    }

    /// The buffer, for the one process that calls.
    pub(crate) fn buffer(&self) -> &mut [u8] {
        self.0.slice(START, BUFFER)
    }

    /// The first `length` bytes of the buffer; what is behind and around them must be untouched.
    pub(crate) fn received(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; BUFFER + 2 * MARGIN];
        self.0.read(MARGIN_BEFORE, &mut bytes);
        let (before, rest) = bytes.split_at(MARGIN);
        let (message, after) = rest.split_at(length);
        let untouched = before.iter().chain(after).all(|byte| *byte == CANARY);
        assert!(untouched, "bytes outside of {length} were written");
        message.to_vec()
    }

    pub(crate) fn set_place(&self, position: u64) {
        self.0.store(PLACE, position);
    }

    fn place(&self) -> u64 {
        self.0.load(PLACE)
    }
}

/// Something attached to a ring.
#[derive(Debug)]
pub(crate) enum End {
    Tx(Producer),
    Rx(Consumer),
    Look(Observer),
}

/// What is called, by whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) role: &'static str,
    pub(crate) run: fn(&mut End, &Board) -> Outcome,
}

const fn call(
    role: &'static str,
    name: &'static str,
    run: fn(&mut End, &Board) -> Outcome,
) -> Call {
    Call { name, role, run }
}

/// Every call that moves messages, or looks at them.
pub(crate) const CALLS: [Call; 18] = [
    call("consumer", "try_recv", |end, board| {
        Outcome::of_result(rx(end).try_recv(board.buffer()))
    }),
    call("consumer", "recv_deadline", |end, board| {
        Outcome::of_result(rx(end).recv_deadline(board.buffer(), Instant::now()))
    }),
    call("consumer", "try_recv_vec", |end, board| {
        let mut out = Vec::new();
        let result = rx(end).try_recv_vec(&mut out);
        Outcome::of_result(result.map(|()| keep(&[out], board)))
    }),
    call("consumer", "recv_vec", |end, board| {
        let mut out = Vec::new();
        let result = rx(end).recv_vec(&mut out, Some(Instant::now()));
        Outcome::of_result(result.map(|()| keep(&[out], board)))
    }),
    call("consumer", "drain", |end, board| {
        let mut all = Vec::new();
        let result = rx(end).drain(10, |message| all.push(message.to_vec()));
        Outcome::of_result(result.map(|_| keep(&all, board)))
    }),
    call("consumer", "peek_many", |end, board| {
        let mut all = Vec::new();
        let result = rx(end).peek_many(10, |message| {
            all.push(message.to_vec());
            ControlFlow::Continue(())
        });
        Outcome::of_result(result.map(|_| keep(&all, board)))
    }),
    call("consumer", "try_messages", |end, board| {
        let all: Result<Vec<_>, _> = rx(end).try_messages().take(10).collect();
        Outcome::of_result(all.map(|all| keep(&all, board)))
    }),
    call("consumer", "peek", |end, board| {
        Outcome::of_result(rx(end).peek(board.buffer()))
    }),
    call("consumer", "peek_vec", |end, board| {
        let mut out = Vec::new();
        let result = rx(end).peek_vec(&mut out, Some(Instant::now()));
        Outcome::of_result(result.map(|()| keep(&[out], board)))
    }),
    call("consumer", "skip", |end, _| {
        Outcome::of_result(rx(end).skip(2).map(|_| 0))
    }),
    call("consumer", "skip_to_latest", |end, _| {
        Outcome::of_result(rx(end).skip_to_latest().map(|_| 0))
    }),
    call("producer", "try_send", |end, _| {
        Outcome::of_result(tx(end).try_send(&MESSAGE).map(|()| 1))
    }),
    call("producer", "send_deadline", |end, _| {
        let sent = tx(end).send_deadline(&MESSAGE, Instant::now());
        Outcome::of_result(sent.map(|()| 1))
    }),
    call("producer", "try_send_all", |end, _| {
        Outcome::of_result(tx(end).try_send_all([MESSAGE; 3]))
    }),
    call("producer", "claim", |end, _| {
        let claimed = tx(end).try_claim(MESSAGE.len()).and_then(|mut claim| {
            claim.write_at(0, &MESSAGE)?;
            claim.commit();
            Ok(1)
        });
        Outcome::of_result(claimed)
    }),
    call("producer", "wait_for_room", |end, _| {
        let waited = tx(end).wait_for_room(3000, Some(Instant::now()));
        Outcome::of_result(waited.map(|()| 0))
    }),
    call("observer", "peek", |end, board| {
        let found = look(end).peek(board.place());
        Outcome::of_result(found.map(|found| {
            let message = found.map(|peeked| peeked.message);
            keep(&[message.unwrap_or_default()], board)
        }))
    }),
    call("observer", "peek_all", |end, board| {
        let found = look(end).peek_all();
        Outcome::of_result(found.map(|found| {
            let all: Vec<_> = found.into_iter().map(|peeked| peeked.message).collect();
            keep(&all, board)
        }))
    }),
];

/// What producers send.
pub(crate) const MESSAGE: [u8; 40] = [0xA7; 40];

pub(crate) fn rx(end: &mut End) -> &mut Consumer {
    match end {
        End::Rx(rx) => rx,
        other => panic!("no consumer: {other:?}"),
    }
}

pub(crate) fn tx(end: &mut End) -> &mut Producer {
    match end {
        End::Tx(tx) => tx,
        other => panic!("no producer: {other:?}"),
    }
}

pub(crate) fn look(end: &mut End) -> &mut Observer {
    match end {
        End::Look(observer) => observer,
        other => panic!("no observer: {other:?}"),
    }
}

/// Puts messages into the buffer, one behind the other, as far as there is room, and says how many
/// bytes that are: an observer may see more than a ring holds.
fn keep(messages: &[Vec<u8>], board: &Board) -> usize {
    let mut at = 0;
    for message in messages {
        let Some(room) = board.buffer().get_mut(at..at + message.len()) else {
            break;
        };
        room.copy_from_slice(message);
        at += message.len();
    }
    at
}

/// Runs a call and notes how it ended.
pub(crate) fn run(call: &Call, end: &mut End, board: &Board, index: usize) {
    run_as(board, index, || (call.run)(end, board));
}

/// Does something and notes how it ended; a panic too.
pub(crate) fn run_as(board: &Board, index: usize, what: impl FnOnce() -> Outcome) {
    let outcome = catch_unwind(AssertUnwindSafe(what));
    board.note(index, outcome.unwrap_or(Outcome::Panic));
}

/// An empty board in a file.
pub(crate) fn make_board(path: &Path) -> Board {
    let file = File::create_new(path).unwrap();
    file.set_len(BOARD).unwrap();
    Board(Shared::open(path.to_str().unwrap()))
}
