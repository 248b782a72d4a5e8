//! The kill storm: both sides killed at random instants, over and over, audited end to end.
//!
//! The audit is not the library's. Each side writes what it is about to do and what it has done
//! into an [`Oracle`]; a killed side leaves those words, and its successor compares them with what
//! the ring says. Because a publish and a release are one store each, only two answers are right
//! after a kill: that of before and that of after.
#![expect(
    clippy::print_stdout,
    reason = "a random test says its seed and what it did"
)]

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use ringduct::{
    Consumer, Location, Options, Producer, RecvError, Ring, SendError, TrySendError, Wait,
};
use tempfile::TempDir;

use crate::driver::myself;
use crate::message::{self, Random};
use crate::oracle::{Oracle, Word};
use crate::setup::unique;

/// Capacity: a dozen messages go once round the ring.
const CAPACITY: u64 = 4096;

/// Bytes of the longest message.
const LONGEST: usize = 700;

/// Kills of one `cargo test`, over all storms; `RINGDUCT_KILLS` says otherwise.
const KILLS: u64 = 320;

/// The storms that share the kills.
const STORMS: [(&str, bool); 4] = [
    ("file", false),
    ("file", true),
    ("shm", false),
    ("shm", true),
];

pub(crate) fn add(trials: &mut Vec<Trial>) {
    for (index, (backing, checksum)) in (0..).zip(STORMS) {
        let records = if checksum { "checked" } else { "plain" };
        trials.push(Trial::test(
            format!("kill_storm::{backing}::{records}"),
            move || {
                storm(index, backing, checksum);
                Ok::<(), Failed>(())
            },
        ));
    }
}

pub(crate) fn from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

/// One side of a storm, and how to start it again.
pub(crate) struct Side {
    program: &'static str,
    name: &'static str,
    sessions: Word,
    place: String,
    oracle: PathBuf,
    running: Option<Child>,
    started: u64,
    pub(crate) kills: u64,
    /// Kills that came after the attach, so in the middle of work.
    pub(crate) kills_at_work: u64,
}

impl Side {
    /// A side that is to run as `program`.
    pub(crate) fn new(
        (program, name): (&'static str, &'static str),
        sessions: Word,
        place: &str,
        oracle: &Path,
    ) -> Self {
        Self {
            program,
            name,
            sessions,
            place: place.to_owned(),
            oracle: oracle.to_owned(),
            running: None,
            started: 0,
            kills: 0,
            kills_at_work: 0,
        }
    }

    pub(crate) fn start(&mut self, seed: u64) {
        let Self {
            program,
            name,
            place,
            oracle,
            ..
        } = self;
        let role = format!("{program} {name} {place} {} {seed}", oracle.display());
        self.running = Some(myself(&role).spawn().unwrap());
        self.started += 1;
    }

    /// Waits until the process that runs now has taken its role.
    pub(crate) fn await_attach(&mut self, oracle: &Oracle, before: u64) {
        let end = Instant::now() + Duration::from_secs(60);
        while oracle.get(self.sessions) == before {
            let ended = self.running.as_mut().unwrap().try_wait().unwrap();
            assert_eq!(ended, None, "the {} failed its audit", self.name);
            assert!(Instant::now() < end, "the {} does not attach", self.name);
            std::thread::yield_now();
        }
    }

    /// SIGKILL, and the end. A side that ended by itself has found a fault and printed it.
    fn kill(&mut self, oracle: &Oracle, sessions_before: u64) {
        let mut child = self.running.take().unwrap();
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(libc::SIGKILL),
            "the {}: {status}",
            self.name
        );
        self.kills += 1;
        self.kills_at_work += u64::from(oracle.get(self.sessions) > sessions_before);
    }

    pub(crate) fn finish(&mut self) -> ExitStatus {
        self.running.take().unwrap().wait().unwrap()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

/// Goal: whoever is killed, and whenever, no published message is lost, none is delivered twice
/// but those of the one batch that was not yet released, and none torn, invented or out of order.
/// Method: as the head of this file says. Most kills come at a random instant within a
/// millisecond or two after an attach, some during the attach itself, some hit both sides.
fn storm(index: u64, backing: &str, checksum: bool) {
    let share = STORMS.len() as u64;
    let wanted = from_env("RINGDUCT_KILLS").unwrap_or(KILLS).div_ceil(share);
    let seed = from_env("RINGDUCT_SEED").unwrap_or(0x0DDB_A115);
    let mut random = Random::new(seed.wrapping_add(index));
    let directory = tempfile::tempdir().unwrap();
    let place = place(backing, &directory);
    println!("kill storm on {place}, checksums {checksum}: seed {seed:#x}, {wanted} kills");
    let location: Location = place.parse().unwrap();
    let ring = Options::new()
        .capacity_bytes(CAPACITY)
        .checksum(checksum)
        .create(&location)
        .unwrap();
    let ring = Removed(ring);
    let path = directory.path().join("oracle");
    let oracle = Oracle::open(&path);
    let mut sides = [
        Side::new(("storm", "producer"), Word::ProducerSessions, &place, &path),
        Side::new(("storm", "consumer"), Word::ConsumerSessions, &place, &path),
    ];
    for side in &mut sides {
        side.start(random.next());
        side.await_attach(&oracle, 0);
    }
    while sides.iter().map(|side| side.kills).sum::<u64>() < wanted {
        round(&mut sides, (2, 1_500_000), &oracle, &mut random);
    }
    let [tx, rx] = &mut sides;
    oracle.set(Word::Stop, 1);
    let (tx_end, rx_end) = (tx.finish(), rx.finish());
    assert!(tx_end.success() && rx_end.success(), "{tx_end} {rx_end}");
    let published = oracle.get(Word::Published);
    let words = [Word::Intended, Word::Seen, Word::Released];
    assert_eq!(words.map(|word| oracle.get(word)), [published; 3]);
    let snapshot = ring.0.observer().unwrap().snapshot();
    assert_eq!(snapshot.producer.totals.messages, published);
    assert_eq!(snapshot.consumer.totals, snapshot.producer.totals);
    // One that was killed as soon as it had attached could not say so.
    assert!(snapshot.producer.sessions >= oracle.get(Word::ProducerSessions));
    let (kills, at_work) = (tx.kills + rx.kills, tx.kills_at_work + rx.kills_at_work);
    let laps = snapshot.producer.totals.position / CAPACITY;
    println!("{place}: {kills} kills, {at_work} at work, {published} messages, {laps} laps");
    assert!(kills >= wanted && at_work * 2 >= kills && laps >= kills / 4);
}

/// A ring that goes away with the test, whose processes have ended by then.
struct Removed(Ring);

impl Drop for Removed {
    fn drop(&mut self) {
        let removed = self.0.remove();
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

fn place(backing: &str, directory: &TempDir) -> String {
    match backing {
        "file" => directory.path().join("storm.ring").display().to_string(),
        _ => format!("shm:ringduct-storm-{}", unique()),
    }
}

/// Kills one side, or `both` times of eight both, at a random instant, and starts them again.
pub(crate) fn round(
    sides: &mut [Side; 2],
    (both, longest_ns): (u64, u64),
    oracle: &Oracle,
    random: &mut Random,
) {
    let victims = match random.below(8) {
        which if which < both => 0..2,
        which if which % 2 == 0 => 0..1,
        _ => 1..2,
    };
    // Sometimes the successor is killed while it attaches, before it says that it has.
    let at_once = random.below(6) == 0;
    let mut before = [0; 2];
    for _ in 0..=u64::from(at_once) {
        std::thread::sleep(Duration::from_nanos(random.below(longest_ns)));
        for index in victims.clone() {
            let side = &mut sides[index];
            side.kill(oracle, before[index]);
            before[index] = oracle.get(side.sessions);
        }
        for index in victims.clone() {
            sides[index].start(random.next());
        }
    }
    for index in victims {
        let before = before[index];
        sides[index].await_attach(oracle, before);
    }
}

/// One side of the storm, as a process.
pub(crate) fn child(words: &[&str]) {
    let [side, place, oracle, seed] = *words else {
        panic!("storm SIDE PLACE ORACLE SEED: {words:?}")
    };
    let oracle = Oracle::open(Path::new(oracle));
    let mut random = Random::new(seed.parse().unwrap());
    let options = Options::new().writable_data(random.below(2) == 0);
    let ring = options.open(&place.parse().unwrap()).unwrap();
    match side {
        "producer" => produce(ring.producer().unwrap(), &oracle, random),
        _ => consume(ring.consumer().unwrap(), &oracle, random),
    }
}

/// Now and then parks at once, so that kills also meet sleepers.
pub(crate) fn some_wait(random: &mut Random) -> Wait {
    match random.below(3) {
        0 => Wait::SpinThenPark {
            spin: Duration::ZERO,
        },
        1 => Wait::Spin,
        _ => Wait::default(),
    }
}

fn produce(mut tx: Producer, oracle: &Oracle, mut random: Random) {
    let mut next = tx.totals().messages;
    let (published, intended) = (oracle.get(Word::Published), oracle.get(Word::Intended));
    assert!(
        next == published || next == intended,
        "goes on at {next}, but {published} were published, perhaps {intended}"
    );
    assert!(
        oracle.get(Word::Seen) <= next,
        "the consumer has seen more than there is"
    );
    oracle.set(Word::Published, next);
    oracle.set(Word::Intended, next);
    oracle.set(
        Word::ProducerSessions,
        oracle.get(Word::ProducerSessions) + 1,
    );
    tx.set_wait(some_wait(&mut random));
    let mut buffer = Vec::new();
    while oracle.get(Word::Stop) == 0 {
        let sent = match random.below(4) {
            0 => batch(&mut tx, oracle, next, random.below(9), &mut buffer),
            1 => claim(&mut tx, oracle, next, &mut buffer),
            _ => single(&mut tx, oracle, next, &mut buffer),
        };
        match sent {
            Ok(count) => next += count,
            // The other side was killed: said once, then wait for its successor.
            Err(SendError::PeerGone) => continue,
            Err(error) => panic!("message {next}: {error}"),
        }
        oracle.set(Word::Published, next);
    }
}

fn single(
    tx: &mut Producer,
    oracle: &Oracle,
    next: u64,
    buffer: &mut Vec<u8>,
) -> Result<u64, SendError> {
    message::numbered(next, LONGEST, buffer);
    oracle.set(Word::Intended, next + 1);
    tx.send(buffer)?;
    Ok(1)
}

fn claim(
    tx: &mut Producer,
    oracle: &Oracle,
    next: u64,
    buffer: &mut Vec<u8>,
) -> Result<u64, SendError> {
    message::numbered(next, LONGEST, buffer);
    let mut claim = tx.claim(LONGEST, None)?;
    let cut = buffer.len() / 3;
    claim.write_at(cut, &buffer[cut..]).unwrap();
    claim.write_at(0, &buffer[..cut]).unwrap();
    oracle.set(Word::Intended, next + 1);
    claim.commit_len(buffer.len()).unwrap();
    Ok(1)
}

fn batch(
    tx: &mut Producer,
    oracle: &Oracle,
    next: u64,
    count: u64,
    buffer: &mut Vec<u8>,
) -> Result<u64, SendError> {
    tx.wait_for_room(LONGEST, None)?;
    let mut batch = tx.batch().unwrap();
    let mut end = next;
    for number in next..next + count {
        message::numbered(number, LONGEST, buffer);
        match batch.push(buffer) {
            Ok(()) => end += 1,
            Err(TrySendError::Full) => break,
            Err(error) => panic!("message {number}: {error}"),
        }
    }
    oracle.set(Word::Intended, end);
    assert_eq!(batch.commit() as u64, end - next);
    Ok(end - next)
}

/// The consumer's half of the audit.
struct Audit<'a> {
    oracle: &'a Oracle,
    next: Option<u64>,
    expected: Vec<u8>,
}

impl Audit<'_> {
    /// Checks a message that is not yet released, and notes that it was seen.
    fn check(&mut self, message: &[u8]) {
        let number = message::number_of(message).expect("eight bytes at least");
        let seen = self.oracle.get(Word::Seen);
        if let Some(next) = self.next {
            assert_eq!(number, next, "out of order");
        } else {
            // The first one after a kill: again from the last release, or on from what was seen,
            // if the release happened and could not be noted.
            let released = self.oracle.get(Word::Released);
            let right = number == released || number == seen;
            assert!(
                right,
                "starts at {number}; {released} released, {seen} seen"
            );
            self.oracle.set(Word::Released, number);
        }
        let intended = self.oracle.get(Word::Intended);
        assert!(
            number < intended,
            "{number} was invented, {intended} is next"
        );
        message::numbered(number, LONGEST, &mut self.expected);
        assert!(message == self.expected, "message {number} is torn");
        self.next = Some(number + 1);
        self.oracle.set(Word::Seen, number + 1);
    }

    /// Notes that everything checked so far is released.
    fn released(&self) {
        if let Some(next) = self.next {
            self.oracle.set(Word::Released, next);
        }
    }
}

fn consume(mut rx: Consumer, oracle: &Oracle, mut random: Random) {
    let mut audit = Audit {
        oracle,
        next: None,
        expected: Vec::new(),
    };
    oracle.set(
        Word::ConsumerSessions,
        oracle.get(Word::ConsumerSessions) + 1,
    );
    rx.set_wait(some_wait(&mut random));
    let (mut buffer, mut again) = (Vec::new(), Vec::new());
    loop {
        match rx.peek_vec(&mut buffer, None) {
            Ok(()) => {}
            Err(RecvError::PeerGone) => continue,
            Err(RecvError::Closed) => {
                assert_eq!(oracle.get(Word::Stop), 1, "closed, but nobody has closed");
                return;
            }
            Err(error) => panic!("after {:?}: {error}", audit.next),
        }
        if random.below(2) == 0 {
            let most = random.below_len(6) + 1;
            rx.drain(most, |message| audit.check(message)).unwrap();
        } else {
            audit.check(&buffer);
            rx.recv_vec(&mut again, None).unwrap();
            assert_eq!(again, buffer, "another message than the one peeked at");
        }
        audit.released();
    }
}
