//! A forked child with inherited ends whose checkpoints are made by threads that it does not have.

use std::time::Duration;

use libtest_mimic::Trial;
use ringduct::{CheckpointError, CheckpointForm, CheckpointPolicy, Flush, Options};
use rustix::process::WaitOptions;

use super::on_disk;
use crate::driver::myself;
use crate::kernel::{self, Process};

/// What the child ends with when every call was refused.
const WELL: i32 = 7;

/// Messages before the fork, and as many after it.
const SOME: u64 = 9;

pub(super) fn add(trials: &mut Vec<Trial>) {
    for checksum in ["plain", "checked"] {
        let name = format!("durable_ends_are_inert_in_a_forked_child::{checksum}");
        on_disk(trials, name, move |disk| {
            let place = disk.path("fork.ring");
            let role = format!("durable fork {checksum} {}", place.display());
            let mut parent = myself(&role).spawn().unwrap();
            let process = Process::new(parent.id());
            process.wait_end();
            assert!(parent.wait().unwrap().success());
        });
    }
}

/// Goal: in a forked child every durable call of an inherited end says that it is inherited, and
/// dropping the ends neither hangs nor changes a byte of the ring, though their background threads
/// are not there; the parent's go on. Method: fork while both threads wait for the next look,
/// compare the file before and after, then stream on and see the threads' checkpoints.
pub(super) fn child(checksum: &str, place: &str) {
    let options = Options::new().durable(true).capacity_bytes(4096);
    let options = options.checksum(checksum == "checked");
    let ring = options.create(&place.parse().unwrap()).unwrap();
    let (mut tx, mut rx) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let policy = CheckpointPolicy::new()
        .every_messages(1)
        .every(Duration::from_millis(1))
        .in_background(true);
    tx.set_checkpoints(policy).unwrap();
    rx.set_checkpoints(policy).unwrap();
    let mut exchange = |first: u64| {
        for number in first..first + SOME {
            tx.send(&number.to_le_bytes()).unwrap();
            let mut bytes = [0; 8];
            assert_eq!(rx.recv(&mut bytes), Ok(8));
            assert_eq!(u64::from_le_bytes(bytes), number);
        }
        // By the threads: nobody asks.
        while tx.durable().unwrap().messages < first + SOME
            || rx.durable().unwrap().messages < first + SOME
        {
            std::thread::yield_now();
        }
    };
    exchange(0);
    let before = std::fs::read(place).unwrap();
    let Some(child) = kernel::fork() else {
        kernel::die_with_parent();
        let tx_refuses = [
            tx.checkpoint() == Err(CheckpointError::Forked),
            tx.checkpoint_as(CheckpointForm::Full) == Err(CheckpointError::Forked),
            tx.durable() == Err(CheckpointError::Forked),
            tx.set_checkpoints(CheckpointPolicy::new()) == Err(CheckpointError::Forked),
            tx.set_checkpoints(policy) == Err(CheckpointError::Forked),
            tx.flush(Flush::Sync).is_err(),
            tx.try_send(b"x").is_err(),
        ];
        let rx_refuses = [
            rx.checkpoint() == Err(CheckpointError::Forked),
            rx.durable() == Err(CheckpointError::Forked),
            rx.set_checkpoints(CheckpointPolicy::new()) == Err(CheckpointError::Forked),
            rx.set_checkpoints(policy) == Err(CheckpointError::Forked),
            rx.flush(Flush::Sync).is_err(),
            rx.try_recv(&mut [0; 8]).is_err(),
        ];
        // What was found at attach lies in the end itself.
        let remembers = tx.recovery().incarnation == rx.next_key().incarnation;
        drop((tx, rx, ring));
        let well = tx_refuses == [true; 7] && rx_refuses == [true; 6] && remembers;
        kernel::exit_at_once(if well { WELL } else { 1 })
    };
    let process = Process::new(u32::try_from(child.as_raw_nonzero().get()).unwrap());
    process.wait_end();
    let ended = rustix::process::waitpid(Some(child), WaitOptions::empty()).unwrap();
    let (_, status) = ended.unwrap();
    assert_eq!(status.exit_status(), Some(WELL), "{status:?}");
    assert!(
        std::fs::read(place).unwrap() == before,
        "the child has written"
    );
    exchange(SOME);
    assert_eq!(tx.checkpoint().unwrap().messages, 2 * SOME);
    assert_eq!(rx.checkpoint().unwrap().messages, 2 * SOME);
}
