//! Death at every store to a durable ring.
//!
//! The victim runs one operation in single steps, and the ring's bytes are kept whenever they have
//! changed: SIGKILL at that instruction leaves exactly these, and the kernel frees the roles of the
//! dead. (`crate::step` and the storms do send the signal.) Then each of them is put back into the
//! file, and successors attach: see [`super::audit`].

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use libtest_mimic::Trial;
use ringduct::{CheckpointForm, Options};

use super::scenario::{self, Operation, SENT, SEVERAL, Scenario, VICTIM};
use super::{Disk, on_disk};
use crate::driver::myself;
use crate::kernel::{self, Stepped};

/// Bytes of the ring: eight pages before the data.
pub(super) const RING_BYTES: usize = 8 * 4096 + 4096;

/// Steps within which an operation ends.
const MAX_STEPS: u64 = 3_000_000;

pub(super) fn add(trials: &mut Vec<Trial>) {
    for (index, scenario) in scenario::all().into_iter().enumerate() {
        let name = format!("durable_killed_at_every_store::{}", scenario.name());
        on_disk(trials, name, move |disk| {
            at_every_store(index, scenario, disk);
        });
    }
}

/// Goal: wherever in an operation a side is killed, a successor that trusts the memory finds all of
/// the operation done or none of it and everything published; one that does not finds everything
/// that a checkpoint had covered before, once, whole and in order, and nothing else; both go on from
/// there, and their checkpoints hold. Method: as the head of this file says.
fn at_every_store(index: usize, scenario: Scenario, disk: &Disk) {
    let ring = disk.path("step.ring");
    let place = ring.display();
    run(&format!("durable prepare {index} {place}"));
    let start = std::fs::read(&ring).unwrap();
    assert_eq!(start.len(), RING_BYTES);
    let victim = format!("durable victim {index} {place}");
    let calls = calls_before_stores(&victim, &ring);
    File::options()
        .write(true)
        .open(&ring)
        .unwrap()
        .write_all_at(&start, 0)
        .unwrap();
    let images = images(&victim, calls, &ring);
    // That of before the operation is one too.
    assert!(
        images.len() > scenario.stores,
        "only {} different states were seen",
        images.len()
    );
    let path = disk.path("images");
    std::fs::write(&path, images.concat()).unwrap();
    run(&format!("durable audit {index} {place} {}", path.display()));
}

/// Runs another process to its end, which must be a good one.
fn run(role: &str) {
    let status = myself(role).status().unwrap();
    assert!(status.success(), "{role}: {status}");
}

fn look(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; RING_BYTES];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Where a ring's words are: both role pages, four slots, the data. The rest is never written.
const WORDS: [(u64, usize); 7] = [
    (4096, 704),
    (2 * 4096, 704),
    (3 * 4096, 128),
    (4 * 4096, 128),
    (5 * 4096, 128),
    (6 * 4096, 128),
    (8 * 4096, 4096),
];

const GLANCE_BYTES: usize = 2 * 704 + 4 * 128 + 4096;

/// Reads those only.
fn glance(file: &File, bytes: &mut [u8]) {
    let mut rest = bytes;
    for (offset, length) in WORDS {
        let (part, further) = rest.split_at_mut(length);
        file.read_exact_at(part, offset).unwrap();
        rest = further;
    }
}

/// Beginnings and ends of system calls that the operation goes through before its first store.
fn calls_before_stores(role: &str, ring: &Path) -> u64 {
    let file = File::open(ring).unwrap();
    let mut child = myself(role).spawn().unwrap();
    let stepped = Stepped::new(child.id());
    let before = look(&file);
    let mut calls = 0_u64;
    while stepped.next_call() && look(&file) == before {
        calls += 1;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    calls
}

/// The bytes of the ring before the operation and after each store of it that changed them. Single
/// steps begin after `calls`.
fn images(role: &str, calls: u64, ring: &Path) -> Vec<Vec<u8>> {
    let file = File::open(ring).unwrap();
    let mut child = myself(role).spawn().unwrap();
    let stepped = Stepped::new(child.id());
    let mut images = vec![look(&file)];
    for _ in 0..calls {
        assert!(stepped.next_call());
    }
    assert!(
        images[0] == look(&file),
        "a store before the first single step"
    );
    let (mut before, mut now) = (vec![0; GLANCE_BYTES], vec![0; GLANCE_BYTES]);
    glance(&file, &mut before);
    let mut steps = 0;
    while stepped.step() {
        glance(&file, &mut now);
        if now != before {
            images.push(look(&file));
            before.copy_from_slice(&now);
        }
        steps += 1;
        assert!(steps < MAX_STEPS, "{role} does not end");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    images
}

/// The victim: everything up to the operation, a stop, the operation, another stop.
pub(super) fn victim(index: usize, place: &str) {
    let scenario = scenario::all()[index];
    let distrust = scenario.operation == Operation::AttachCold;
    let options = Options::new().distrust_memory(distrust);
    let ring = options.open(&place.parse().unwrap()).unwrap();
    let attaches = matches!(
        scenario.operation,
        Operation::Attach | Operation::AttachCold
    );
    match (scenario.role, attaches) {
        ("producer", true) => {
            kernel::stop_traced();
            let _end = ring.producer().unwrap();
            kernel::stop();
        }
        ("consumer", true) => {
            kernel::stop_traced();
            let _end = ring.consumer().unwrap();
            kernel::stop();
        }
        ("producer", false) => produce(scenario.operation, ring.producer().unwrap()),
        _ => consume(scenario.operation, ring.consumer().unwrap()),
    }
}

fn produce(operation: Operation, mut tx: ringduct::Producer) {
    let mut bodies = Vec::new();
    for number in SENT..SENT + SEVERAL {
        let mut bytes = Vec::new();
        scenario::body(number, VICTIM, &mut bytes);
        bodies.push(bytes);
    }
    if operation == Operation::SendOverAbandoned {
        scenario::abandon(&mut tx);
    }
    kernel::stop_traced();
    match operation {
        Operation::Checkpoint => {
            let durable = tx.checkpoint_as(CheckpointForm::Full).unwrap();
            assert_eq!(durable.messages, SENT);
        }
        Operation::OneSync => {
            let durable = tx.checkpoint_as(CheckpointForm::OneSync).unwrap();
            assert_eq!(durable.messages, SENT);
        }
        Operation::Send | Operation::SendOverAbandoned => tx.try_send(&bodies[0]).unwrap(),
        Operation::Batch => assert_eq!(tx.try_send_all(&bodies), Ok(bodies.len())),
        Operation::Leave => {
            drop(tx);
            return kernel::stop();
        }
        other => panic!("not a producer's: {other:?}"),
    }
    kernel::stop();
}

fn consume(operation: Operation, mut rx: ringduct::Consumer) {
    kernel::stop_traced();
    match operation {
        Operation::Checkpoint => {
            assert_eq!(rx.checkpoint().unwrap().messages, scenario::TAKEN);
        }
        Operation::Drain => {
            let most = usize::try_from(SEVERAL).unwrap();
            assert_eq!(rx.drain(most, |_| ()), Ok(most));
        }
        other => panic!("not a consumer's: {other:?}"),
    }
    kernel::stop();
}
