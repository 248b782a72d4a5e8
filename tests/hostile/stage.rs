//! A ring that has gone round, its honest side, and a traced victim that is about to call.

use ringduct::{Consumer, Location, Observer, Options, Producer, Ring};
use tempfile::TempDir;

use crate::calls::{Board, CALLS, CAPACITY, Call, End, Outcome, make_board, run};
use crate::raw::{POSITION, RX_PAGE, Shared, TX_PAGE};
use crate::trace::{self, Moment, Stop, Traced};
use crate::{Watchdog, myself};

/// Payload bytes of the messages that wait.
const WAITING: [usize; 3] = [33, 0, 17];

/// What stands on a stage.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) ring: Shared,
    pub(crate) board: Board,
    pub(crate) traced: Traced,
    /// Where the victim has mapped the ring's first byte.
    pub(crate) base: usize,
    /// The consumer's and the producer's position.
    pub(crate) head: u64,
    pub(crate) tail: u64,
    /// The messages that wait.
    pub(crate) waiting: Vec<Vec<u8>>,
    start: Moment,
    bytes: Vec<u8>,
    watchdog: Watchdog,
    _peer: (Option<Producer>, Option<Consumer>),
    _ring: Ring,
    _directory: TempDir,
}

/// Which ring a victim finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// Three messages wait; for a producer, the ring is full as far as it knows.
    Plain,
    /// The same with checksums.
    Checked,
    /// Nothing waits.
    Empty,
}

impl Scene {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Checked => "checked",
            Self::Empty => "empty",
        }
    }
}

impl Stage {
    /// Sets the scene, and stops the victim in front of its call.
    pub(crate) fn new(call: &str, role: &str, scene: Scene) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ring");
        let options = Options::new().capacity_bytes(CAPACITY);
        let options = options.checksum(scene == Scene::Checked);
        let ring = options.create(&Location::from(path.as_path())).unwrap();
        let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
        go_round(&mut tx, &mut rx);
        let mut waiting = Vec::new();
        if role == "producer" {
            while tx.try_send(&[0x11; 90]).is_ok() {}
        } else if scene != Scene::Empty {
            for length in WAITING {
                let message = vec![0x30 + u8::try_from(length).unwrap(); length];
                tx.try_send(&message).unwrap();
                waiting.push(message);
            }
        }
        let board_path = directory.path().join("board");
        let board = make_board(&board_path);
        let path = path.to_str().unwrap();
        let mut peer = (Some(tx), Some(rx));
        match role {
            "producer" => peer.0 = None,
            "consumer" => peer.1 = None,
            _ => {}
        }
        let words = format!("stage {role} {call} {path} {}", board_path.display());
        let traced = Traced::new(myself(&words).spawn().unwrap());
        if let ("producer", Some(rx)) = (role, &mut peer.1) {
            // Only now is there room, which the victim has not seen yet.
            assert_eq!(rx.skip(9), Ok(9));
        }
        assert_eq!(traced.step(), Stop::Trap); // out of the call that stopped it
        let base = trace::base_of(traced.pid(), path);
        let ring_bytes = Shared::open(path);
        board.set_place(ring_bytes.load(RX_PAGE + POSITION));
        board.wipe();
        Self {
            head: ring_bytes.load(RX_PAGE + POSITION),
            tail: ring_bytes.load(TX_PAGE + POSITION),
            start: traced.moment(),
            bytes: ring_bytes.all(),
            watchdog: Watchdog::new(traced.pid()),
            ring: ring_bytes,
            board,
            traced,
            base,
            waiting,
            _peer: peer,
            _ring: ring,
            _directory: directory,
        }
    }

    /// Everything as it was in front of the call.
    pub(crate) fn reset(&mut self) {
        self.traced.go_back(&mut self.start);
        self.ring.write(0, &self.bytes);
        self.board.wipe();
        self.tick();
    }

    /// The ring's bytes in front of the call.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Tells the watchdog that things go on.
    pub(crate) fn tick(&self) {
        self.watchdog.tick();
    }
}

/// More than once round the ring, so that records of an earlier lap lie everywhere.
fn go_round(tx: &mut Producer, rx: &mut Consumer) {
    let mut out = Vec::new();
    for number in 0.. {
        let position = tx.totals().position;
        if position > 2 * CAPACITY && (1024..2048).contains(&(position % CAPACITY)) {
            return;
        }
        tx.try_send(&vec![0x55; number % 61]).unwrap();
        rx.try_recv_vec(&mut out).unwrap();
    }
}

/// The victim: attaches, stops, calls, stops. A call that found damage is made once more.
pub(crate) fn child(words: &[&str]) {
    let [role, name, place, board] = *words else {
        panic!("stage ROLE CALL PLACE BOARD: {words:?}")
    };
    let mut end = attach(role, place);
    let board = Board(Shared::open(board));
    let call = find(role, name);
    trace::stop_traced();
    run(&call, &mut end, &board, 0);
    if matches!(board.noted(0), Outcome::Corrupt(_)) {
        run(&call, &mut end, &board, 1);
    }
    trace::stop();
}

/// Takes a role of a ring.
pub(crate) fn attach(role: &str, place: &str) -> End {
    let location: Location = place.parse().unwrap();
    if role == "observer" {
        let observer: Observer = Options::new().observe(&location).unwrap();
        return End::Look(observer);
    }
    let ring = Options::new().open(&location).unwrap();
    match role {
        "producer" => End::Tx(ring.producer().unwrap()),
        _ => End::Rx(ring.consumer().unwrap()),
    }
}

/// A call by its name; those of the other tests besides.
fn find(role: &str, name: &str) -> Call {
    let patient = crate::toggling::CALLS.iter();
    *CALLS
        .iter()
        .chain(patient)
        .find(|call| call.name == name && call.role == role)
        .expect("a call that there is")
}
