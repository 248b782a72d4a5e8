//! What is stepped through, from which situation, and what is right after a kill in it.

use ringduct::{Consumer, Location, Options, Producer, TryRecvError, TrySendError};

use crate::{kernel, message};

/// Capacity: some eighty messages go once round the ring.
pub(super) const CAPACITY: u64 = 4096;

/// Bytes of the longest message.
pub(super) const LONGEST: usize = 120;

/// Messages sent and covered by the producer's checkpoint, released and covered by the consumer's,
/// before the victim comes. The ring has gone round three times by then.
pub(super) const SENT: u64 = 241;
const SENT_DURABLY: u64 = 237;
pub(super) const TAKEN: u64 = 235;
const TAKEN_DURABLY: u64 = 230;

/// Messages of an operation that has several.
pub(super) const SEVERAL: u64 = 3;

/// Who wrote a message: goes into its bytes, so that one that comes back is not taken for the one
/// that has its number now.
pub(super) const BEFORE: u64 = 0;
pub(super) const VICTIM: u64 = 1;
const ABANDONED: u64 = 2;

/// What the victim does in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// A checkpoint of either side: with two syncs, or as the consumer does it.
    Checkpoint,
    /// A producer's checkpoint with one sync.
    OneSync,
    /// Takes the role.
    Attach,
    /// Takes the role and does not believe the memory.
    AttachCold,
    /// One message, after it has abandoned a batch.
    SendOverAbandoned,
    Batch,
    Send,
    /// Releases several messages.
    Drain,
    /// Leaves the ring.
    Leave,
}

/// One operation in one situation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) operation: Operation,
    pub(super) role: &'static str,
    pub(super) checked: bool,
    /// How the last holders of both roles ended.
    pub(super) before: &'static str,
    /// Different states that kills leave, at least.
    pub(super) stores: usize,
}

/// Both sides' positions, in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) head: u64,
    pub(super) tail: u64,
}

/// Every scenario.
pub(super) fn all() -> Vec<Scenario> {
    use Operation::{
        Attach, AttachCold, Batch, Checkpoint, Drain, Leave, OneSync, Send, SendOverAbandoned,
    };
    let mut scenarios = Vec::new();
    // Different states at least, without checksums and with them; none: not done.
    let mut add = |operation, role, before, (plain, proved)| {
        for (checked, stores) in [(false, plain), (true, proved)] {
            if stores > 0 {
                scenarios.push(Scenario {
                    operation,
                    role,
                    checked,
                    before,
                    stores,
                });
            }
        }
    };
    for (operation, role) in [(Checkpoint, "producer"), (Checkpoint, "consumer")] {
        // A slot of which seven words change, and the durable word.
        add(operation, role, "closed", (7, 7));
        // A successor of the dead stores the newest slot once more, without changing it.
        add(operation, role, "killed", (7, 7));
    }
    add(OneSync, "producer", "closed", (0, 7));
    add(OneSync, "producer", "killed", (0, 7));
    // Old records are overwritten word by word, slots and pages written anew. An attach is some
    // hundred thousand steps, so not all combinations are done.
    add(AttachCold, "producer", "killed", (300, 0));
    add(AttachCold, "consumer", "killed-in-a-batch", (0, 300));
    add(Attach, "producer", "killed-in-a-batch", (0, 20));
    add(SendOverAbandoned, "producer", "killed", (7, 25));
    add(Batch, "producer", "killed", (8, 8));
    add(Send, "producer", "closed", (5, 5));
    add(Drain, "consumer", "closed", (1, 1)); // one store gives back all of it
    add(Leave, "producer", "closed", (1, 1));
    scenarios
}

impl Scenario {
    pub(super) fn name(&self) -> String {
        let Self {
            operation,
            role,
            checked,
            before,
            ..
        } = self;
        let records = if *checked { "checked" } else { "plain" };
        format!("{role}::{operation:?}::{records}::{before}")
    }

    /// Messages that the operation publishes, and those that it releases.
    const fn moves(&self) -> (u64, u64) {
        match self.operation {
            Operation::SendOverAbandoned | Operation::Send => (1, 0),
            Operation::Batch => (SEVERAL, 0),
            Operation::Drain => (0, SEVERAL),
            _ => (0, 0),
        }
    }

    /// What may be found after a kill by one who trusts the memory: that of before the operation or
    /// that of after it.
    pub(super) fn warm(&self) -> [World; 2] {
        let (sent, released) = self.moves();
        let before = World {
            head: TAKEN,
            tail: SENT,
        };
        let after = match self.operation {
            Operation::AttachCold => self.cold()[1],
            _ => World {
                head: TAKEN + released,
                tail: SENT + sent,
            },
        };
        [before, after]
    }

    /// What may be found by one who does not. Nothing is missing from the medium, so records that
    /// prove themselves are all there; of the others those that a checkpoint covered.
    pub(super) fn cold(&self) -> [World; 2] {
        let (sent, _) = self.moves();
        let checkpoint = matches!(self.operation, Operation::Checkpoint | Operation::OneSync);
        let is_producer = self.role == "producer";
        let tails = match (self.checked, checkpoint && is_producer) {
            (true, _) => [SENT, SENT + sent],
            (false, true) => [SENT_DURABLY, SENT],
            (false, false) => [SENT_DURABLY; 2],
        };
        let head_after = if checkpoint && !is_producer {
            TAKEN
        } else {
            TAKEN_DURABLY
        };
        let world = |head, tail| World { head, tail };
        [world(TAKEN_DURABLY, tails[0]), world(head_after, tails[1])]
    }
}

/// Message `number` as written by `who`.
pub(super) fn body(number: u64, who: u64, out: &mut Vec<u8>) {
    message::any(number | who << 32, LONGEST, out);
}

/// Sends message `number` as `who` if there is room for it.
pub(super) fn send(tx: &mut Producer, number: u64, who: u64) -> Result<(), TrySendError> {
    let mut bytes = Vec::new();
    body(number, who, &mut bytes);
    tx.try_send(&bytes)
}

/// Writes a batch and does not publish it.
pub(super) fn abandon(tx: &mut Producer) {
    let mut batch = tx.batch().unwrap();
    for number in SENT..SENT + SEVERAL {
        let mut bytes = Vec::new();
        body(number, ABANDONED, &mut bytes);
        batch.push(&bytes).unwrap();
    }
}

/// Takes one message.
pub(super) fn take(rx: &mut Consumer) -> Result<Vec<u8>, TryRecvError> {
    let mut bytes = Vec::new();
    rx.try_recv_vec(&mut bytes).map(|()| bytes)
}

/// The process that makes the ring and everything that happened before the victim comes.
pub(super) fn prepare(index: usize, place: &str) {
    let scenario = all()[index];
    let place: Location = place.parse().unwrap();
    let options = Options::new().durable(true).capacity_bytes(CAPACITY);
    let ring = options.checksum(scenario.checked).create(&place).unwrap();
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for number in 0..SENT {
        send(&mut tx, number, BEFORE).unwrap();
        let released = number + 1 - (SENT - TAKEN).min(number + 1);
        if rx.totals().messages < released {
            let mut expected = Vec::new();
            body(released - 1, BEFORE, &mut expected);
            assert_eq!(take(&mut rx), Ok(expected));
        }
        if released % 10 == 0 {
            assert_eq!(rx.checkpoint().unwrap().messages, released);
        }
        if [100, SENT_DURABLY].contains(&(number + 1)) {
            assert_eq!(tx.checkpoint().unwrap().messages, number + 1);
        }
    }
    assert_eq!(rx.totals().messages, TAKEN);
    assert_eq!(rx.durable().unwrap().messages, TAKEN_DURABLY);
    match scenario.before {
        "closed" => drop((tx, rx)),
        "killed-in-a-batch" => {
            abandon(&mut tx); // unpublished it lies there, dropped or not
            kernel::exit_at_once(0);
        }
        _ => kernel::exit_at_once(0),
    }
}
